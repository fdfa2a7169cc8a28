"""The same scene with one thing changed: what goes, what stays, and that nothing else differs."""

import pickle
from functools import cache

import cv2
import numpy as np
import pytest

from recognizer.drawings import (
    CLASSES,
    PARTS,
    PETS,
    PIECES,
    VEHICLES,
    bicycle_wheels,
    car_wheels,
    cornered_wheels,
    disc_wheels,
    draw,
    draw_many,
    nothing,
    only,
    scaled_wheels,
    shifted_wheels,
    without,
)
from recognizer.drawings.drawing import painted_on
from recognizer.drawings.stage import set_up

SIZE = 96
OF_CLASS = {
    "Bike": ("wheel", "frame", "handlebar"),
    "Car": ("wheel", "window", "headlight"),
    "Cat": ("ear", "muzzle"),
    "Dog": ("ear", "tail"),
}
ROUND = cornered_wheels(28)
WHEEL_EDITS = (
    disc_wheels,
    bicycle_wheels,
    car_wheels,
    cornered_wheels(3),
    ROUND,
    scaled_wheels(0.5),
    shifted_wheels(0.2, 1.0),
)


@cache
def whole(class_name, index):
    return draw(class_name, index, size=SIZE)


@cache
def canvases(class_name, index, edit):
    """What is painted without the edit and with it, both with the shadow of the whole vehicle."""
    stage = set_up(class_name, index, 0, SIZE)
    return painted_on(stage, stage.shape, stage.shape), painted_on(stage, edit(stage.shape), stage.shape)


@pytest.mark.parametrize(("name", "part"), [(name, part) for name, parts in OF_CLASS.items() for part in parts])
def test_a_part_goes_and_nothing_else_changes_before_the_camera(name, part):
    """Pixels change only where the part alone would be painted, in front of things or behind them."""
    number, seen = PARTS.index(part), 0
    for index in range(8):
        before, after = canvases(name, index, without(part))
        ground, alone = (canvases(name, index, edit)[1] for edit in (nothing, only(part)))
        there = (alone.colours != ground.colours).any(axis=2) | (alone.labels > 0)
        changed = (before.colours != after.colours).any(axis=2)
        assert not (after.labels == number).any() and not (changed & ~there).any()
        seen += changed.sum()
    assert seen > 100


@pytest.mark.parametrize("name", CLASSES)
def test_with_only_one_part_its_mask_is_all_there_is(name):
    part = OF_CLASS[name][0]
    for index in range(4):
        drawing = draw(name, index, size=SIZE, edit=only(part))
        assert set(np.unique(drawing.parts)) <= {0, PARTS.index(part)}
        assert len(drawing.wheels) == (len(whole(name, index).wheels) if part == "wheel" else 0)


@pytest.mark.parametrize("name", CLASSES)
def test_the_camera_does_not_notice_an_edit(name):
    """Where the picture is as it was, the noise is as well, but for what JPEG carries over from its neighbours."""
    part = OF_CLASS[name][1]
    for index in range(4):
        before, after = whole(name, index), draw(name, index, size=SIZE, edit=without(part), keep_shadow=True)
        assert (after.exponent, after.view, after.scene) == (before.exponent, before.view, before.scene)
        far = cv2.dilate((before.parts == PARTS.index(part)).astype(np.uint8), np.ones((45, 45))) == 0
        assert (before.image[far] == after.image[far]).mean() > 0.95 or far.sum() < 500


def test_what_goes_takes_its_shadow_along_unless_told_otherwise():
    darker = 0
    for index in range(6):
        gone, kept = (draw("Car", index, size=SIZE, edit=only("wheel"), keep_shadow=keep) for keep in (False, True))
        darker += gone.image.mean() - kept.image.mean() > 1
    assert darker >= 4


@pytest.mark.parametrize("name", VEHICLES)
def test_a_control_removes_as_many_pixels_of_other_parts(name):
    """Compared on the masks of the drawings, where a hundredth of the vehicle is lost to rounding."""
    wheel, matched = PARTS.index("wheel"), 0
    for index in range(12):
        before = whole(name, index)
        control = draw(name, index, size=SIZE, edit=without("wheel"), control=True)
        if not control.matched:
            continue
        matched += 1
        ours = (before.parts == wheel).sum()
        left = ((before.parts > 0) & (control.parts == 0)).sum()
        # Riders have no label, and what is behind a bike's wheel keeps its own: fewer labels than pixels may go.
        assert left <= 1.1 * ours + 40
        assert (control.parts == wheel).sum() >= 0.8 * ours
    assert matched >= 6


