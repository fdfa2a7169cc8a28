"""The details that are painted on a car's skin: windows, doors, lights, grille, plates and wheels."""

import numpy as np

from .car_skin import Skin, across, on_both_sides
from .paint import Paint, grey
from .solids import Colour, Shape, Wheel, arc, box, circle, facing_ahead, facing_left, lens, ring

SIXTHS = np.linspace(0, 1, 6)


def add_reflections(shape: Shape, skin: Skin, paint: Paint, random: np.random.Generator) -> None:
    """Reflections in smooth panels: bright and dark shapes along the sides, streaks and creases on the bonnet."""
    tail, nose = skin.ends

    def tone() -> tuple:
        share, white = random.uniform(0.45, 1.3), random.uniform(0, 0.35) * (random.random() < 0.6)
        return tuple(min(1.0, share * c + white) for c in paint.main)

    for _ in range(random.integers(1, 5)):
        start, length, low = random.uniform(tail + 0.2, nose - 1.2), random.uniform(2, 6), random.uniform(0.25, 0.8)
        x = np.linspace(start, min(start + length, nose - 0.3), 5)
        slant, thick = random.uniform(-0.06, 0.06), random.uniform(0.03, 0.3)
        share = low + slant * np.linspace(-1, 1, 5)
        edges = []
        for level in (share, np.minimum(share + thick, 0.97)):
            z = skin.car.clearance + 0.1 + level * (skin.belt(x) - skin.car.clearance - 0.1)
            edges.append(np.stack([x, 1.001 * skin.half(x), z], axis=1))
        low_edge, high_edge = edges
        patch = np.stack([low_edge[:-1], high_edge[:-1], high_edge[1:], low_edge[1:]], axis=1)
        on_both_sides(shape, patch, tone(), None, gloss=0.6, layer=2)
    foot = skin.car.glass[0]
    for _ in range(random.integers(1, 5)):
        share, wide = random.uniform(0.05, 0.8), random.uniform(0.02, 0.2)
        x = np.linspace(foot + 0.05, nose - 0.06, 5)
        left, right = (np.stack([x, s * skin.edge(x), skin.top(x) + 0.012], axis=1) for s in (share + wide, share))
        streak = np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)
        on_both_sides(shape, streak, tone(), None, gloss=0.8, layer=2)


def add_windows(shape: Shape, skin: Skin, glass: Colour, dark: Colour, random: np.random.Generator) -> None:
    foot, head, back, back_foot = skin.car.glass
    shine = random.uniform(0.15, 0.8)
    framed, trim = random.random() < 0.75, dark if random.random() < 0.6 else (0.75, 0.75, 0.76)
    posts = [foot - 0.06, *skin.car.pillars, skin.car.last_window]
    for ahead, behind in zip(posts, posts[1:]):
        x = ahead - 0.035 + (behind - ahead + 0.07) * SIXTHS
        # In front, where the roof comes down to the belt, the window is as high as the space allows.
        low, high = np.full(6, 0.08), np.full(6, 0.86)
        pane = np.concatenate([skin.window(x, low), skin.window(x[::-1], high)])
        # The anchor is the same for all of them, so that they are painted in this order.
        look = {"layer": 2, "anchor": pane.mean(axis=0) * (1, 0, 1)}
        if framed:
            rim = np.concatenate([skin.window(x, low - 0.1), skin.window(x[::-1], high + 0.07)])
            on_both_sides(shape, rim, trim, "body", gloss=0.5, **look)
        on_both_sides(shape, pane, glass, "window", gloss=shine, **look)
        if random.random() < 0.6:  # a head rest, or someone's head
            seat, wide = 0.6 * behind + 0.4 * ahead, 0.1
            spots = np.array([seat - wide, seat - wide, seat + wide, seat + wide]), np.array([0.1, 0.5, 0.5, 0.1])
            shade = random.uniform(0.3, 2.2)
            on_both_sides(shape, skin.window(*spots), tuple(shade * c for c in glass), None, gloss=0.5, **look)
    for low, high, inset in ((foot, head, 0.03), (back_foot, back, 0.03)):
        x = np.array([low, high]) + np.array([inset, -inset]) * np.sign(high - low)
        edge, top = 0.93 * skin.edge(x), skin.top(x)
        pane = np.array([
            (x[0], edge[0], top[0]), (x[0], 0, top[0] + 0.01), (x[0], -edge[0], top[0]),
            (x[1], -edge[1], top[1]), (x[1], 0, top[1] + 0.01), (x[1], edge[1], top[1]),
        ])
        pane = pane[::-1] if low > high else pane
        shape.add(pane, glass, "window", gloss=shine, layer=2)
        if random.random() < 0.75:
            # A reflection in the glass: a slanting bright band.
            a, b = np.sort(random.uniform(-0.7, 0.7, 2))
            band = np.array([
                (x[0], a * edge[0], top[0]), (x[1], (a + 0.2) * edge[1], top[1]),
                (x[1], (b + 0.2) * edge[1], top[1]), (x[0], b * edge[0], top[0]),
            ])
            band = band[::-1] if low > high else band
            shape.add(band, tuple(min(1, 2.2 * c + 0.1) for c in glass), None, gloss=0.8, layer=2)


