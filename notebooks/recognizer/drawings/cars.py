"""Cars: a table of outlines, and one function that builds any of them as a skin over cross-sections."""

import numpy as np

from .car_details import add_face, add_lines, add_reflections, add_tail, add_wheels, add_windows
from .car_skin import Car, Skin
from .paint import Paint, grey
from .solids import Shape, loft

CARS = {
    "saloon": Car(
        1.80, 0.17, 0.33, (1.42, -1.33),
        ((2.33, 0.66), (2.24, 0.80), (1.05, 0.98), (0.25, 1.38), (-0.35, 1.45), (-1.0, 1.38), (-1.72, 1.06),
         (-2.25, 1.0), (-2.34, 0.72)),
        (1.05, 0.25, -1.0, -1.72), (0.92, 0.98), (-0.28,), -1.35,
    ),
    "hatchback": Car(
        1.72, 0.17, 0.31, (1.25, -1.22),
        ((1.98, 0.68), (1.90, 0.84), (1.02, 1.02), (0.30, 1.42), (-0.4, 1.50), (-1.35, 1.44), (-1.85, 1.02),
         (-1.95, 0.75)),
        (1.02, 0.30, -1.35, -1.83), (0.93, 1.02), (-0.15,), -1.25,
    ),
    "estate": Car(
        1.80, 0.17, 0.33, (1.42, -1.33),
        ((2.33, 0.66), (2.24, 0.81), (1.10, 0.99), (0.32, 1.40), (-0.4, 1.48), (-1.85, 1.42), (-2.25, 1.02),
         (-2.36, 0.72)),
        (1.10, 0.32, -1.85, -2.23), (0.93, 1.0), (-0.2, -1.15), -2.0,
    ),
    "SUV": Car(
        1.90, 0.24, 0.39, (1.42, -1.35),
        ((2.30, 0.90), (2.22, 1.06), (1.08, 1.17), (0.42, 1.62), (-0.3, 1.72), (-1.8, 1.66), (-2.2, 1.18),
         (-2.30, 0.85)),
        (1.08, 0.42, -1.8, -2.17), (1.10, 1.18), (-0.2, -1.1), -1.8, 0.6,
    ),
    "pickup": Car(
        1.90, 0.28, 0.40, (1.70, -1.55),
        ((2.66, 0.94), (2.60, 1.12), (1.40, 1.22), (0.80, 1.68), (0.1, 1.78), (-0.55, 1.72), (-0.72, 1.14),
         (-2.62, 1.12), (-2.68, 0.8)),
        (1.40, 0.80, -0.55, -0.70), (1.12, 1.14), (0.12,), -0.55, 0.5, -0.78,
    ),
    "van": Car(
        1.90, 0.20, 0.34, (1.55, -1.50),
        ((2.38, 0.78), (2.30, 0.98), (1.75, 1.18), (0.95, 1.82), (0.2, 1.94), (-2.2, 1.90), (-2.40, 1.15),
         (-2.46, 0.7)),
        (1.75, 0.95, -2.22, -2.37), (1.10, 1.15), (0.45, -0.75), -2.0, 0.3,
    ),
    "sports car": Car(
        1.86, 0.13, 0.34, (1.38, -1.28),
        ((2.26, 0.56), (2.14, 0.72), (0.85, 0.90), (0.0, 1.20), (-0.5, 1.26), (-1.0, 1.18), (-1.85, 0.94),
         (-2.15, 0.90), (-2.22, 0.66)),
        (0.85, 0.0, -1.0, -1.75), (0.82, 0.92), (-0.55,), -1.25,
    ),
}


def build_car(kind: str, random: np.random.Generator) -> Shape:
    """A car of `kind`, with its own proportions, colours and face."""
    car, paint, shape = vary(CARS[kind], random), Paint(random), Shape()
    skin = Skin(car, random.uniform(0.10, 0.22), random.uniform(0.06, 0.14))
    tail, nose = skin.ends
    dark = grey(random, 0.06, 0.13)
    glass = tuple(random.uniform(0.04, 0.17) * np.array((0.9, 1.0, 1.05)))

    sections = skin.sections()
    faces = loft(sections).reshape(len(sections) - 1, 12, 4, 3)

    def strips(which: list[int]) -> np.ndarray:
        """Faces of the strips from tail to nose, counted from the left sill over the roof."""
        return faces[:, which].reshape(-1, 4, 3)

    clad = random.random() < car.cladding
    roof = paint.second if random.random() < 0.18 else paint.main
    shape.add(strips([1, 2, 3, 7, 8, 9]), paint.main, "body", gloss=1.0, layer=1)
    shape.add(strips([4, 5, 6]), roof, "body", gloss=1.0, layer=1)
    sill = dark if clad else paint.main
    shape.add(strips([0, 10]), sill, "body", gloss=0.3, layer=1)
    shape.add(strips([11]), dark, "body", layer=1)
    shape.add(sections[-1], paint.main, "body", gloss=0.8, layer=1)
    shape.add(sections[0][::-1], paint.main, "body", gloss=0.8, layer=1)

    add_reflections(shape, skin, paint, random)
    add_windows(shape, skin, glass, dark, random)
    add_lines(shape, skin, paint, dark, random)
    add_face(shape, skin, paint, dark, random)
    add_tail(shape, skin, paint, dark, random)
    add_wheels(shape, skin, paint, dark, random)
    return shape


def vary(car: Car, random: np.random.Generator) -> Car:
    """The same kind of car from another maker: longer or shorter, wider, higher."""
    long, high = random.uniform(0.93, 1.07), random.uniform(0.94, 1.07)
    return car._replace(
        width=car.width * random.uniform(0.95, 1.06),
        clearance=car.clearance * random.uniform(0.85, 1.2),
        wheel_radius=car.wheel_radius * random.uniform(0.94, 1.08),
        axles=tuple(long * x for x in car.axles),
        top=tuple((long * x, high * z) for x, z in car.top),
        glass=tuple(long * x for x in car.glass),
        belt=tuple(high * z for z in car.belt),
        pillars=tuple(long * x + random.uniform(-0.08, 0.08) for x in car.pillars),
        last_window=long * car.last_window,
        seam=None if car.seam is None else long * car.seam,
    )
