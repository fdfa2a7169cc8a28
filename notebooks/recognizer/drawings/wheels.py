"""Wheels of all vehicles: tyre, rim, hub, wire or cast spokes, and brake discs."""

from typing import NamedTuple

import numpy as np

from .solids import Colour, Shape, Wheel, arc, circle, ring


class WheelStyle(NamedTuple):
    """How a wheel looks; shares are shares of its radius."""

    tyre: Colour
    rim: Colour
    rim_share: float  # where the tyre ends and the rim begins
    spokes: int
    spoke_width: float  # metres
    spoke_colour: Colour
    crossed: bool = False  # wire spokes leave the hub at a slant
    closed: float = 0.0  # share covered by a closed disc behind the spokes
    brake: float = 0.0  # share of the brake disc
    hub: float = 0.12
    rim_depth: float = 0.07  # share of the metal ring inside the tyre


def add_wheel(
    shape: Shape, centre: tuple, radius: float, width: float, style: WheelStyle, *, angle: float = 0.0, layer: int = 0
) -> None:
    """Add a wheel in the vertical plane of travel; its whole disc is labelled `wheel`, also between spokes."""
    x, y, z = centre
    anchor = np.array(centre, float)
    common = {"anchor": anchor, "layer": layer}
    right, left = (x, y - width / 2, z), (x, y + width / 2, z)
    shape.wheels.append(Wheel(anchor, np.array([radius, 0, 0]), np.array([0, 0, radius])))

    outer = circle(centre, radius)
    shape.add(outer, style.tyre, "wheel", two_sided=True, ghost=True, **common)
    # The tread is highest in the middle: two bands that fall off to either side.
    inner = radius - 0.25 * width
    bands = [circle(right, inner), outer, circle(left, inner)]
    for a, b in zip(bands, bands[1:]):
        a, b = np.concatenate([a, a[:1]]), np.concatenate([b, b[:1]])
        shape.add(np.stack([a[:-1], a[1:], b[1:], b[:-1]], axis=1), style.tyre, "wheel", two_sided=True, **common)

    rim = style.rim_share * radius
    metal = rim - style.rim_depth * radius
    if style.closed:
        dark = tuple(0.35 * c for c in style.rim)
        shape.add(circle(centre, style.closed * rim), dark, "wheel", two_sided=True, **common)
    if style.brake:
        for place in (right, left):
            disc = ring(place, style.brake * radius, 0.6 * style.brake * radius)
            shape.add(disc, (0.55, 0.55, 0.56), "wheel", gloss=0.8, two_sided=True, **common)
    if style.spokes:
        t = angle + np.linspace(0, 2 * np.pi, style.spokes, endpoint=False)
        slant = np.where(np.arange(style.spokes) % 2, 1.1, -1.1) if style.crossed else 0.0
        hub = 0.8 * style.hub * radius
        side = (width / 2 if style.crossed else 0) * np.where(np.arange(style.spokes) % 4 < 2, 1, -1)
        start = np.stack([x + hub * np.cos(t + slant), y + side, z + hub * np.sin(t + slant)], axis=1)
        end = np.stack([x + metal * np.cos(t), np.full(len(t), y), z + metal * np.sin(t)], axis=1)
        shape.add(
            np.stack([start, end], axis=1), style.spoke_colour, None, width=style.spoke_width, gloss=0.5,
            piece="spoke", **common
        )
    for place in (right, left):
        tyre, metal_ring, hub = ring(place, inner, rim), ring(place, rim, metal), circle(place, style.hub * radius, 12)
        if place is left:
            tyre, metal_ring, hub = tyre[::-1], metal_ring[::-1], hub[::-1]
        shape.add(tyre, style.tyre, "wheel", gloss=0.15, **common)
        shape.add(metal_ring, style.rim, "wheel", gloss=0.7, **common)
        shape.add(hub, style.rim, "wheel", gloss=0.6, **common)


def add_mudguard(
    shape: Shape, centre: np.ndarray, radius: float, width: float, start: float, end: float, colour: Colour, part: str
) -> None:
    """A band over a wheel from one angle to another, with a narrow edge on either side."""
    anchor = centre + (0, 0, radius)
    band = arc(centre, radius, 12, start, end)
    lip = arc(centre, radius - 0.035, 12, start, end)
    half = np.array([0, width / 2, 0])
    for a, b in ((band - half, band + half), (band - half, lip - half), (band + half, lip + half)):
        strip = np.stack([a[:-1], a[1:], b[1:], b[:-1]], axis=1)
        shape.add(strip, colour, part, gloss=0.6, two_sided=True, anchor=anchor)
