"""Scales that a few extremes cannot stretch, colours for zero, orders, overlays, and the same filters over images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recognizer import compare_images, display_image_filtered, display_summary
from recognizer.maps.colours import MARKS, colour, ends_of, most_varying
from recognizer.maps.comparison import _most_distinguishing
from recognizer.maps.grids import painted
from recognizer.settings import Problem


@pytest.fixture
def with_extremes():
    """Values from 0 to 1, and among them 40 of 10,000 that are a hundred times larger."""
    maps = np.random.default_rng(0).random((4, 50, 50)).astype(np.float32)
    maps.reshape(-1)[:40] = 100
    return maps


def used(indices: np.ndarray) -> float:
    """The share of the colours that lies between the 5th and the 95th percentile."""
    low, high = np.percentile(indices, (5, 95))
    return (high - low) / 256


@pytest.mark.parametrize("scale", ["layer", "map"])
def test_a_few_extremes_do_not_take_the_contrast_and_are_counted(with_extremes, scale):
    maps = with_extremes if scale == "layer" else with_extremes[:1].repeat(4, axis=1)  # 160 of 10,000 would be too many
    if scale == "map":
        maps.reshape(-1)[40:] = np.random.default_rng(1).random(maps.size - 40)
    found, plain = colour(maps, scale), colour(maps, scale, clip=0)
    assert used(found.indices) > 0.85 and used(plain.indices) < 0.02
    assert found.beyond.sum() == ((maps < found.low[0]) | (maps > found.high[0])).sum() >= 40
    assert found.beyond.sum() <= 0.01 * maps.size and plain.beyond.sum() == 0
    assert (plain.low[0], plain.high[0]) == pytest.approx((maps.min(), maps.max()))


def test_ends_leave_out_as_many_values_as_asked():
    values = np.random.default_rng(0).permutation(1000).astype(float)
    assert ends_of(values, 0.5) == (5, 994) and ends_of(values, 0) == (0, 999) and ends_of(values, 10) == (100, 899)
    assert ends_of(values[:99], 0.5) == (values[:99].min(), values[:99].max())  # half a per cent is less than one
    assert ends_of(values - 300, 0.5, "RdBu_r") == (-689, 689)  # one per cent of the distances from 0 are larger
    assert np.isnan(ends_of(np.array([np.nan, np.inf]), 0.5)).all()


def test_zero_of_a_signed_layer_is_white_and_both_sides_are_told_apart():
    maps = np.linspace(-1, 4, 501).reshape(1, 3, 167)
    found = colour(maps, clip=0)
    assert found.centred and (found.low[0], found.high[0]) == (-4, 4)
    (zero,) = found.rgb[np.isclose(maps, 0)]
    negative, positive = found.rgb[0, 0, 0].astype(int), found.rgb[0, -1, -1].astype(int)
    assert zero.min() > 240 and negative[2] > negative[0] + 20 and positive[0] > positive[2] + 20
    assert not colour(np.abs(maps)).centred and not colour(maps, colormap="viridis").centred
    assert colour(maps, (-2.0, 2.0), "coolwarm").centred and not colour(maps, (-1.0, 2.0), "coolwarm").centred


def test_a_map_that_is_nearly_everywhere_zero_keeps_its_spot():
    maps = np.zeros((1, 40, 40))
    maps[0, 3, 4] = 5
    found = colour(maps)
    assert found.indices[0, 3, 4] == 255 and found.high[0] == 5 and found.beyond.sum() == 0


@pytest.mark.parametrize("value", [0.0, -3.0, 7.0])
def test_constant_maps_are_dead_whatever_their_sign(value):
    found = colour(np.full((2, 4, 4), value))
    assert found.dead.all() and found.beyond.sum() == 0


@pytest.mark.parametrize("colormap", ["viridis", "RdBu_r", "magma", "gray", "coolwarm", "jet"])
def test_what_is_no_number_has_a_colour_that_no_number_has(colormap):
    maps = np.array([[[-1.0, 2.0, np.nan, np.inf]]])
    found = colour(maps, colormap=colormap)
    assert (found.rgb[0, 0, 2:] == MARKS[found.mark]).all()
    nearest = np.linalg.norm(found.palette.astype(int) - MARKS[found.mark], axis=1).min()
    assert nearest > 80  # of 442 between black and white


@pytest.mark.parametrize("clip", [-1, 25, "1", None])
def test_a_clip_that_leaves_nothing_is_a_sentence(clip):
    with pytest.raises(Problem, match="from 0 to below 25"):
        colour(np.ones((1, 2, 2)), clip=clip)


def test_maps_that_vary_most_come_first_and_numbers_stay():
    maps = np.random.default_rng(0).normal(size=(20, 9, 9)) * np.arange(20)[:, None, None]
    maps[3, 0, 0] = np.nan
    expected = np.argsort([-np.nanstd(each) for each in maps], kind="stable")
    np.testing.assert_array_equal(most_varying(maps), expected)
    np.testing.assert_array_equal(most_varying(maps, 9), expected[:9])


class Scaled(nn.Module):
    """Its layer outputs the red of the image, once for each of `factors`, multiplied by it."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, len(factors), 1, bias=False)
        self.image_size = 32
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[:, 0, 0, 0] = torch.tensor(factors)

    def forward(self, x):
        return self.layer(x)


