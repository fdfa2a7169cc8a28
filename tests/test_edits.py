"""Drawings with one thing changed and the rest the same: edits, their controls, another light, scene or yaw."""

import pickle

import cv2
import numpy as np
import pytest

from recognizer.drawings import (
    CLASSES,
    PARTS,
    PIECES,
    VEHICLES,
    cornered_wheels,
    disc_wheels,
    draw,
    draw_many,
    drawing,
    nothing,
    only,
    scaled_wheels,
    shifted_wheels,
    vehicle_of,
    wheels_of,
    without,
)
from recognizer.drawings.drawing import before_the_camera
from recognizer.drawings.solids import Shape
from recognizer.drawings.stage import set_up
from recognizer.drawings.wheels import WheelStyle, add_wheel

SIZE = 96
WHEEL = PARTS.index("wheel")


def shown(name: str, index: int, **changes) -> tuple[np.ndarray, np.ndarray, float]:
    """What the camera sees (picture and parts), and its exposure."""
    take, exponent = before_the_camera(set_up(name, index, 0, SIZE), **changes)
    return take.picture, take.parts, exponent


def grown(where: np.ndarray, by: int) -> np.ndarray:
    return cv2.dilate(where.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1))) > 0


def on_wheels(wheels: np.ndarray, margin: float) -> np.ndarray:
    """Where (bool, SIZE×SIZE) wheels are, by the camera's matrix: rows of x, y, half-axes and angle, made larger."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    found = np.zeros((SIZE, SIZE), bool)
    for x, y, a, b, angle in wheels:
        along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        found |= (along / (a + margin)) ** 2 + (across / (b + margin)) ** 2 < 1
    return found


@pytest.mark.parametrize("name", VEHICLES)
def test_away_from_removed_wheels_nothing_changes(name):
    """Masks cannot serve as the reference, because a spoke over the frame is too thin for them."""
    for index in range(5):
        wheels = draw(name, index, size=SIZE).wheels
        # A tyre is wider than the circle in its middle.
        away = ~on_wheels(wheels, 2 + (0.15 if name == "Bike" else 0.6) * wheels[:, 2:4].max())
        picture, parts, exponent = shown(name, index)
        edited, left, same = shown(name, index, edit=without("wheel"), keep_shadow=True)
        assert (picture == edited)[away].all() and (parts == left)[away].all() and exponent == same
        assert (picture != edited).any() and WHEEL not in left


@pytest.mark.parametrize(("name", "piece"), [("Cat", "ear"), ("Dog", "tail")])
def test_more_than_a_few_hairs_away_from_a_removed_part_nothing_changes(name, piece):
    for index in range(5):
        picture, parts, exponent = shown(name, index)
        edited, left, same = shown(name, index, edit=without(piece), keep_shadow=True)
        away = ~grown(parts == PARTS.index(piece), 9)
        assert (picture == edited)[away].all() and (parts == left)[away].all() and exponent == same
        assert PARTS.index(piece) not in left


@pytest.mark.parametrize("name", VEHICLES)
def test_the_shadow_follows_unless_it_is_kept(name):
    """An empty scene is brighter where the shadow was, and nowhere darker."""
    for index in range(4):
        empty, kept = (shown(name, index, edit=nothing, keep_shadow=keep)[0].astype(int) for keep in (False, True))
        assert (empty >= kept).all() and (empty > kept).any()


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_left_out_and_what_is_kept_share_the_parts(name):
    """This holds for the masks; a part that hid another one reveals it."""
    piece = "wheel" if name in VEHICLES else "head"
    for index in range(4):
        parts = draw(name, index, size=SIZE).parts
        left, kept = (draw(name, index, size=SIZE, edit=edit(piece)).parts for edit in (without, only))
        assert not ((left > 0) & (parts == 0) & ~grown(parts > 0, 3)).any()
        gone, label = grown(parts == PARTS.index(piece), 3), PARTS.index(piece)
        assert (kept[parts == label] == label).mean() > 0.95 and not (left == label).any()
        if name in VEHICLES:
            assert set(np.unique(kept)) <= {0, label} and not (left != parts)[~gone].any()


def test_ellipses_follow():
    assert len(draw("Bike", 0, size=SIZE, edit=without("wheel")).wheels) == 0
    assert len(draw("Car", 0, size=SIZE, edit=without("body")).wheels) == 4
    assert (draw("Car", 0, size=SIZE, edit=without("spoke")).wheels == draw("Car", 0, size=SIZE).wheels).all()


def test_unknown_piece_scene_and_a_control_of_nothing():
    with pytest.raises(ValueError, match="there is no piece 'wing'; there are wheel, headlight"):
        without("wing")
    with pytest.raises(
        ValueError, match="the scenes of a Car are studio, wall, street, trees, field, hall, not 'moon'"
    ):
        draw("Car", 0, scene="moon")
    with pytest.raises(ValueError, match="a control needs an edit"):
        draw("Car", 0, control=True)


def test_draw_many_starts_at_first_and_changes_all():
    changes = {"size": 48, "edit": without("wheel"), "control": True, "scene": "wall"}
    assert [d.jpeg for d in draw_many("Bike", 3, first=5, **changes)] == [
        draw("Bike", index, **changes).jpeg for index in (5, 6, 7)
    ]


def test_edits_can_be_pickled():
    wheels = disc_wheels, scaled_wheels(0.5), shifted_wheels(0.5, 0.1), cornered_wheels(5), wheels_of("SUV")
    for edit in (without(*PIECES), only("wheel"), nothing, vehicle_of("Car", 3), *wheels):
        again = pickle.loads(pickle.dumps(edit))
        assert draw("Bike", 1, size=48, edit=edit).jpeg == draw("Bike", 1, size=48, edit=again).jpeg


# --- wheels ---


@pytest.mark.parametrize("name", VEHICLES)
def test_ellipses_follow_wheels_that_are_scaled_and_shifted(name):
    """Seen from the side, apart from perspective, semi-axes (pixels) scale, and centres move by shares of them."""
    for index in range(3):
        plain, yaw = draw(name, index, size=SIZE, yaw=np.pi / 2), np.pi / 2
        small = draw(name, index, size=SIZE, yaw=yaw, edit=scaled_wheels(0.5)).wheels
        assert np.allclose(small[:, 2:4], plain.wheels[:, 2:4] / 2, rtol=0.05)
        assert np.allclose(small[:, :2], plain.wheels[:, :2], atol=1)
        lifted = draw(name, index, size=SIZE, yaw=yaw, edit=shifted_wheels(0, 1)).wheels
        radius = plain.wheels[:, 2:4].max(axis=1)
        moved = np.linalg.norm(lifted[:, :2] - plain.wheels[:, :2], axis=1)
        assert (lifted[:, 1] < plain.wheels[:, 1]).all() and np.allclose(moved / radius, 1, atol=0.3)


def side_on(edit) -> np.ndarray:
    """What (uint8, 400×400) a wheel with a radius of 100 covers after an edit, seen along its axle."""
    shape, mask = Shape(), np.zeros((400, 400), np.uint8)
    add_wheel(shape, (2, 0, 2), 1, 0.04, WheelStyle((0, 0, 0), (1, 1, 1), 0.9, 20, 0.004, (1, 1, 1)))
    edited = edit(shape)
    for points, look in zip(edited.points, edited.looks):
        for row in points.reshape(-1, look.corners, 3)[:, :, [0, 2]]:
            cv2.fillPoly(mask, [np.round(100 * row).astype(np.int32)], 1)
    return mask


@pytest.mark.parametrize("corners", [3, 4, 5, 7, 12, 28])
def test_cornered_wheels_have_that_many_corners_and_the_same_area(corners):
    mask, round_one = side_on(cornered_wheels(corners)), side_on(lambda shape: shape)
    assert np.count_nonzero(mask) == pytest.approx(np.count_nonzero(round_one), rel=0.03)
    outline = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
    if corners < 20:  # with more corners, rounding to pixels adds others
        assert len(cv2.approxPolyDP(outline, 3, True)) == corners


def test_a_plain_disc_has_one_colour_and_the_same_outline():
    shape = Shape()
    add_wheel(shape, (0, 0, 0.3), 0.3, 0.1, WheelStyle((0.1, 0.2, 0.3), (1, 1, 1), 0.8, 5, 0.03, (1, 0, 0), brake=0.4))
    assert {look[2:5] for look in disc_wheels(shape).looks} == {(0.1, 0.2, 0.3)}
    assert (side_on(disc_wheels) == side_on(lambda shape: shape)).mean() > 0.999
    assert (side_on(without("spoke")) == side_on(lambda shape: shape)).all()


@pytest.mark.parametrize(
    ("name", "kind"), [("Car", "road bicycle"), ("Bike", "saloon"), ("Car", "SUV"), ("Bike", "cruiser")]
)
def test_other_wheels_fill_the_circles_of_the_original_ones(name, kind):
    for index in range(4):
        plain, other = (draw(name, index, size=SIZE, edit=edit) for edit in (None, wheels_of(kind, 3)))
        assert (plain.wheels == other.wheels).all() and plain.jpeg != other.jpeg
        inner = on_wheels(plain.wheels, -2) & (plain.parts == WHEEL)
        if inner.sum() > 100 and abs(np.sin(plain.view.yaw)) > 0.5:
            assert (other.parts == WHEEL)[inner].mean() > 0.85, index


def test_the_vehicle_of_another_drawing_comes_alone():
    for name, other in [("Bike", "Car"), ("Car", "Bike"), ("Cat", "Dog")]:
        plain, guest = draw(name, 2, size=SIZE), draw(other, 7, size=SIZE)
        changed = draw(name, 2, size=SIZE, edit=vehicle_of(other, 7))
        assert (changed.view, changed.scene, changed.exponent) == (plain.view, plain.scene, plain.exponent)
        assert len(changed.wheels) == len(guest.wheels)
        tell = {"Car": "window", "Bike": "frame", "Dog": "head"}[other]
        assert PARTS.index(tell) in changed.parts
        assert np.sqrt((changed.parts > 0).mean() / (plain.parts > 0).mean()) == pytest.approx(1, abs=0.5)
    own = draw("Car", 4, size=SIZE)  # the same vehicle, built again, is identical to the byte
    assert draw("Car", 4, size=SIZE, edit=vehicle_of("Car", 4)).jpeg == own.jpeg


def test_impossible_changes():
    with pytest.raises(ValueError, match="a wheel can have 3 to 28 corners, not 2"):
        cornered_wheels(2)
    with pytest.raises(ValueError, match="above 0, not by 0"):
        scaled_wheels(0)
    with pytest.raises(ValueError, match="the kinds of vehicles are road bicycle, .*, not 'tram'"):
        wheels_of("tram")
    with pytest.raises(ValueError, match="the kinds of Car are saloon, .*, not 'cruiser'"):
        vehicle_of("Car", 0, kind="cruiser")
    with pytest.raises(ValueError, match="vehicles replace only vehicles, and animals only animals"):
        draw("Cat", 0, size=48, edit=vehicle_of("Car", 0))


# --- controls ---


@pytest.mark.parametrize(("name", "piece"), [("Bike", "handlebar"), ("Car", "wheel"), ("Dog", "ear")])
def test_a_control_removes_as_many_pixels_from_other_parts(name, piece):
    for index in range(4):
        picture, parts, exponent = shown(name, index)
        label = PARTS.index(piece)
        edited = shown(name, index, edit=without(piece), keep_shadow=True)[0]
        control, left, same = shown(name, index, edit=without(piece), control=True)
        assert draw(name, index, size=SIZE, edit=without(piece), control=True).missing == 0 and same == exponent
        assert ((parts == label) == (left == label)).mean() > 0.995  # except for a few frayed hairs
        wanted, removed = ((picture != other).any(axis=2).sum() for other in (edited, control))
        assert abs(removed - wanted) < 0.35 * wanted + 12, index


def test_a_control_shows_the_scene_and_says_what_is_missing():
    """A bike's other parts have fewer pixels than its wheels and frame."""
    edit = without("wheel", "frame")
    assert 0 < draw("Bike", 2, size=SIZE, edit=edit, control=True).missing <= 1
    picture, parts, _ = shown("Bike", 2, edit=edit, control=True)
    empty = shown("Bike", 2, edit=nothing, keep_shadow=True)[0]
    gone = (shown("Bike", 2)[1] > 0) & (parts == 0)
    assert gone.any() and not set(np.unique(parts)) - {0, WHEEL, PARTS.index("frame")}
    inner = cv2.erode(gone.astype(np.uint8), np.ones((3, 3))) > 0
    assert (picture == empty)[inner].mean() > 0.95