def add_lines(shape: Shape, skin: Skin, paint: Paint, dark: Colour, random: np.random.Generator) -> None:
    """Doors, handles, mirrors and the strip along the side."""
    car = skin.car
    w, low = 0.99 * car.width / 2, car.clearance + 0.12
    posts = [car.glass[0] - 0.12, *car.pillars[:1], max(car.pillars[0] - 0.95, car.last_window)]
    for post, x in enumerate(posts):
        belt = float(skin.belt(x))
        on_both_sides(shape, facing_left((x - 0.006, x + 0.006), w, (low, belt)), dark, None, layer=2, piece="body")
        if post:
            handle = facing_left((x + 0.05, x + 0.22), w, (belt - 0.12, belt - 0.085))
            finish = paint.trim if random.random() < 0.5 else paint.metal
            on_both_sides(shape, handle, finish, None, layer=2, piece="body")
    tail, nose = skin.ends
    x = np.linspace(tail + 0.35, nose - 0.4, 8)
    z = skin.belt(x) - random.uniform(0.1, 0.3)
    # Piece by piece, because each piece of a bent band faces in its own direction.
    line = np.stack([x, skin.half(x) * 1.002, z], axis=1)
    crease = np.stack([line[:-1], line[:-1] - (0, 0, 0.02), line[1:] - (0, 0, 0.02), line[1:]], axis=1)[:, ::-1]
    bright = tuple(min(1, 1.3 * c + 0.12) for c in paint.main)
    on_both_sides(shape, crease, bright, None, gloss=0.8, layer=2, piece="body")
    if random.random() < 0.25:  # a rubbing strip
        on_both_sides(shape, crease - (0, 0, 0.18), dark, None, layer=2, piece="body")
    if car.seam is not None:
        gap = facing_left((car.seam - 0.02, car.seam + 0.02), w, (low, float(skin.belt(car.seam))))
        on_both_sides(shape, gap, dark, None, layer=2, piece="body")
    place = np.array((car.glass[0] - 0.35, 0.93 * w, float(skin.belt(car.glass[0])) + 0.02))
    mirror = box((-0.08, 0, 0), (0.06, 0.18, 0.13)) + place
    on_both_sides(shape, mirror, paint.main, "body", gloss=0.6, layer=2)


def add_plate(shape: Shape, skin: Skin, x: float, z: float, random: np.random.Generator) -> None:
    """A number plate with characters on it, at nose or tail."""
    outwards = slice(None) if x > 0 else slice(None, None, -1)
    paper = grey(random, 0.75, 0.95) if random.random() < 0.8 else (0.85, 0.75, 0.2)
    shape.add(across(skin, x, ((0.32, z), (0.32, z + 0.12)))[outwards], paper, "body", layer=2)
    for y in np.linspace(-0.2, 0.2, 6) + random.uniform(-0.01, 0.01, 6):
        sign = facing_ahead(x, (y - 0.018, y + 0.018), (z + 0.025, z + 0.095))
        shape.add(sign[outwards], (0.1, 0.1, 0.15), None, layer=2)


