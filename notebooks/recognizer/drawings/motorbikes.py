"""Motorbikes: one function that builds any of the kinds in `motorbike_kinds`."""

import numpy as np

from .motorbike_kinds import MOTORBIKES, Motorbike, Stations
from .paint import Paint, any_paint, grey
from .riders import add_rider
from .solids import Colour, Shape, box, circle, lens, rotation, solid
from .wheels import WheelStyle, add_mudguard, add_wheel


def build_motorbike(kind: str, random: np.random.Generator) -> Shape:
    """A motorbike of `kind`, with its own proportions, colours and equipment."""
    model, paint, shape = vary(MOTORBIKES[kind], random), Paint(random), Shape()
    half = model.wheelbase / 2
    rake = np.radians(model.rake)
    steering = np.array([-np.sin(rake), 0, np.cos(rake)])
    front, rear = np.array([half, 0, model.wheels[0]]), np.array([-half, 0, model.wheels[1]])
    head = front + steering * model.fork
    style = wheel_style(model, paint, random)

    add_wheel(shape, rear, model.wheels[1], model.tyres[1], style, angle=random.uniform(0, 6))
    add_chassis(shape, model, paint, rear, head)
    if model.cylinders:
        add_engine(shape, model, paint, random)
    add_exhaust(shape, model, paint, rear, random)
    add_bodywork(shape, model, paint, random)
    add_rear_end(shape, model, paint, rear, random)

    mark, wheels = len(shape.points), len(shape.wheels)
    add_wheel(shape, front, model.wheels[0], model.tyres[0], style, angle=random.uniform(0, 6))
    add_fork(shape, model, paint, front, head, steering, random)
    add_cockpit(shape, model, paint, head, random)
    shape.turn(mark, rotation(steering, np.radians(random.normal(0, 9))), head, wheels)
    if random.random() < 0.12:
        x, _, top, _ = model.saddle[-2]
        rise, back, wide = model.bar
        hands = head + np.array([(-back, -wide + 0.05, rise + 0.05), (-back, wide - 0.05, rise + 0.05)])
        feet = np.array([(-0.2, -0.24, 0.38), (-0.2, 0.24, 0.38)]) + ((0.3, 0, 0) if not model.tank else (0, 0, 0))
        add_rider(shape, np.array([x - 0.15, 0, top + 0.1]), hands, feet, random)
    return shape


def vary(model: Motorbike, random: np.random.Generator) -> Motorbike:
    """The same kind of motorbike from another maker."""

    def swell(stations: Stations) -> Stations:
        wide, rise = random.uniform(0.85, 1.2), random.uniform(-0.03, 0.03)
        return tuple((x, low, high + rise, wide * half) for x, low, high, half in stations)

    return model._replace(
        wheelbase=model.wheelbase * random.uniform(0.97, 1.05),
        tyres=tuple(width * random.uniform(0.85, 1.25) for width in model.tyres),
        rake=model.rake + random.uniform(-2, 3),
        tank=swell(model.tank),
        saddle=swell(model.saddle),
        tail=swell(model.tail),
        fairing=swell(model.fairing),
        bar=tuple(share * random.uniform(0.8, 1.25) for share in model.bar),
        lamp=model.lamp * random.uniform(0.85, 1.25),
        cylinders=int(random.integers(1, 3)) if model.cylinders else 0,
        exhaust=tuple(share * random.uniform(0.8, 1.3) for share in model.exhaust),
    )


def wheel_style(model: Motorbike, paint: Paint, random: np.random.Generator) -> WheelStyle:
    wire = random.random() < model.wire_wheels
    rim = any_paint(random) if not wire and random.random() < 0.25 else paint.metal
    return WheelStyle(
        tyre=paint.rubber,
        rim=rim,
        rim_share=random.uniform(0.68, 0.78),
        spokes=int(random.choice([20, 24])) if wire else int(random.choice([3, 5, 6, 10])),
        spoke_width=0.006 if wire else random.uniform(0.02, 0.035),
        spoke_colour=paint.metal if wire else rim,
        crossed=wire,
        brake=random.uniform(0.4, 0.52) if random.random() < 0.8 else 0.0,
        hub=0.2,
    )


