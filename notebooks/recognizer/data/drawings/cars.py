"""Cars: a table of outlines, and one function that builds any of them as a skin over cross-sections."""

from typing import NamedTuple

import numpy as np

from .colours import Paint, grey
from .solids import Shape, Wheel, arc, box, circle, loft, ring


class Car(NamedTuple):
    """Metres. `top` is the outline over bonnet, roof and boot, from the nose back; x is 0 at mid length."""

    width: float
    clearance: float
    wheel_radius: float
    axles: tuple[float, float]  # x of the front and of the rear axle
    top: tuple[tuple[float, float], ...]
    glass: tuple[float, float, float, float]  # x: foot and head of the windscreen, head and foot of the rear window
    belt: tuple[float, float]  # height of the side windows' lower edge, at the windscreen and at the tail
    pillars: tuple[float, ...]  # x of the posts between side windows
    last_window: float  # x at which the side windows end
    cladding: float = 0.0  # chance of dark plastic along the sills
    seam: float | None = None  # x where a pickup's cab ends


CARS = {
    "saloon": Car(
        1.80, 0.17, 0.33, (1.42, -1.33),
        ((2.33, 0.66), (2.24, 0.80), (1.05, 0.98), (0.25, 1.38), (-0.35, 1.45), (-1.0, 1.38), (-1.72, 1.06), (-2.25, 1.0),
         (-2.34, 0.72)),
        (1.05, 0.25, -1.0, -1.72), (0.92, 0.98), (-0.28,), -1.35,
    ),
    "hatchback": Car(
        1.72, 0.17, 0.31, (1.25, -1.22),
        ((1.98, 0.68), (1.90, 0.84), (1.02, 1.02), (0.30, 1.42), (-0.4, 1.50), (-1.35, 1.44), (-1.85, 1.02), (-1.95, 0.75)),
        (1.02, 0.30, -1.35, -1.83), (0.93, 1.02), (-0.15,), -1.25,
    ),
    "estate": Car(
        1.80, 0.17, 0.33, (1.42, -1.33),
        ((2.33, 0.66), (2.24, 0.81), (1.10, 0.99), (0.32, 1.40), (-0.4, 1.48), (-1.85, 1.42), (-2.25, 1.02), (-2.36, 0.72)),
        (1.10, 0.32, -1.85, -2.23), (0.93, 1.0), (-0.2, -1.15), -2.0,
    ),
    "SUV": Car(
        1.90, 0.24, 0.39, (1.42, -1.35),
        ((2.30, 0.90), (2.22, 1.06), (1.08, 1.17), (0.42, 1.62), (-0.3, 1.72), (-1.8, 1.66), (-2.2, 1.18), (-2.30, 0.85)),
        (1.08, 0.42, -1.8, -2.17), (1.10, 1.18), (-0.2, -1.1), -1.8, 0.6,
    ),
    "pickup": Car(
        1.90, 0.28, 0.40, (1.70, -1.55),
        ((2.66, 0.94), (2.60, 1.12), (1.40, 1.22), (0.80, 1.68), (0.1, 1.78), (-0.55, 1.72), (-0.72, 1.14), (-2.62, 1.12),
         (-2.68, 0.8)),
        (1.40, 0.80, -0.55, -0.70), (1.12, 1.14), (0.12,), -0.55, 0.5, -0.78,
    ),
    "van": Car(
        1.90, 0.20, 0.34, (1.55, -1.50),
        ((2.38, 0.78), (2.30, 0.98), (1.75, 1.18), (0.95, 1.82), (0.2, 1.94), (-2.2, 1.90), (-2.40, 1.15), (-2.46, 0.7)),
        (1.75, 0.95, -2.22, -2.37), (1.10, 1.15), (0.45, -0.75), -2.0, 0.3,
    ),
    "sports car": Car(
        1.86, 0.13, 0.34, (1.38, -1.28),
        ((2.26, 0.56), (2.14, 0.72), (0.85, 0.90), (0.0, 1.20), (-0.5, 1.26), (-1.0, 1.18), (-1.85, 0.94), (-2.15, 0.90),
         (-2.22, 0.66)),
        (0.85, 0.0, -1.0, -1.75), (0.82, 0.92), (-0.55,), -1.25,
    ),
}  # fmt: skip


