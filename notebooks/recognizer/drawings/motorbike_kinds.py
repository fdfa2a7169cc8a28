"""The measures of each kind of motorbike."""

from typing import NamedTuple

Stations = tuple[tuple[float, float, float, float], ...]  # of a solid: (x, bottom, top, half width)


class Motorbike(NamedTuple):
    """Metres and degrees; x is 0 midway between the axles."""

    wheels: tuple[float, float]  # radius in front and behind
    tyres: tuple[float, float]  # width
    wheelbase: float
    rake: float  # of the fork, from the vertical
    tank: Stations
    saddle: Stations
    tail: Stations  # bodywork under and behind the saddle
    fairing: Stations
    bar: tuple[float, float, float]  # of the grips: height above the fork's top, how far back, half width
    fork: float  # length above the front axle
    lamp: float  # radius of the headlight
    cylinders: int  # how many are visible from the side; 0 hides the engine behind panels
    exhaust: tuple[float, float, float]  # rise, length and thickness of the silencer
    wire_wheels: float  # chance of wire spokes
    screen: float  # chance of a windscreen
    beak: float = 0.0  # chance of a mudguard high above the front wheel
    bags: float = 0.0  # chance of panniers


MOTORBIKES = {
    "standard motorbike": Motorbike(
        (0.31, 0.31), (0.10, 0.14), 1.40, 26,
        tank=((-0.12, 0.72, 0.80, 0.09), (0.0, 0.68, 0.94, 0.14), (0.2, 0.68, 1.0, 0.17), (0.36, 0.74, 0.94, 0.11)),
        saddle=((-0.72, 0.76, 0.86, 0.09), (-0.45, 0.72, 0.84, 0.13), (-0.1, 0.72, 0.82, 0.12),
                (0.0, 0.76, 0.86, 0.07)),
        tail=((-0.82, 0.76, 0.84, 0.05), (-0.5, 0.62, 0.76, 0.10), (-0.1, 0.58, 0.74, 0.09)),
        fairing=(), bar=(0.14, 0.16, 0.36), fork=0.74, lamp=0.10, cylinders=1, exhaust=(0.12, 0.62, 0.055),
        wire_wheels=0.35, screen=0.15, bags=0.08,
    ),
    "sports motorbike": Motorbike(
        (0.30, 0.31), (0.12, 0.18), 1.38, 24,
        tank=((-0.1, 0.74, 0.82, 0.08), (0.02, 0.70, 0.98, 0.14), (0.2, 0.72, 1.02, 0.16), (0.34, 0.78, 0.96, 0.12)),
        saddle=((-0.5, 0.84, 0.94, 0.09), (-0.35, 0.78, 0.88, 0.13), (-0.05, 0.76, 0.84, 0.12)),
        tail=((-0.86, 0.92, 1.0, 0.03), (-0.55, 0.80, 0.96, 0.11), (-0.2, 0.64, 0.80, 0.10)),
        fairing=((-0.05, 0.34, 0.46, 0.13), (0.1, 0.30, 0.72, 0.17), (0.32, 0.36, 0.98, 0.19), (0.55, 0.62, 1.08, 0.17),
                 (0.72, 0.74, 1.0, 0.12), (0.80, 0.80, 0.9, 0.05)),
        bar=(0.02, 0.10, 0.30), fork=0.72, lamp=0.09, cylinders=0, exhaust=(0.2, 0.5, 0.06), wire_wheels=0.0,
        screen=0.9,
    ),
    "cruiser": Motorbike(
        (0.33, 0.31), (0.11, 0.17), 1.62, 32,
        tank=((-0.05, 0.70, 0.76, 0.06), (0.12, 0.66, 0.86, 0.14), (0.35, 0.70, 0.92, 0.17), (0.5, 0.78, 0.92, 0.10)),
        saddle=((-0.62, 0.72, 0.82, 0.09), (-0.35, 0.62, 0.72, 0.17), (-0.1, 0.60, 0.72, 0.14),
                (0.02, 0.64, 0.74, 0.06)),
        tail=((-0.75, 0.56, 0.68, 0.06), (-0.45, 0.50, 0.66, 0.10), (-0.1, 0.48, 0.62, 0.09)),
        fairing=(), bar=(0.24, 0.34, 0.40), fork=0.80, lamp=0.10, cylinders=2, exhaust=(0.02, 0.95, 0.05),
        wire_wheels=0.6, screen=0.25, bags=0.4,
    ),
    "adventure motorbike": Motorbike(
        (0.35, 0.33), (0.09, 0.14), 1.50, 26,
        tank=((-0.08, 0.80, 0.88, 0.10), (0.05, 0.74, 1.04, 0.16), (0.28, 0.70, 1.12, 0.21), (0.46, 0.84, 1.06, 0.14)),
        saddle=((-0.75, 0.90, 0.98, 0.10), (-0.4, 0.84, 0.94, 0.14), (-0.05, 0.82, 0.92, 0.11)),
        tail=((-0.88, 0.88, 0.95, 0.05), (-0.5, 0.72, 0.88, 0.11), (-0.1, 0.66, 0.84, 0.10)),
        fairing=((0.3, 0.80, 1.0, 0.10), (0.5, 0.86, 1.14, 0.12), (0.66, 0.92, 1.08, 0.08)),
        bar=(0.16, 0.14, 0.40), fork=0.86, lamp=0.09, cylinders=1, exhaust=(0.3, 0.6, 0.06),
        wire_wheels=0.6, screen=0.6, beak=0.8, bags=0.35,
    ),
    "scooter": Motorbike(
        (0.23, 0.23), (0.09, 0.10), 1.28, 25,
        tank=(),
        saddle=((-0.72, 0.72, 0.80, 0.10), (-0.5, 0.72, 0.84, 0.14), (-0.2, 0.70, 0.80, 0.14),
                (-0.06, 0.72, 0.78, 0.09)),
        tail=((-0.86, 0.56, 0.68, 0.07), (-0.68, 0.36, 0.74, 0.17), (-0.35, 0.28, 0.72, 0.19),
              (-0.12, 0.26, 0.70, 0.14), (-0.04, 0.24, 0.34, 0.14)),
        fairing=((0.28, 0.24, 0.40, 0.17), (0.34, 0.24, 0.86, 0.19), (0.44, 0.36, 0.98, 0.15),
                 (0.52, 0.52, 0.96, 0.07)),
        bar=(0.08, 0.06, 0.33), fork=0.76, lamp=0.09, cylinders=0, exhaust=(0.05, 0.4, 0.06), wire_wheels=0.0,
        screen=0.15,
    ),
}