def add_chassis(shape: Shape, model: Motorbike, paint: Paint, rear: np.ndarray, head: np.ndarray) -> None:
    """Frame tubes, swing arm, chain guard, foot pegs and side stand."""
    x = model.tank[0][0] if model.tank else -0.1
    pivot = np.array([x - 0.12, 0, 0.42])
    for side in (-0.10, 0.10):
        off = np.array([0, side, 0])
        shape.add([pivot + off, rear + off], paint.metal if side < 0 else paint.trim, "frame", width=0.05, gloss=0.5)
        y = 1.2 * side
        down = [head - (0.02, 0, 0.12), head + (-0.2, y, -0.5), (0.2, y, 0.26), (-0.15, y, 0.26), pivot + off]
        if model.tank:  # a scooter's are covered
            shape.add(np.array(down), paint.trim, "frame", width=0.032, gloss=0.4)
        shock = [pivot + 0.55 * (rear - pivot) + off, np.array([rear[0] + 0.35, side, 0.72])]
        shape.add(shock, paint.metal, "frame", width=0.045, gloss=0.7)
        shape.add([(pivot[0], 2.0 * side, 0.36), (pivot[0], 3.0 * side, 0.36)], paint.trim, "frame", width=0.035)
    if model.tank:
        shape.add([head - (0.03, 0, 0.1), (x, 0, 0.72), pivot], paint.trim, "frame", width=0.05)
    shape.add([(-0.2, 0.1, 0.26), (-0.28, 0.30, 0.0)], paint.trim, "frame", width=0.025)


def add_engine(shape: Shape, model: Motorbike, paint: Paint, random: np.random.Generator) -> None:
    """Crankcase, finned cylinders, a round cover on either side, and the air box above."""
    dark = paint.metal if random.random() < 0.55 else paint.trim
    crankcase = [(-0.28, 0.30, 0.50, 0.12), (-0.12, 0.24, 0.54, 0.17), (0.12, 0.23, 0.50, 0.18),
                 (0.26, 0.30, 0.46, 0.13)]
    case = solid(crankcase, 10, 0.55)
    shape.add(case, dark, "engine", gloss=0.5)
    for side in (-1, 1):
        for x, radius in ((0.1, 0.105), (-0.14, 0.085)):
            cover = circle((x, side * 0.18, 0.37), radius, 16)
            cover = cover if side < 0 else cover[::-1]
            shape.add(cover, paint.metal, "engine", gloss=0.8, anchor=np.array((x, side * 0.24, 0.37)))
            shape.add((cover - cover.mean(0)) * 0.6 + cover.mean(0), dark, None, gloss=0.6,
                      anchor=np.array((x, side * 0.24, 0.37)))
    tilts = (0.25,) if model.cylinders == 1 else (0.5, -0.4)
    for tilt in tilts:
        up = np.array([np.sin(tilt), 0, np.cos(tilt)])
        along = np.array([np.cos(tilt), 0, -np.sin(tilt)])
        base = np.array([0.08 if tilt > 0 else -0.06, 0, 0.46])
        for step in range(6):
            low, high = base + up * 0.045 * step, base + up * (0.045 * step + 0.03)
            half, deep = (0.095, 0.13) if step < 5 else (0.075, 0.1)
            rim = [low - along * half, low + along * half, high + along * half, high - along * half]
            fin = np.array([p + (0, s * deep, 0) for p in rim for s in (-1, 1)])
            faces = fin[[[0, 2, 6, 4], [3, 1, 5, 7], [2, 3, 7, 6], [1, 0, 4, 5], [4, 6, 7, 5], [1, 3, 2, 0]]]
            shape.add(faces, paint.metal if step % 2 == 0 else paint.trim, "engine", gloss=0.4)
    cleaner = solid([(-0.26, 0.52, 0.66, 0.09), (-0.05, 0.54, 0.70, 0.12)], 8)
    shape.add(cleaner, paint.trim, "engine", gloss=0.3)


def add_exhaust(shape: Shape, model: Motorbike, paint: Paint, rear: np.ndarray, random: np.random.Generator) -> None:
    """A pipe from the engine down and back to a silencer on the right (sometimes on both sides)."""
    rise, length, thick = model.exhaust
    metal = paint.metal if random.random() < 0.7 else paint.trim
    for side in (-1, 1) if random.random() < 0.3 else (-1,):
        y = side * 0.2
        start = (0.3, 0.6 * y, 0.5) if model.cylinders else (0.1, 0.6 * y, 0.28)
        bend = [start, (0.36 if model.cylinders else 0.0, 0.8 * y, 0.34), (0.2 if model.cylinders else -0.1, y, 0.24)]
        joint = np.array([rear[0] + 0.62 - 0.35 * length, y, 0.28 + 0.3 * rise])
        end = joint + (-length * np.cos(rise), side * 0.02, length * np.sin(rise))
        shape.add([*bend, joint], metal, "engine", width=0.045, gloss=0.9)
        shape.add([joint, end], metal, "engine", width=2 * thick, gloss=0.9)
        shape.add([joint + 0.97 * (end - joint), end], (0.03, 0.03, 0.03), "engine", width=1.4 * thick)