def add_face(shape: Shape, skin: Skin, paint: Paint, dark: Colour, random: np.random.Generator) -> None:
    """Headlights, grille, lower intake, bumper and number plate."""
    nose, top = skin.ends[1], skin.car.top[0][1]
    low = skin.car.clearance + 0.1
    height = top - low
    level = low + height * random.uniform(0.62, 0.74)
    tall = random.random() < 0.25  # a high, narrow grille
    wide = random.uniform(0.25, 0.4) if tall else random.uniform(0.4, 0.62)
    bottom = level - height * (0.4 if tall else random.choice([0.05, 0.12, 0.3], p=[0.35, 0.35, 0.3]))
    if random.random() < 0.75:
        chrome = across(skin, nose, ((0.85 * wide + 0.04, bottom - 0.025), (wide + 0.04, top - 0.035)))
        shape.add(chrome, paint.metal, "grille", gloss=0.6, layer=2)
    shape.add(across(skin, nose, ((0.85 * wide, bottom), (wide, top - 0.06))), dark, "grille", gloss=0.3, layer=2)
    shine = tuple(0.6 * c for c in paint.metal)
    if random.random() < 0.5:
        for z in np.linspace(bottom, top - 0.06, 5)[1:-1]:
            bar = across(skin, nose, ((0.9 * wide, z - 0.007), (0.9 * wide, z + 0.007)))
            shape.add(bar, shine, "grille", gloss=0.6, layer=2)
    else:
        half = float(skin.half(nose)) * wide * 0.85
        for y in np.linspace(-half, half, 9):
            bar = facing_ahead(nose, (y - 0.007, y + 0.007), (bottom, top - 0.06))
            shape.add(bar, shine, "grille", gloss=0.6, layer=2)
    if random.random() < 0.85:
        intake = across(
            skin, nose, ((0.75, low + 0.02), (0.6 + 0.3 * random.random(), low + random.uniform(0.25, 0.45) * height))
        )
        shape.add(intake, dark, "grille", layer=2)
    if random.random() < 0.4:  # a skid plate, or a bright lip
        lip = across(skin, nose, ((0.6, low - 0.06), (0.75, low + random.uniform(0.0, 0.12))))
        shape.add(lip, paint.metal if random.random() < 0.7 else dark, None, gloss=0.6, layer=2, piece="body")
    add_plate(shape, skin, nose, low + 0.3 * height, random)
    edge = across(skin, nose, ((0.98, bottom - 0.05), (0.98, bottom - 0.035)))
    shape.add(edge, tuple(0.5 * c for c in paint.main), None, layer=2)
    if random.random() < 0.6:  # fog lamps in their housings
        half, rise = float(skin.half(nose)), random.uniform(0.08, 0.2)
        corner = np.array([(nose, share * half, low + z) for share, z in
                           ((0.66, 0.05), (0.98, 0.03), (0.98, 0.05 + rise), (0.8, 0.02 + rise))])
        on_both_sides(shape, corner, dark, None, layer=2)
        disc = lens(np.array((nose, 0.85 * half, low + 0.05 + rise / 2)), 0.05, 10)
        on_both_sides(shape, disc, (0.9, 0.9, 0.86), "headlight", gloss=0.8, layer=2)
    if random.random() < 0.7:  # the maker's badge
        disc = lens(np.array((nose, 0, top - 0.1)), 0.05, 10)
        shape.add(disc, (0.85, 0.85, 0.87), None, gloss=0.9, layer=2, piece="body")

    if random.random() < 0.15:
        add_round_lamps(shape, skin, paint, min(0.12, 0.35 * height), level + 0.02)
    else:
        add_lamps(shape, skin, max(wide + 0.04, 0.58), random.uniform(0.3, 0.55) * min(height, 0.5), random)


def add_round_lamps(shape: Shape, skin: Skin, paint: Paint, radius: float, height: float) -> None:
    """The headlights of an older car."""
    nose = skin.ends[1]
    for side in (-1, 1):
        place = np.array((nose, side * 0.76 * float(skin.half(nose)), height))
        for share, colour in ((1.0, paint.metal), (0.8, (0.9, 0.9, 0.86))):
            shape.add(lens(place, share * radius, 16), colour, "headlight", gloss=0.9, layer=2, anchor=place)


def add_lamps(shape: Shape, skin: Skin, inner: float, thick: float, random: np.random.Generator) -> None:
    """Headlights round the corners, from `inner` (a share of the nose's half width) outwards, `thick` metres high."""
    nose, top = skin.ends[1], skin.car.top[0][1]
    back, rise = random.uniform(0.25, 0.5), 0.08 * random.random()
    half, behind, beside = (float(skin.half(nose - share * back)) for share in (0, 0.8, 1))
    low, high = top - 0.02 - thick, top - 0.03
    lamp = np.array([
        (nose, inner * half, low + 0.02), (nose, half, low), (nose - back, beside, high - 0.04 + rise),
        (nose - 0.8 * back, 0.97 * behind, high + 0.03 + rise), (nose - 0.04, half, high), (nose, inner * half, high),
    ])
    housing = grey(random, 0.5, 0.95) if random.random() < 0.5 else grey(random, 0.08, 0.3)
    on_both_sides(shape, lamp, housing, "headlight", gloss=0.8, layer=2)
    bright = (0.97, 0.97, 0.95) if housing[0] < 0.4 else (0.45, 0.46, 0.5)
    _, y, z = lamp.mean(axis=0)
    for share in (-0.22, 0.25):
        bulb = lens(np.array((nose, y + share * (1 - inner) * half, z)), 0.28 * thick, 10)
        bulb[:, 0] -= 0.3 * back * (bulb[:, 1] > y)
        on_both_sides(shape, bulb, bright, None, gloss=0.9, layer=2)
    if random.random() < 0.4:  # a light strip above
        line = lamp[[0, 1, 1, 0]] + 0.7 * thick * np.array((0, 0, 1))
        line[2:, 2] += 0.03
        on_both_sides(shape, line, (1, 1, 1), None, layer=2)