# --- another light, scene or yaw ---


@pytest.mark.parametrize("name", CLASSES)
def test_another_light_changes_only_the_light(name):
    plain, other = (draw(name, 3, size=SIZE, light=light) for light in (None, 7))
    assert (plain.parts == other.parts).all() and plain.view == other.view and plain.scene == other.scene
    assert plain.jpeg != other.jpeg
    assert draw("Car", 5, size=48, light=7).jpeg == draw("Car", 5, size=48, light=7).jpeg


@pytest.mark.parametrize(("name", "scene"), [("Bike", "hall"), ("Car", "studio"), ("Cat", "garden")])
def test_another_scene_changes_only_the_background(name, scene):
    for index in range(3):
        stages = [set_up(name, index, 0, SIZE, scene=wanted) for wanted in (None, scene)]
        assert stages[1].scene_name == scene
        (one, _), (two, _) = (before_the_camera(stage) for stage in stages)
        assert (one.parts == two.parts).all()
        opaque = (one.parts > 0) & (one.parts != WHEEL)  # between spokes, the other scene shows
        inner = cv2.erode(opaque.astype(np.uint8), np.ones((3, 3) if name in VEHICLES else (21, 21))) > 0
        assert (one.picture == two.picture)[inner].mean() > 0.9


def test_the_usual_scene_and_yaw_change_nothing():
    for name in CLASSES:
        plain = draw(name, 4, size=SIZE)
        assert draw(name, 4, size=SIZE, scene=plain.scene, yaw=plain.view.yaw).jpeg == plain.jpeg