def add_bodywork(shape: Shape, model: Motorbike, paint: Paint, random: np.random.Generator) -> None:
    """Tank, saddle, tail and fairing, each a rounded solid."""
    for name, part, colour, gloss in (
        ("tail", "fairing", paint.second, 0.7),
        ("saddle", "saddle", paint.leather, 0.2),
        ("tank", "tank", paint.main, 0.9),
        ("fairing", "fairing", paint.main, 0.8),
    ):
        stations = getattr(model, name)
        if stations:
            shape.add(solid(stations, 12, 0.75), colour, part, gloss=gloss)
    for piece, stations in (("tank", model.tank), ("fairing", model.fairing), ("fairing", model.tail)):
        if stations and random.random() < 0.5:
            colour = paint.accent if random.random() < 0.6 else grey(random, 0.05, 0.95)
            add_band(shape, piece, stations, colour, random)
    if not model.tank:  # the floor of a scooter
        shape.add(box((-0.12, -0.16, 0.22), (0.34, 0.16, 0.28)), paint.second, "fairing", gloss=0.3)
    elif model.fairing and not model.cylinders:  # a belly pan below the engine
        belly = solid([(-0.35, 0.24, 0.42, 0.10), (-0.05, 0.20, 0.50, 0.16), (0.3, 0.26, 0.6, 0.16)], 10)
        shape.add(belly, paint.second, "fairing", gloss=0.7)
        shape.add(solid([(-0.3, 0.4, 0.7, 0.1), (0.1, 0.4, 0.74, 0.13)], 8), paint.trim, "engine", gloss=0.3)


def add_band(shape: Shape, piece: str, stations: Stations, colour: Colour, random: np.random.Generator) -> None:
    """A band of another colour along both sides of a solid that belongs to `piece`."""
    level, wide, rise = random.uniform(0.25, 0.6), random.uniform(0.08, 0.35), random.uniform(-0.2, 0.2)
    shares = level + rise * np.linspace(-0.5, 0.5, len(stations) - 1)
    for side in (-1, 1):
        low, high = ([(x, side * 1.02 * half, bottom + share * (top - bottom)) for share, (x, bottom, top, half) in
                      zip(shares + up, stations[1:])] for up in (0, wide))
        band = np.array(low + high[::-1])
        anchor = band.mean(axis=0) + (0, side * 0.1, 0)
        shape.add(band if side < 0 else band[::-1], colour, None, gloss=0.8, anchor=anchor, piece=piece)


def add_rear_end(shape: Shape, model: Motorbike, paint: Paint, rear: np.ndarray, random: np.random.Generator) -> None:
    """Mudguard, tail light, plate, panniers and top case."""
    radius, width = model.wheels[1], model.tyres[1]
    x, z = model.tail[0][0], (model.tail[0][1] + model.tail[0][2]) / 2
    add_mudguard(shape, rear, radius + 0.035, width + 0.03, 1.1, 2.7, paint.second, "fairing")
    lamp = box((-0.05, -0.07, -0.035), (0.02, 0.07, 0.035)) + (x, 0, z)
    shape.add(lamp, (0.75, 0.05, 0.05), "tail light", gloss=0.8)
    plate = np.array([(0, -0.1, -0.22), (0, -0.1, -0.08), (0, 0.1, -0.08), (0, 0.1, -0.22)]) + (x - 0.06, 0, z)
    shape.add(plate, (0.85, 0.85, 0.82), "fairing", two_sided=True)
    for side in (-1, 1):
        shape.add([(x + 0.05, side * 0.05, z), (x + 0.04, side * 0.2, z)], (0.9, 0.5, 0.1), "tail light", width=0.04)
    if random.random() < model.bags:
        for side in (-1, 1):
            bag = solid([(-0.26, -0.15, 0.13, 0.10), (-0.1, -0.18, 0.15, 0.12), (0.2, -0.16, 0.13, 0.11)], 8, 0.4)
            shape.add(bag + (rear[0] - 0.02, side * 0.28, 0.66), paint.second, "fairing", gloss=0.4)
    if random.random() < 0.6 * model.bags:
        case = solid([(-0.2, 0, 0.26, 0.18), (-0.1, 0, 0.3, 0.22), (0.15, 0, 0.28, 0.2)], 8, 0.5)
        shape.add(case + (x, 0, model.saddle[0][2]), paint.trim, "fairing", gloss=0.4)