def test_a_grid_in_another_order_leaves_the_files_as_they_are(workspace):
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    model, sheets = Scaled(1, 3, 2), {}
    for order in ("number", "variation"):
        (grid,) = display_image_filtered(order, model, "layer", image, order=order, show=False)
        files = {file.name: file.read_bytes() for file in (grid.parent / "layer").iterdir()}
        sheets[order] = np.asarray(Image.open(grid)), files
    assert sheets["number"][1] == sheets["variation"][1] and len(files) == 3
    assert (sheets["number"][0] != sheets["variation"][0]).any()
    with pytest.raises(Problem, match="'number', 'variation'"):
        display_image_filtered("Bike", model, "layer", image, order="size")


def test_an_overlay_paints_the_bright_place_and_leaves_the_files_as_they_are(workspace):
    image = torch.zeros(3, 32, 32)
    image[0, 8:12, 20:24] = 1
    model, files = Scaled(1), []
    for overlay in (False, True):
        (grid,) = display_image_filtered("Bike", model, "layer", image, overlay=overlay, clip=0, show=False)
        files.append((grid.parent / "layer" / "filter_000.png").read_bytes())
    assert files[0] == files[1]
    sheet = np.asarray(Image.open(grid).convert("RGB")).astype(int)[130:]
    orange = (sheet[..., 0] > sheet[..., 2] + 120) & (sheet[..., 1] > 60)
    rows, columns = np.nonzero(orange)
    inside = sheet[:, columns.min() - 5 :]
    assert orange.sum() > 30 and np.ptp(rows) < 40 and np.ptp(columns) < 40 and len(inside)


@pytest.mark.parametrize(
    ("strength", "colour_of"), [(1.0, (240, 90, 0)), (-1.0, (0, 110, 230)), (0.0, (120, 120, 120))]
)
def test_paint_says_the_sign(strength, colour_of):
    found = painted(np.full((4, 4, 3), 100, np.uint8), np.full((2, 2), strength))
    assert np.abs(found.astype(int) - colour_of).max() <= 0.16 * 255


def test_a_bright_square_is_painted_in_the_middle_of_what_it_covers():
    strength = np.zeros((4, 4))
    strength[1, 2] = 1
    paint = np.ptp(painted(np.full((32, 32, 3), 100, np.uint8), strength), axis=2).astype(float)
    middle = np.array([paint.sum(axis=1) @ np.arange(32), paint.sum(axis=0) @ np.arange(32)]) / paint.sum()
    np.testing.assert_allclose(middle, (1.5 * 8 - 0.5, 2.5 * 8 - 0.5), atol=0.1)


def test_a_summary_shows_so_many_maps_and_touches_no_other_file(workspace):
    model, image = Scaled(*range(1, 13)), torch.rand(3, 32, 32)
    (grid,) = display_image_filtered("Bike", model, "layer", image, show=False)
    before = grid.read_bytes()
    path = display_summary("Bike", model, "layer", image, show=False)
    assert path.name == "layer#summary.png" and grid.read_bytes() == before
    assert Image.open(path).width > 800
    display_image_filtered("Bike", model, "layer", image, show=False)
    assert path.exists()
    with pytest.raises(Problem, match="no maps to choose from"):
        display_summary("Bike", nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)), "1", image)


def test_filters_that_tell_the_classes_apart_come_first():
    maps = np.random.default_rng(0).normal(size=(6, 4, 5, 5)) * 0.1
    maps[:3, 2] += 5  # the first class alone excites filter 2
    maps[3:, 0] += 1
    maps[:, 1] += np.arange(6)[::2].repeat(2)[:, None, None] * 3  # filter 1 varies more, but not by class
    assert _most_distinguishing(maps, ["Bike"] * 3 + ["Car"] * 3)[:2] == [2, 0]
    assert _most_distinguishing(maps, ["Bike"] * 6)[0] == 1


def test_a_row_of_the_comparison_has_one_scale(workspace):
    """The second image is twice as bright: in its column, the same filter is brighter."""
    images = {"Bike": [torch.full((3, 32, 32), 0.2)], "Car": [torch.full((3, 32, 32), 0.4)]}
    path = compare_images(Scaled(1, 2), "layer", images, show=False)
    assert path == workspace / "results_all" / "layer.png"
    sheet = np.asarray(Image.open(path).convert("RGB"))
    colours = {tuple(pixel) for pixel in sheet[-60:-30, 74:].reshape(-1, 3)} - {(255, 255, 255)}
    assert {(68, 1, 84), (253, 231, 36)} <= colours  # the two ends of viridis


def test_a_comparison_that_cannot_be_made_is_a_sentence(workspace):
    image = torch.rand(3, 32, 32)
    for images, options, said in (
        ({}, {}, "Pass 1 to"),
        ({"Bike": [image] * 60}, {}, "there are 60"),
        ({"Bike": [image]}, {"filters": [2]}, "filters 0 to 1, not 2"),
        ({"Bike": [image, torch.rand(3, 32, 40)]}, {}, "differ in size"),
    ):
        with pytest.raises(Problem, match=said):
            compare_images(Scaled(1, 2), "layer", images, **options)