@pytest.mark.parametrize("name", CLASSES)
def test_whatever_is_changed_the_camera_uses_the_same_random_numbers(name, monkeypatch):
    monkeypatch.setattr(drawing, "photograph", lambda picture, exponent, contrast, random: (picture, random.bytes(8)))
    for index in range(3):
        lots = draw(name, index, size=48).jpeg
        piece = "wheel" if name in VEHICLES else "ear"
        for change in (
            {"edit": without(piece)},
            {"edit": nothing, "control": True},
            {"light": 1},
            {"scene": "wall"},
            {"yaw": 2.0},
            {"yaw": 0.5, "scene": "studio", "edit": nothing},
        ):
            assert draw(name, index, size=48, **change).jpeg == lots


def test_another_yaw_is_the_same_vehicle_seen_from_there():
    front = draw("Car", 1, size=SIZE, yaw=0.0)
    side = draw("Car", 1, size=SIZE, yaw=np.pi / 2)
    assert front.kind == side.kind and front.scene == side.scene and side.view.yaw == np.pi / 2
    assert front.view._replace(yaw=0) == side.view._replace(yaw=0)
    # Seen from the side, both wheels of the near side are nearly circles; from the front, thin.
    assert (side.wheels[:, 2:4].min(axis=1) > 2 * front.wheels[:, 2:4].min(axis=1)).all()


def test_overwriting_a_drawing_does_not_change_the_next_one():
    """A scene that was just drawn is cached, to be drawn again with an edit."""
    changes = ({}, {"edit": without("wheel")}, {"edit": without("wheel"), "control": True}, {})
    first = [draw("Bike", 3, size=SIZE, **change) for change in changes]
    before = [(each.jpeg, each.parts.copy()) for each in first]
    for each in first:
        each.image[:], each.parts[:], each.wheels[:] = 0, 0, 0
    for change, (jpeg, parts) in zip(changes, before):
        again = draw("Bike", 3, size=SIZE, **change)
        assert again.jpeg == jpeg and (again.parts == parts).all()
    draw("Car", 5, size=SIZE), draw("Car", 6, size=SIZE)  # other scenes replace it in the cache
    assert draw("Bike", 3, size=SIZE).jpeg == before[0][0]
