"""Bicycles: a table with the measures of each kind, and one function that builds any of them."""

from typing import NamedTuple

import numpy as np

from .paint import Paint
from .riders import add_rider
from .solids import Shape, Wheel, box, circle, lens, ring, rotation, solid
from .wheels import WheelStyle, add_mudguard, add_wheel


class Bicycle(NamedTuple):
    """Metres and degrees."""

    wheel_radius: float
    tyre_width: float
    wheelbase: float
    bracket: float  # height of the bottom bracket
    seat_tube: float  # length
    saddle: float  # height above ground
    tube: float  # thickness of the frame's tubes
    head_angle: float
    head_tube: float  # length
    top_drop: float  # how far down the seat tube the top tube joins it: 0 is level, 0.3 a step-through frame
    bar: str
    bar_rise: float  # above the head tube
    mudguards: bool = False
    rack: bool = False
    basket: bool = False
    lamp: bool = False
    stabilisers: bool = False
    suspension: bool = False


BICYCLES = {
    "road bicycle": Bicycle(0.34, 0.026, 1.00, 0.27, 0.54, 0.97, 0.034, 72.5, 0.16, 0.00, "drop", 0.05),
    "city bicycle": Bicycle(
        0.35, 0.042, 1.10, 0.29, 0.52, 0.95, 0.036, 69, 0.20, 0.30, "swept", 0.16, True, True, True, True
    ),
    "touring bicycle": Bicycle(
        0.35, 0.036, 1.05, 0.28, 0.55, 0.98, 0.034, 71, 0.17, 0.03, "flat", 0.08, True, True, False, True
    ),
    "mountain bicycle": Bicycle(
        0.35, 0.058, 1.12, 0.31, 0.44, 0.94, 0.048, 68.5, 0.13, 0.08, "flat", 0.07, suspension=True
    ),
    "child's bicycle": Bicycle(
        0.22, 0.045, 0.76, 0.20, 0.27, 0.60, 0.034, 68, 0.11, 0.10, "swept", 0.14, True, stabilisers=True
    ),
}


def build_bicycle(kind: str, random: np.random.Generator) -> Shape:
    """A bicycle of `kind`, with its own proportions, colours and equipment."""
    model, paint, shape = vary(BICYCLES[kind], random), Paint(random), Shape()
    r, half = model.wheel_radius, model.wheelbase / 2
    rear, front = np.array([-half, 0, r]), np.array([half, 0, r])
    angle = np.radians(model.head_angle)
    steering = np.array([-np.cos(angle), 0, np.sin(angle)])  # unit vector up the head tube
    crown = front + (-0.05 * np.sin(angle), 0, -0.05 * np.cos(angle)) + steering * (r + 0.05 + model.suspension * 0.07)
    head = crown + steering * model.head_tube
    bracket = np.array([-half + 0.43 * model.wheelbase / 1.05, 0, model.bracket])
    lean = np.radians(73)
    seat_up = np.array([-np.cos(lean), 0, np.sin(lean)])
    seat = bracket + seat_up * model.seat_tube

    style = wheel_style(model, paint, random)
    add_wheel(shape, rear, r, model.tyre_width, style, angle=random.uniform(0, 6))
    add_frame(shape, model, paint, rear, bracket, seat, seat_up, crown, head, steering)
    add_saddle(shape, model, paint, bracket, seat, seat_up)
    angle = random.uniform(0, 2 * np.pi)
    add_drive(shape, paint, bracket, rear, r, angle)
    add_carriers(shape, model, paint, rear, seat)

    mark, wheels = len(shape.points), len(shape.wheels)
    add_wheel(shape, front, r, model.tyre_width, style, angle=random.uniform(0, 6))
    add_fork(shape, model, paint, front, crown, head, steering)
    add_handlebar(shape, model, paint, head + steering * model.bar_rise, random)
    if model.basket and random.random() < 0.6:
        middle = head + steering * 0.02 + (0.22, 0, 0)
        add_basket(shape, paint, middle, (0.16, 0.18, 0.13))
    shape.turn(mark, rotation(steering, np.radians(random.normal(0, 14))), head, wheels)
    if random.random() < 0.1:
        hip = bracket + seat_up * (model.saddle - model.bracket) / seat_up[2] + (0, 0, 0.1)
        hands = head + steering * model.bar_rise + np.array([(0, -0.25, 0.03), (0, 0.25, 0.03)])
        crank = 0.17 * np.array([np.cos(angle), 0, np.sin(angle)])
        feet = bracket + np.array([-crank + (0, -0.14, 0), crank + (0, 0.14, 0)])
        add_rider(shape, hip, hands, feet, random)
    return shape