def test_a_control_says_when_the_rest_is_too_small():
    assert not draw("Bike", 0, size=SIZE, edit=nothing, control=True).matched
    assert draw("Bike", 0, size=SIZE, edit=without("saddle"), control=True).matched


@pytest.mark.parametrize("edit", WHEEL_EDITS)
@pytest.mark.parametrize("name", VEHICLES)
def test_other_wheels_change_wheels_alone(name, edit):
    changed = 0
    for index in range(4):
        before, after = canvases(name, index, edit)
        wheel = PARTS.index("wheel")
        moved = (before.labels == wheel) | (after.labels == wheel)
        around = cv2.dilate(moved.astype(np.uint8), np.ones((7, 7))) > 0
        assert (before.colours[~around] == after.colours[~around]).mean() > 0.999
        changed += (before.colours != after.colours).any(axis=2).sum()
        assert (after.labels == wheel).any()
    assert changed > (20 if edit is ROUND else 200)


def test_wheels_of_28_corners_are_the_round_ones_and_triangles_have_their_area():
    """From the side, where nothing hides a wheel: the discs of `only("wheel")`."""
    areas = {3: [], 28: []}
    for index in range(40):
        stage = set_up("Bike", index, 0, SIZE)
        if stage.kind != "road bicycle" or abs(abs(np.degrees(stage.view.yaw)) - 90) > 25:
            continue
        for corners, found in areas.items():
            shape = only("wheel")(cornered_wheels(corners)(stage.shape))
            found.append((painted_on(stage, shape, shape).labels > 0).sum())
    assert len(areas[3]) > 1
    np.testing.assert_allclose(np.array(areas[3]) / areas[28], 1, atol=0.12)


def test_scaled_wheels_are_as_large_as_said():
    before = draw("Bike", 3, size=SIZE)
    after = draw("Bike", 3, size=SIZE, edit=scaled_wheels(0.5))
    np.testing.assert_allclose(after.wheels[:, 2:4] / before.wheels[:, 2:4], 0.5, rtol=0.1)
    np.testing.assert_allclose(after.wheels[:, :2], before.wheels[:, :2], atol=2)


@pytest.mark.parametrize("change", ["light_from", "scene_from", "yaw_from"])
def test_one_thing_of_another_drawing(change):
    views, scenes, masks = [], [], []
    for index in range(6):
        before, after = whole("Car", index), draw("Car", index, size=SIZE, **{change: 50})
        other = whole("Car", index + 50)
        assert after.kind == before.kind and (after.image != before.image).any()
        views.append(after.view == before.view)
        masks.append((after.parts == before.parts).mean())
        scenes.append(after.scene == (other if change == "scene_from" else before).scene)
        if change == "yaw_from":
            assert after.view == before.view._replace(yaw=other.view.yaw)
    assert all(scenes)
    assert all(views) == (change != "yaw_from")
    assert (np.mean(masks) > 0.99) == (change != "yaw_from")


def test_edits_reach_other_processes_and_any_first_number():
    edits = (nothing, without("wheel"), only("frame"), *WHEEL_EDITS)
    assert len(pickle.loads(pickle.dumps(edits))) == len(edits)
    (found,) = draw_many("Bike", 1, first=7, size=SIZE, edit=disc_wheels)
    assert found.jpeg == draw("Bike", 7, size=SIZE, edit=disc_wheels).jpeg


@pytest.mark.parametrize("piece", PIECES)
def test_every_piece_belongs_to_something(piece):
    """A name that no shape has would be an edit that silently does nothing."""
    names = PETS if piece in PIECES[PIECES.index("head") : PIECES.index("collar") + 1] else VEHICLES
    assert any(piece in set_up(name, index, 0, 32).shape.pieces for index in range(40) for name in names)


def test_unknown_pieces_and_corners_say_what_there_is():
    with pytest.raises(ValueError, match="no piece 'wheels'; there are wheel, headlight"):
        without("wheels")
    with pytest.raises(ValueError, match="3 to 28 corners, not 2"):
        cornered_wheels(2)