def add_tail(shape: Shape, skin: Skin, paint: Paint, dark: Colour, random: np.random.Generator) -> None:
    """Tail lights, plate and lower edge of the bumper."""
    tail = skin.ends[0]
    low, top = skin.car.clearance + 0.1, float(skin.top(tail + 0.1)) - 0.06
    height = top - low
    red = (random.uniform(0.5, 0.85), 0.04, 0.04)
    tall = random.uniform(0.14, 0.5) * height
    inner, outer = random.uniform(0.5, 0.8) * float(skin.half(tail)), float(skin.half(tail))
    high = min(top, skin.car.top[-1][1] + 0.05)
    behind, beside = (float(skin.half(tail + depth)) for depth in (0.22, 0.25))
    lamp = np.array([
        (tail, inner, high - tall), (tail, outer, high - tall), (tail + 0.25, beside, high - 0.7 * tall),
        (tail + 0.22, 0.98 * behind, high), (tail, outer, high), (tail, inner, high),
    ])[::-1]
    on_both_sides(shape, lamp, red, "tail light", gloss=0.8, layer=2)
    add_plate(shape, skin, tail, low + (0.2 if random.random() < 0.5 else 0.42) * height, random)
    edge = across(skin, tail, ((0.98, low + 0.38 * height), (0.98, low + 0.40 * height)))[::-1]
    shape.add(edge, tuple(0.5 * c for c in paint.main), None, layer=2)
    skirt = across(skin, tail, ((0.8, low), (0.9, low + 0.12 * height)))[::-1]
    shape.add(skirt, dark, None, layer=2)


def wedge(radius: float, middle: float, half: float) -> np.ndarray:
    """The gap (6×3) between two spokes of a wheel at the origin, centred on the angle `middle`."""
    t = middle + half * np.array([-1, -0.33, 0.33, 1, 0.5, -0.5])
    r = radius * np.array([0.88, 0.88, 0.88, 0.88, 0.22, 0.22])
    return np.stack([r * np.cos(t), np.zeros(6), r * np.sin(t)], axis=1)


def add_wheels(shape: Shape, skin: Skin, paint: Paint, dark: Colour, random: np.random.Generator) -> None:
    """Four wheels: whole wheels behind the body, and their outer faces in its wheel arches."""
    car, radius = skin.car, skin.car.wheel_radius
    y, width = 0.965 * car.width / 2, 0.21
    share, spokes = random.uniform(0.62, 0.8), int(random.choice([0, 5, 5, 6, 7, 10]))
    rim = grey(random, 0.6, 0.95) if random.random() < 0.8 else paint.trim
    edge = tuple(0.6 * c for c in rim)
    middles = random.uniform(0, 6) + 2 * np.pi * np.arange(spokes) / max(spokes, 1)
    gaps = np.array([wedge(share * radius, t, 0.6 * np.pi / spokes) for t in middles])
    for x in car.axles:
        for side in (-1, 1):
            centre = np.array([x, side * y, radius])
            look = {"anchor": centre}
            shape.wheels.append(Wheel(centre, np.array([radius, 0, 0]), np.array([0, 0, radius])))
            shape.add(circle(centre - (0, side * width, 0), radius), dark, "wheel", two_sided=True, **look)
            outer, inner = circle(centre, radius), circle(centre - (0, side * width, 0), radius)
            outer, inner = np.concatenate([outer, outer[:1]]), np.concatenate([inner, inner[:1]])
            tread = np.stack([outer[:-1], inner[:-1], inner[1:], outer[1:]], axis=1)
            shape.add(tread if side < 0 else tread[:, ::-1], paint.rubber, "wheel", **look)
            turn = slice(None) if side < 0 else slice(None, None, -1)
            arch = arc(centre + (0, 0, 0.02), 1.18 * radius, 24, -0.35, np.pi + 0.35)
            shape.add(arch[turn], dark, "body", layer=2, piece="well")
            look["layer"] = 3
            shape.add(circle(centre, radius)[turn], paint.rubber, "wheel", gloss=0.1, **look)
            shape.add(circle(centre, share * radius)[turn], rim, "wheel", gloss=0.7, **look)
            shape.add(ring(centre, share * radius, (share - 0.05) * radius, 20)[turn], edge, None, **look)
            if spokes:
                shape.add((gaps + centre)[:, turn], dark, None, piece="spoke", **look)
            shape.add(circle(centre, 0.13 * radius, 10)[turn], rim, None, gloss=0.7, piece="wheel", **look)