def vary(model: Bicycle, random: np.random.Generator) -> Bicycle:
    """The same kind of bicycle from another maker."""
    return model._replace(
        wheelbase=model.wheelbase * random.uniform(0.96, 1.06),
        seat_tube=model.seat_tube * random.uniform(0.88, 1.1),
        saddle=model.saddle * random.uniform(0.93, 1.08),
        tyre_width=model.tyre_width * random.uniform(0.9, 1.3),
        tube=model.tube * random.uniform(0.85, 1.35),
        top_drop=model.top_drop * random.uniform(0.6, 1.2),
        head_angle=model.head_angle + random.uniform(-1.5, 1.5),
        bar_rise=model.bar_rise * random.uniform(0.7, 1.4),
        mudguards=random.random() < (0.9 if model.mudguards else 0.15),
        rack=random.random() < (0.8 if model.rack else 0.1),
        lamp=random.random() < (0.8 if model.lamp else 0.15),
        stabilisers=model.stabilisers and random.random() < 0.5,
    )


def wheel_style(model: Bicycle, paint: Paint, random: np.random.Generator) -> WheelStyle:
    cast = random.random() < (0.25 if model.stabilisers else 0.04)
    return WheelStyle(
        tyre=paint.rubber,
        rim=paint.metal if random.random() < 0.7 else paint.trim,
        rim_share=1 - 1.1 * model.tyre_width / model.wheel_radius,
        spokes=5 if cast else int(random.choice([16, 20, 24])),
        spoke_width=0.04 if cast else 0.004,
        spoke_colour=paint.accent if cast else tuple(random.uniform(0.45, 0.95) * np.ones(3)),
        crossed=not cast,
        hub=0.09,
        rim_depth=random.uniform(0.05, 0.09),
    )


def add_frame(
    shape: Shape,
    model: Bicycle,
    paint: Paint,
    rear: np.ndarray,
    bracket: np.ndarray,
    seat: np.ndarray,
    seat_up: np.ndarray,
    crown: np.ndarray,
    head: np.ndarray,
    steering: np.ndarray,
) -> None:
    """The two triangles of tubes, with the rear mudguard and the stand."""
    tube = {"part": "frame", "gloss": 0.5}
    join = seat - seat_up * (model.top_drop + 0.02)
    upper, lower = head - steering * 0.03, crown + steering * 0.035
    shape.add([lower, bracket], paint.main, width=1.15 * model.tube, **tube)
    shape.add([upper, join], paint.main, width=0.95 * model.tube, **tube)
    shape.add([bracket, seat], paint.main, width=model.tube, **tube)
    shape.add([crown, head], paint.main, width=1.25 * model.tube, **tube)
    for side in (-0.055, 0.055):
        axle = rear + (0, side, 0)
        shape.add([bracket + (0, 0.6 * side, 0), axle], paint.main, width=0.55 * model.tube, **tube)
        shape.add([seat - seat_up * 0.06 + (0, 0.4 * side, 0), axle], paint.main, width=0.5 * model.tube, **tube)
    if model.mudguards:
        add_mudguard(shape, rear, model.wheel_radius + 0.025, model.tyre_width + 0.02, 0.25, 2.9, paint.second, "frame")
        lamp = solid([(-0.03, -0.03, 0.03, 0.025), (0, -0.03, 0.03, 0.025)]) + rear
        shape.add(
            lamp + (-0.85 * model.wheel_radius - 0.03, 0, 0.6 * model.wheel_radius),
            (0.8, 0.05, 0.05),
            "tail light",
            gloss=0.8,
        )
        foot = bracket + (-0.1, 0.16, -model.bracket)
        shape.add([bracket + (-0.05, 0.04, 0), foot], paint.trim, "frame", width=0.016)
    if model.stabilisers:
        for side in (-0.2, 0.2):
            centre = rear + (0, side, 0.08 - model.wheel_radius)
            shape.add([rear + (0, 0.3 * side, 0), centre], paint.metal, "frame", width=0.018)
            disc = circle(centre, 0.08, 14)
            shape.wheels.append(Wheel(centre, np.array([0.08, 0, 0]), np.array([0, 0, 0.08])))
            shape.add(disc, paint.rubber, "wheel", two_sided=True)
            shape.add(ring(centre + (0, 0.1 * side, 0), 0.05, 0.02, 14), paint.metal, None, two_sided=True)