def add_fork(
    shape: Shape,
    model: Motorbike,
    paint: Paint,
    front: np.ndarray,
    head: np.ndarray,
    steering: np.ndarray,
    random: np.random.Generator,
) -> None:
    """Both legs, the front mudguard, the headlight and the indicators."""
    radius, width = model.wheels[0], model.tyres[0]
    spread = width / 2 + 0.045
    for side in (-spread, spread):
        off = np.array([0, side, 0])
        middle = front + steering * 0.42 + off
        shape.add(
            [front + off, middle], paint.trim if random.random() < 0.5 else paint.metal, "frame", width=0.06, gloss=0.5
        )
        shape.add([middle, head + off], paint.metal, "frame", width=0.045, gloss=0.9)
    gap = 0.17 if random.random() < model.beak else 0.03
    add_mudguard(shape, front, radius + gap, width + 0.04, 0.6, 2.4, paint.main, "fairing")
    place = head + (0.12, 0, -0.06)
    if model.fairing:
        x, low, high, _ = model.fairing[-1]
        place = np.array([x - 0.02, 0, (low + high) / 2 + 0.02])
    r = model.lamp
    lamp = solid([(-0.14, -0.3 * r, 0.3 * r, 0.3 * r), (-0.06, -r, r, r), (0.02, -r, r, r)], 12, 1.0)
    shape.add(lamp + place, paint.trim if random.random() < 0.5 else paint.metal, "headlight", gloss=0.8)
    face = lens(place + (0.03, 0, 0), 0.88 * r, 14)
    shape.add(face, (0.93, 0.93, 0.88), "headlight", gloss=0.9, anchor=place + (0.12, 0, 0))
    for side in (-1, 1):
        line = [place + (-0.05, 0.1 * side, -0.04), place + (-0.05, 0.2 * side, -0.04)]
        shape.add(line, (0.9, 0.5, 0.1), "headlight", width=0.04)


def add_cockpit(shape: Shape, model: Motorbike, paint: Paint, head: np.ndarray, random: np.random.Generator) -> None:
    """Handlebar, grips, levers, mirrors, instruments and windscreen."""
    rise, back, wide = model.bar
    top = head + (0, 0, 0.03)
    shape.add(
        solid([(-0.06, -0.03, 0.05, 0.06), (0.06, -0.03, 0.06, 0.06)], 8) + top, paint.trim, "handlebar", gloss=0.4
    )
    for side in (-1, 1):
        elbow = top + (0, side * 0.14, rise)
        corner, grip = top + (-0.5 * back, side * (wide - 0.14), rise), top + (-back, side * wide, rise - 0.01)
        shape.add([top + (0, side * 0.05, 0), elbow, corner, grip], paint.metal, "handlebar", width=0.028, gloss=0.8)
        shape.add([corner, grip], paint.leather, "handlebar", width=0.042)
        shape.add([corner + (0.06, 0, 0), grip + (0.07, 0, 0)], paint.metal, "handlebar", width=0.014)
        mirror = corner + (0.06, side * 0.06, 0.2)
        shape.add([corner, mirror], paint.trim, "handlebar", width=0.014)
        oval = lens(np.zeros(3), 1.0) * (1, 0.075, 0.045) + mirror
        shape.add(oval, paint.trim, "handlebar", gloss=0.5, two_sided=True)
    if random.random() < model.screen:
        at = head + (0.14, 0, 0.05)
        rows = [(0.06, 0.15, 0.0), (0.0, 0.15, 0.14), (-0.08, 0.10, 0.28)]
        if model.fairing and model.tank:
            x, _, high, _ = model.fairing[-3]
            at = np.array([x + 0.04, 0, high - 0.04])
        left = [at + (dx, dy, dz) for dx, dy, dz in rows]
        pane = np.array(left + [at + (dx, -dy, dz) for dx, dy, dz in reversed(rows)])
        shape.add(pane, tuple(random.uniform(0.15, 0.7) * np.array((0.95, 1, 1))), "fairing", gloss=1.0, two_sided=True)