def rounded(line: np.ndarray) -> np.ndarray:
    """A line (N×2) with each corner cut off at a sixth of the way to its neighbours."""
    ahead, behind = line[1:-1] + (line[2:] - line[1:-1]) / 6, line[1:-1] + (line[:-2] - line[1:-1]) / 6
    return np.concatenate([line[:1], np.stack([behind, ahead], axis=1).reshape(-1, 2), line[-1:]])


class Skin(NamedTuple):
    """The surface of a car: everything on it is found by x."""

    car: Car
    outline: np.ndarray  # x and z of `car.top`, from the tail on, with its corners rounded: 2×N
    nose_taper: float
    tail_taper: float

    @property
    def ends(self) -> tuple[float, float]:
        """x of tail and nose."""
        return self.car.top[-1][0], self.car.top[0][0]

    def top(self, x: np.ndarray) -> np.ndarray:
        xs, zs = self.outline
        return np.interp(x, xs, zs)

    def belt(self, x: np.ndarray) -> np.ndarray:
        front, back = self.car.glass[0], self.ends[0]
        return np.minimum(np.interp(x, (back, front), self.car.belt[::-1]), self.top(x) - 0.02)

    def half(self, x: np.ndarray) -> np.ndarray:
        """Half of the width at the shoulder; nose and tail are rounded seen from above."""
        tail, nose = self.ends
        front, back = np.clip((x - nose + 0.7) / 0.7, 0, 1), np.clip((tail + 0.6 - x) / 0.6, 0, 1)
        return self.car.width / 2 * (1 - self.nose_taper * front**2.5 - self.tail_taper * back**2.5)

    def edge(self, x: np.ndarray) -> np.ndarray:
        """Half of the width at the edge of roof, bonnet or boot."""
        return 0.95 * self.half(x) - 0.33 * np.maximum(self.top(x) - self.belt(x) - 0.02, 0)

    def window(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Points (N×3) of the left side between belt (v = 0) and edge of the roof (v = 1)."""
        low, high = self.belt(x), self.top(x) - 0.03
        y = (1 - v) * 0.97 * self.half(x) + v * self.edge(x)
        return np.stack([x, y, (1 - v) * low + v * high], axis=-1)

    def sections(self) -> np.ndarray:
        """Cross-sections, stations×12×3, from the left sill over the roof to the right one."""
        tail, nose = self.ends
        x = np.unique(np.concatenate([self.outline[0], np.linspace(tail, nose, 7), [nose - 0.2, tail + 0.2]]))
        low, belt, top = np.full_like(x, self.car.clearance), self.belt(x), self.top(x)
        overhang = 0.10 * (np.clip((x - nose + 0.5) / 0.5, 0, 1) + np.clip((tail + 0.5 - x) / 0.5, 0, 1)) ** 2
        low = low + overhang
        w, edge = self.half(x), self.edge(x)
        left = [
            (0.90 * w, low),
            (0.985 * w, 0.55 * low + 0.45 * belt),
            (w, belt - 0.22 * (belt - low)),
            (0.97 * w, belt),
            (edge, top - 0.03),
            (0.6 * edge, top + 0.012),
        ]
        points = left + [(-y, z) for y, z in reversed(left)]
        return np.stack([np.stack([x, y, z], axis=1) for y, z in points], axis=1)


def build_car(kind: str, random: np.random.Generator) -> Shape:
    """A car of `kind`, with its own proportions, colours and face."""
    car, paint, shape = vary(CARS[kind], random), Paint(random), Shape()
    outline = rounded(rounded(np.array(car.top[::-1]))).T
    skin = Skin(car, outline, random.uniform(0.10, 0.22), random.uniform(0.06, 0.14))
    tail, nose = skin.ends
    dark = grey(random, 0.03, 0.09)
    glass = tuple(random.uniform(0.03, 0.2) * np.array((0.9, 1.0, 1.05)))

    sections = skin.sections()
    faces = loft(sections).reshape(len(sections) - 1, 12, 4, 3)

    def strips(which: list[int]) -> np.ndarray:
        """Faces of the strips from tail to nose, counted from the left sill over the roof."""
        return faces[:, which].reshape(-1, 4, 3)

    shape_cladding = random.random() < car.cladding
    roof = paint.second if random.random() < 0.18 else paint.main
    shape.add(strips([1, 2, 3, 7, 8, 9]), paint.main, "body", gloss=0.75, layer=1)
    shape.add(strips([4, 5, 6]), roof, "body", gloss=0.75, layer=1)
    sill = dark if shape_cladding else paint.main
    shape.add(strips([0, 10]), sill, "body", gloss=0.3, layer=1)
    shape.add(strips([11]), dark, "body", layer=1)
    shape.add(sections[-1], paint.main, "body", gloss=0.6, layer=1)
    shape.add(sections[0][::-1], paint.main, "body", gloss=0.6, layer=1)

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


def on_both_sides(shape: Shape, points: np.ndarray, colour, part, **look) -> None:
    """Add a face or line of the left side, and its mirror image on the right."""
    shape.add(points, colour, part, **look)
    shape.add(points[..., ::-1, :] * (1, -1, 1), colour, part, **look)


def add_reflections(shape: Shape, skin: Skin, paint: Paint, random) -> None:
    """What smooth panels mirror: bright and dark shapes along the sides, streaks and creases on the bonnet."""
    tail, nose = skin.ends

    def tone() -> tuple:
        share, white = random.uniform(0.45, 1.5), random.uniform(0, 0.25) * (random.random() < 0.6)
        return tuple(min(1.0, share * c + white) for c in paint.main)

    for _ in range(random.integers(1, 4)):
        start, length, low = random.uniform(tail + 0.3, nose - 1.2), random.uniform(0.8, 3), random.uniform(0.25, 0.8)
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
    for _ in range(random.integers(1, 4)):
        share, wide = random.uniform(0.05, 0.8), random.uniform(0.02, 0.2)
        x = np.linspace(foot + 0.05, nose - 0.06, 5)
        left, right = (np.stack([x, s * skin.edge(x), skin.top(x) + 0.012], axis=1) for s in (share + wide, share))
        streak = np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)
        on_both_sides(shape, streak, tone(), None, gloss=0.8, layer=2)


def add_windows(shape: Shape, skin: Skin, glass, dark, random) -> None:
    foot, head, back, back_foot = skin.car.glass
    shine = random.uniform(0.1, 1.0)
    framed, trim = random.random() < 0.6, dark if random.random() < 0.6 else (0.75, 0.75, 0.76)
    posts = [foot - 0.06, *skin.car.pillars, skin.car.last_window]
    for ahead, behind in zip(posts, posts[1:]):
        x = np.linspace(ahead - 0.035, behind + 0.035, 6)
        # In front, where the roof comes down to the belt, the window is as high as there is room.
        low, high = np.full(6, 0.08), np.full(6, 0.86)
        pane = np.concatenate([skin.window(x, low), skin.window(x[::-1], high)])[::-1]
        if framed:
            rim = np.concatenate([skin.window(x, low - 0.1), skin.window(x[::-1], high + 0.07)])[::-1]
            on_both_sides(shape, rim, trim, "body", gloss=0.5, layer=2)
        on_both_sides(shape, pane, glass, "window", gloss=shine, layer=2)
        if random.random() < 0.6:  # a head rest, or someone's head
            seat, wide = 0.6 * behind + 0.4 * ahead, 0.1
            spots = np.array([seat - wide, seat - wide, seat + wide, seat + wide]), np.array([0.1, 0.5, 0.5, 0.1])
            shade = random.uniform(0.3, 2.2)
            on_both_sides(shape, skin.window(*spots), tuple(shade * c for c in glass), None, gloss=0.5, layer=2)
    for low, high, inset in ((foot, head, 0.03), (back_foot, back, 0.03)):
        x = np.array([low, high]) + np.array([inset, -inset]) * np.sign(high - low)
        edge, top = 0.93 * skin.edge(x), skin.top(x)
        pane = np.array([
            (x[0], edge[0], top[0]), (x[0], 0, top[0] + 0.01), (x[0], -edge[0], top[0]),
            (x[1], -edge[1], top[1]), (x[1], 0, top[1] + 0.01), (x[1], edge[1], top[1]),
        ])  # fmt: skip
        pane = pane[::-1] if low > high else pane
        shape.add(pane, glass, "window", gloss=shine, layer=2)
        if random.random() < 0.75:
            # What the glass mirrors: a slanting bright band.
            a, b = np.sort(random.uniform(-0.7, 0.7, 2))
            band = np.array([
                (x[0], a * edge[0], top[0]), (x[1], (a + 0.2) * edge[1], top[1]),
                (x[1], (b + 0.2) * edge[1], top[1]), (x[0], b * edge[0], top[0]),
            ])  # fmt: skip
            band = band if low > high else band[::-1]
            shape.add(band, tuple(min(1, 2.2 * c + 0.1) for c in glass), None, gloss=0.8, layer=2)


def add_lines(shape: Shape, skin: Skin, paint: Paint, dark, random) -> None:
    """Doors, handles, mirrors and the strip along the side."""
    car = skin.car
    w, low = 0.99 * car.width / 2, car.clearance + 0.12
    posts = [car.glass[0] - 0.12, *car.pillars[:1], max(car.pillars[0] - 0.95, car.last_window)]
    for post, x in enumerate(posts):
        gap = np.array([(x - 0.006, w, low), (x + 0.006, w, low), (x + 0.006, 0.98 * w, skin.belt(x)),
                        (x - 0.006, 0.98 * w, skin.belt(x))])  # fmt: skip
        on_both_sides(shape, gap[::-1], dark, None, layer=2)
        if post:
            handle = gap + np.array([(0.06, 0, 0)] * 4)
            z = float(skin.belt(x)) - 0.12
            handle[:, 0] = x + np.array([0.05, 0.22, 0.22, 0.05])
            handle[:, 2] = z + np.array([0, 0, 0.035, 0.035])
            on_both_sides(shape, handle[::-1], paint.trim if random.random() < 0.5 else paint.metal, None, layer=2)
    tail, nose = skin.ends
    x = np.linspace(tail + 0.35, nose - 0.4, 8)
    z = skin.belt(x) - random.uniform(0.1, 0.3)
    # Piece by piece, because each piece of a bent band faces its own way.
    line = np.stack([x, skin.half(x) * 1.002, z], axis=1)
    crease = np.stack([line[:-1], line[:-1] - (0, 0, 0.02), line[1:] - (0, 0, 0.02), line[1:]], axis=1)[:, ::-1]
    on_both_sides(shape, crease, tuple(min(1, 1.3 * c + 0.12) for c in paint.main), None, gloss=0.8, layer=2)
    if random.random() < 0.25:  # a rubbing strip
        on_both_sides(shape, crease - (0, 0, 0.18), dark, None, layer=2)
    if car.seam is not None:
        x = car.seam
        gap = np.array([(x - 0.02, w, low), (x + 0.02, w, low), (x + 0.02, w, skin.belt(x)), (x - 0.02, w, skin.belt(x))])
        on_both_sides(shape, gap[::-1], dark, None, layer=2)
    mirror = box((-0.08, 0, 0), (0.06, 0.18, 0.13)) + (car.glass[0] - 0.35, 0.93 * w, float(skin.belt(car.glass[0])) + 0.02)
    shape.add(mirror, paint.main, "body", gloss=0.6, layer=2)
    shape.add((mirror * (1, -1, 1))[:, ::-1], paint.main, "body", gloss=0.6, layer=2)


def add_plate(shape: Shape, skin: Skin, x: float, z: float, random) -> None:
    """A number plate with something written on it, at nose or tail."""
    outwards = slice(None) if x > 0 else slice(None, None, -1)
    paper = grey(random, 0.75, 0.95) if random.random() < 0.8 else (0.85, 0.75, 0.2)
    shape.add(across(skin, x, ((0.32, z), (0.32, z + 0.12)))[outwards], paper, "body", layer=2)
    for y in np.linspace(-0.2, 0.2, 6) + random.uniform(-0.01, 0.01, 6):
        sign = np.array([(x, y - 0.018, z + 0.025), (x, y + 0.018, z + 0.025), (x, y + 0.018, z + 0.095), (x, y - 0.018, z + 0.095)])
        shape.add(sign[outwards], (0.1, 0.1, 0.15), None, layer=2)


def across(skin: Skin, x: float, rows: tuple[tuple[float, float], ...]) -> np.ndarray:
    """A symmetric face of nose or tail: rows of (half width as a share of the nose's, height), from the bottom up."""
    half = float(skin.half(x))
    left = [(x, share * half, z) for share, z in rows]
    return np.array(left + [(px, -py, pz) for px, py, pz in reversed(left)])


def add_face(shape: Shape, skin: Skin, paint: Paint, dark, random) -> None:
    """Headlights, grille, lower intake, bumper and number plate."""
    nose, top = skin.ends[1], skin.car.top[0][1]
    low = skin.car.clearance + 0.1
    height = top - low
    level = low + height * random.uniform(0.62, 0.74)
    tall = random.random() < 0.25  # a grille like a temple front
    wide = random.uniform(0.25, 0.4) if tall else random.uniform(0.4, 0.62)
    bottom = level - height * (0.4 if tall else random.choice([0.05, 0.12, 0.3], p=[0.35, 0.35, 0.3]))
    if random.random() < 0.6:
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
            bar = np.array([(nose, y - 0.007, bottom), (nose, y - 0.007, top - 0.06), (nose, y + 0.007, top - 0.06),
                            (nose, y + 0.007, bottom)])  # fmt: skip
            shape.add(bar[::-1], shine, "grille", gloss=0.6, layer=2)
    if random.random() < 0.7:
        intake = across(skin, nose, ((0.75, low + 0.02), (0.6 + 0.3 * random.random(), low + 0.3 * height)))
        shape.add(intake, dark, "grille", layer=2)
    if random.random() < 0.4:  # a skid plate, or a bright lip
        lip = across(skin, nose, ((0.6, low - 0.06), (0.75, low + random.uniform(0.0, 0.12))))
        shape.add(lip, paint.metal if random.random() < 0.7 else dark, None, gloss=0.6, layer=2)
    add_plate(shape, skin, nose, low + 0.3 * height, random)
    edge = across(skin, nose, ((0.98, bottom - 0.05), (0.98, bottom - 0.035)))
    shape.add(edge, tuple(0.5 * c for c in paint.main), None, layer=2)
    if random.random() < 0.6:  # fog lamps in their housings
        half, rise = float(skin.half(nose)), random.uniform(0.08, 0.2)
        corner = np.array([(nose, 0.66 * half, low + 0.05), (nose, 0.98 * half, low + 0.03), (nose, 0.98 * half, low + 0.05 + rise),
                           (nose, 0.8 * half, low + 0.02 + rise)])  # fmt: skip
        on_both_sides(shape, corner, dark, None, layer=2)
        disc = circle((0, 0, 0), 0.05, 10)[:, [1, 0, 2]] + (nose, 0.85 * half, low + 0.05 + rise / 2)
        on_both_sides(shape, disc, (0.9, 0.9, 0.86), "headlight", gloss=0.8, layer=2)
    if random.random() < 0.7:  # the maker's badge
        disc = circle((0, 0, 0), 0.05, 10)[:, [1, 0, 2]] + (nose, 0, top - 0.1)
        shape.add(disc, (0.85, 0.85, 0.87), None, gloss=0.9, layer=2)

    if random.random() < 0.15:  # round lamps of an older car
        radius = min(0.12, 0.35 * height)
        for side in (-1, 1):
            y, z = side * 0.76 * float(skin.half(nose)), level + 0.02
            disc = circle((0, 0, 0), radius, 16)[:, [1, 0, 2]] + (nose, y, z)
            shape.add(disc, paint.metal, "headlight", gloss=0.8, layer=2, anchor=np.array((nose, y, z)))
            lens = (disc - (nose, y, z)) * 0.8 + (nose, y, z)
            shape.add(lens, (0.9, 0.9, 0.86), "headlight", gloss=0.9, layer=2, anchor=np.array((nose, y, z)))
        return
    back = random.uniform(0.25, 0.5)
    thick = random.uniform(0.3, 0.55) * min(height, 0.5)
    low_edge, high_edge = top - 0.02 - thick, top - 0.03
    inner, outer = max(wide + 0.04, 0.58) * float(skin.half(nose)), float(skin.half(nose))
    rise = 0.08 * random.random()
    lamp = np.array([
        (nose, inner, low_edge + 0.02), (nose, outer, low_edge), (nose - back, float(skin.half(nose - back)), high_edge - 0.04 + rise),
        (nose - 0.8 * back, 0.97 * float(skin.half(nose - 0.8 * back)), high_edge + 0.03 + rise), (nose - 0.04, outer, high_edge),
        (nose, inner, high_edge),
    ])  # fmt: skip
    housing = grey(random, 0.5, 0.95) if random.random() < 0.5 else grey(random, 0.08, 0.3)
    on_both_sides(shape, lamp, housing, "headlight", gloss=0.8, layer=2)
    middle = lamp.mean(axis=0)
    for share in (-0.22, 0.25):
        bulb = circle((0, 0, 0), 0.28 * thick, 10)[:, [1, 0, 2]] + middle * (0, 1, 1) + (nose, share * (outer - inner), 0)
        bulb[:, 0] -= 0.3 * back * (bulb[:, 1] > middle[1])
        on_both_sides(shape, bulb, (0.97, 0.97, 0.95) if housing[0] < 0.4 else (0.45, 0.46, 0.5), None, gloss=0.9, layer=2)
    if random.random() < 0.4:  # a line of light above or below
        line = np.array([lamp[0], lamp[1], lamp[1] + (0, 0, 0.03), lamp[0] + (0, 0, 0.03)]) + (0, 0, 0 if share < 0 else 0.7 * thick)
        on_both_sides(shape, line, (1, 1, 1), None, layer=2)


def add_tail(shape: Shape, skin: Skin, paint: Paint, dark, random) -> None:
    """Tail lights, plate and lower edge of the bumper."""
    tail = skin.ends[0]
    low, top = skin.car.clearance + 0.1, float(skin.top(tail + 0.1)) - 0.06
    height = top - low
    red = (random.uniform(0.5, 0.85), 0.04, 0.04)
    tall = random.uniform(0.14, 0.5) * height
    inner, outer = random.uniform(0.5, 0.8) * float(skin.half(tail)), float(skin.half(tail))
    high = min(top, skin.car.top[-1][1] + 0.05)
    lamp = np.array([
        (tail, inner, high - tall), (tail, outer, high - tall), (tail + 0.25, float(skin.half(tail + 0.25)), high - 0.7 * tall),
        (tail + 0.22, 0.98 * float(skin.half(tail + 0.22)), high), (tail, outer, high), (tail, inner, high),
    ])[::-1]  # fmt: skip
    on_both_sides(shape, lamp, red, "tail light", gloss=0.8, layer=2)
    add_plate(shape, skin, tail, low + (0.2 if random.random() < 0.5 else 0.42) * height, random)
    edge = across(skin, tail, ((0.98, low + 0.38 * height), (0.98, low + 0.40 * height)))[::-1]
    shape.add(edge, tuple(0.5 * c for c in paint.main), None, layer=2)
    skirt = across(skin, tail, ((0.8, low), (0.9, low + 0.12 * height)))[::-1]
    shape.add(skirt, dark, None, layer=2)


def wedge(radius: float, middle: float, half: float) -> np.ndarray:
    """The gap (6×3) between two spokes of a wheel at the origin, about the angle `middle`."""
    t = middle + half * np.array([-1, -0.33, 0.33, 1, 0.5, -0.5])
    r = radius * np.array([0.88, 0.88, 0.88, 0.88, 0.22, 0.22])
    return np.stack([r * np.cos(t), np.zeros(6), r * np.sin(t)], axis=1)


def add_wheels(shape: Shape, skin: Skin, paint: Paint, dark, random) -> None:
    """Four wheels: whole ones behind the body, and in its arches the faces that look at us."""
    car, radius = skin.car, skin.car.wheel_radius
    y, width = 0.965 * car.width / 2, 0.21
    share, spokes = random.uniform(0.62, 0.8), int(random.choice([0, 5, 5, 6, 7, 10]))
    rim = paint.metal if random.random() < 0.85 else paint.trim
    angle = random.uniform(0, 6)
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
            arch = arc(centre + (0, 0, 0.02), 1.13 * radius, 24, -0.35, np.pi + 0.35)
            shape.add(arch[turn], dark, "body", layer=2)
            look["layer"] = 3
            shape.add(circle(centre, radius)[turn], paint.rubber, "wheel", gloss=0.1, **look)
            shape.add(circle(centre, share * radius)[turn], rim, "wheel", gloss=0.7, **look)
            shape.add(ring(centre, share * radius, (share - 0.05) * radius, 20)[turn], tuple(0.6 * c for c in rim), None, **look)
            if spokes:
                gaps = [wedge(share * radius, t, 0.6 * np.pi / spokes) for t in angle + 2 * np.pi * np.arange(spokes) / spokes]
                shape.add((np.array(gaps) + centre)[:, turn], dark, None, **look)
            shape.add(circle(centre, 0.13 * radius, 10)[turn], rim, None, gloss=0.7, **look)