def add_saddle(
    shape: Shape, model: Bicycle, paint: Paint, bracket: np.ndarray, seat: np.ndarray, seat_up: np.ndarray
) -> None:
    top = bracket + seat_up * (model.saddle - model.bracket) / seat_up[2]
    shape.add([seat, top], paint.metal, "frame", width=0.028, gloss=0.8)
    wide = 0.09 if model.bar == "swept" else 0.07
    stations = [(-0.13, -0.035, 0.045, wide), (-0.05, -0.045, 0.04, wide), (0.05, -0.02, 0.035, 0.032),
                (0.15, -0.01, 0.025, 0.018)]
    shape.add(solid(stations, 8) + top, paint.leather, "saddle", gloss=0.25)


def add_drive(shape: Shape, paint: Paint, bracket: np.ndarray, rear: np.ndarray, radius: float, angle: float) -> None:
    """Chain wheel, chain, cranks and pedals; on the right, as on every bicycle."""
    size = min(0.1, 0.36 * radius)
    centre, cog = bracket + (0, -0.05, 0), rear + (0, -0.045, 0)
    for side in (-1, 1):
        arm = np.array([np.cos(angle), 0, np.sin(angle)]) * side * min(0.17, 0.55 * radius)
        hub, pedal = bracket + (0, 0.07 * side, 0), bracket + arm + (0, 0.09 * side, 0)
        shape.add([hub, pedal], paint.metal, "frame", width=0.024, gloss=0.7)
        flat = box((-0.05, -0.045, -0.014), (0.05, 0.045, 0.014)) + pedal + (0, 0.05 * side, 0)
        shape.add(flat, paint.trim, "frame")
    for up in (-1, 1):
        line = [centre + (0, 0, up * size), cog + (0, 0, up * 0.045)]
        shape.add(line, paint.trim, "frame", width=0.012, anchor=centre)
    shape.add(ring(centre, size, 0.7 * size, 20), paint.metal, "frame", gloss=0.6, two_sided=True, anchor=centre)
    spokes = circle(centre, 0.8 * size, 5)
    lines = np.stack([np.broadcast_to(centre, spokes.shape), spokes], axis=1)
    shape.add(lines, paint.metal, "frame", width=0.015, anchor=centre)
    shape.add(circle(cog, 0.05, 12), paint.trim, "frame", two_sided=True)


def add_carriers(shape: Shape, model: Bicycle, paint: Paint, rear: np.ndarray, seat: np.ndarray) -> None:
    """Luggage rack above the rear wheel."""
    if not model.rack:
        return
    height = 2 * model.wheel_radius + 0.07
    for side in (-0.06, 0.06):
        back, ahead = rear + (-0.25, side, height - rear[2]), np.array([seat[0] + 0.02, side, height])
        shape.add([ahead, back], paint.trim, "frame", width=0.014, gloss=0.5)
        shape.add([rear + (0, side, 0), rear + (-0.12, side, height - rear[2])], paint.trim, "frame", width=0.012)


def add_fork(
    shape: Shape,
    model: Bicycle,
    paint: Paint,
    front: np.ndarray,
    crown: np.ndarray,
    head: np.ndarray,
    steering: np.ndarray,
) -> None:
    """Both legs of the fork, the front mudguard and the lamp."""
    spread = 0.045 + model.tyre_width / 2
    for side in (-spread, spread):
        knee = front + steering * 0.55 * model.wheel_radius + (0, side, 0)
        if model.suspension:
            shape.add([crown + (0, side, 0), knee], paint.metal, "frame", width=0.032, gloss=0.8)
            shape.add([knee, front + (0, side, 0)], paint.trim, "frame", width=0.045, gloss=0.4)
        else:
            legs = [crown + (0, 0.8 * side, 0), knee, front + (0, side, 0)]
            shape.add(legs, paint.main, "frame", width=0.65 * model.tube, gloss=0.5)
    shape.add([crown + (0, -spread, 0), crown + (0, spread, 0)], paint.main, "frame", width=0.04, gloss=0.5)
    if model.mudguards:
        add_mudguard(shape, front, model.wheel_radius + 0.025, model.tyre_width + 0.02, 0.7, 2.9, paint.second, "frame")
    if model.lamp:
        place = (crown + head) / 2 + (0.09, 0, 0)
        lamp = solid([(-0.06, -0.02, 0.02, 0.02), (0, -0.045, 0.045, 0.045), (0.02, -0.045, 0.045, 0.045)], 8)
        shape.add(lamp + place, paint.trim, "headlight", gloss=0.8)
        glass = lens(place + (0.025, 0, 0), 0.045)
        shape.add(glass, (0.95, 0.95, 0.85), "headlight", gloss=0.6, two_sided=True)


def add_handlebar(shape: Shape, model: Bicycle, paint: Paint, clamp: np.ndarray, random: np.random.Generator) -> None:
    """Stem, bar and grips; `clamp` is where the bar is held."""
    wide = random.uniform(0.9, 1.1) * {"drop": 0.21, "flat": 0.31, "swept": 0.28}[model.bar]
    wide *= 0.75 if model.wheel_radius < 0.3 else 1
    reach = clamp + (0.03 if model.bar == "swept" else 0.08, 0, 0)
    shape.add([clamp - (0, 0, model.bar_rise + 0.02), clamp, reach], paint.metal, "handlebar", width=0.03, gloss=0.7)
    for side in (-1, 1):
        corner = reach + (0, side * wide, 0)
        if model.bar == "drop":
            t = np.linspace(np.pi / 2, -np.pi / 2, 8)
            curve = corner + np.stack([0.02 + 0.08 * np.cos(t), 0 * t, -0.07 + 0.07 * np.sin(t)], axis=1)
            path = [reach, corner, *curve, curve[-1] + (-0.09, 0, 0)]
            shape.add(path, paint.leather, "handlebar", width=0.03)
            lever = curve[2] + [(0, 0, 0.02), (0.05, 0, 0), (0.05, 0, -0.09)]
            shape.add(lever, paint.trim, "handlebar", width=0.018)
            continue
        end = corner + ((-0.16, 0, 0.02) if model.bar == "swept" else (-0.04, 0, 0.01))
        rise = reach + (0, side * 0.08, 0.03 if model.bar == "swept" else 0)
        bar = [reach, rise, corner, end] if model.bar == "swept" else [reach, rise, end]
        shape.add(bar, paint.metal, "handlebar", width=0.024, gloss=0.7)
        grip = end + (end - corner if model.bar == "swept" else (rise - end) * 0.4) * (
            -0.7 if model.bar == "swept" else 1
        )
        shape.add([grip, end], paint.leather, "handlebar", width=0.036)
        shape.add([grip + (0.05, 0, -0.02), end + (0.05, 0, -0.02)], paint.metal, "handlebar", width=0.012)


def add_basket(shape: Shape, paint: Paint, middle: np.ndarray, half: tuple[float, float, float]) -> None:
    """A wire basket: horizontal hoops and vertical wires."""
    x, y, z = half
    for level, share in ((-z, 0.8), (-0.3 * z, 0.88), (0.35 * z, 0.95), (z, 1.0)):
        hoop = np.array([(x, y, 0), (-x, y, 0), (-x, -y, 0), (x, -y, 0), (x, y, 0)]) * share + middle + (0, 0, level)
        shape.add(hoop, paint.second, "frame", width=0.012, anchor=middle)
    for px, py in [(a * x, b * y) for a in (-1, -0.33, 0.33, 1) for b in (-1, 1)] + [(x, 0), (-x, 0)]:
        wire = [middle + (0.8 * px, 0.8 * py, -z), middle + (px, py, z)]
        shape.add(wire, paint.second, "frame", width=0.009, anchor=middle)
