"""Colour scales that a few extreme values cannot stretch, zero in colour, sorting, overlays, comparison of images."""

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
def maps_with_outliers():
    """10,000 values: 40 are 100, the others lie between 0 and 1."""
    maps = np.random.default_rng(0).random((4, 50, 50)).astype(np.float32)
    maps.reshape(-1)[:40] = 100
    return maps


def share_of_colours(indices: np.ndarray) -> float:
    """The share of the 256 colours that lies between the 5th and the 95th percentile."""
    low, high = np.percentile(indices, (5, 95))
    return (high - low) / 256


@pytest.mark.parametrize("scale", ["layer", "map"])
def test_a_few_extreme_values_do_not_reduce_the_contrast_and_are_counted(maps_with_outliers, scale):
    maps = maps_with_outliers
    if scale == "map":  # one map of as many values, with as many outliers
        maps = maps.reshape(1, 200, 50)
    coloured, plain = colour(maps, scale), colour(maps, scale, clip=0)
    assert share_of_colours(coloured.indices) > 0.85 and share_of_colours(plain.indices) < 0.02
    assert coloured.beyond.sum() == ((maps < coloured.low[0]) | (maps > coloured.high[0])).sum() >= 40
    assert coloured.beyond.sum() <= 0.01 * maps.size and plain.beyond.sum() == 0
    assert (plain.low[0], plain.high[0]) == pytest.approx((maps.min(), maps.max()))


def test_the_share_of_values_beyond_the_ends_is_clip():
    values = np.random.default_rng(0).permutation(1000).astype(float)
    assert ends_of(values, 0.5) == (5, 994) and ends_of(values, 0) == (0, 999) and ends_of(values, 10) == (100, 899)
    assert ends_of(values[:99], 0.5) == (
        values[:99].min(),
        values[:99].max(),
    )  # 0.5 % of 99 values is less than one value
    assert ends_of(values - 300, 0.5, "RdBu_r") == (-689, 689)  # 1 % of the distances from 0 are larger
    assert np.isnan(ends_of(np.array([np.nan, np.inf]), 0.5)).all()


def test_zero_of_a_signed_layer_is_white_and_the_sign_is_visible():
    maps = np.linspace(-1, 4, 501).reshape(1, 3, 167)
    coloured = colour(maps, clip=0)
    assert coloured.centred and (coloured.low[0], coloured.high[0]) == (-4, 4)
    (zero,) = coloured.rgb[np.isclose(maps, 0)]
    negative, positive = coloured.rgb[0, 0, 0].astype(int), coloured.rgb[0, -1, -1].astype(int)
    assert zero.min() > 240 and negative[2] > negative[0] + 20 and positive[0] > positive[2] + 20
    assert not colour(np.abs(maps)).centred and not colour(maps, colormap="viridis").centred
    assert colour(maps, (-2.0, 2.0), "coolwarm").centred and not colour(maps, (-1.0, 2.0), "coolwarm").centred


def test_the_only_nonzero_value_of_a_map_stays_visible():
    maps = np.zeros((1, 40, 40))
    maps[0, 3, 4] = 5
    coloured = colour(maps)
    assert coloured.indices[0, 3, 4] == 255 and coloured.high[0] == 5 and coloured.beyond.sum() == 0


@pytest.mark.parametrize("value", [0.0, -3.0, 7.0])
def test_constant_maps_of_any_sign_are_dead(value):
    coloured = colour(np.full((2, 4, 4), value))
    assert coloured.dead.all() and coloured.beyond.sum() == 0


@pytest.mark.parametrize("colormap", ["viridis", "RdBu_r", "magma", "gray", "coolwarm", "jet"])
def test_nan_and_infinity_get_a_colour_that_is_not_in_the_palette(colormap):
    maps = np.array([[[-1.0, 2.0, np.nan, np.inf]]])
    coloured = colour(maps, colormap=colormap)
    assert (coloured.rgb[0, 0, 2:] == MARKS[coloured.mark]).all()
    distance = np.linalg.norm(coloured.palette.astype(int) - MARKS[coloured.mark], axis=1).min()
    assert distance > 80  # black and white are 442 apart


@pytest.mark.parametrize("clip", [-1, 25, "1", None])
def test_an_invalid_clip_raises_a_clear_error(clip):
    with pytest.raises(Problem, match="from 0 to below 25"):
        colour(np.ones((1, 2, 2)), clip=clip)


def test_most_varying_sorts_by_standard_deviation():
    maps = np.random.default_rng(0).normal(size=(20, 9, 9)) * np.arange(20)[:, None, None]
    maps[3, 0, 0] = np.nan
    expected = np.argsort(-np.nanstd(maps, axis=(1, 2)), kind="stable")
    np.testing.assert_array_equal(most_varying(maps), expected)
    np.testing.assert_array_equal(most_varying(maps, 9), expected[:9])


class Scaled(nn.Module):
    """The layer `layer` outputs one map per factor: the red channel of the image, multiplied by the factor."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, len(factors), 1, bias=False)
        self.image_size = 32
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[:, 0, 0, 0] = torch.tensor(factors)

    def forward(self, x):
        return self.layer(x)


def test_a_grid_in_another_order_does_not_change_the_files_of_single_filters(workspace):
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


def test_an_overlay_paints_the_bright_spot_and_does_not_change_the_files_of_single_filters(workspace):
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


@pytest.mark.parametrize(("strength", "expected"), [(1.0, (240, 90, 0)), (-1.0, (0, 110, 230)), (0.0, (120, 120, 120))])
def test_paint_shows_the_sign(strength, expected):
    picture = painted(np.full((4, 4, 3), 100, np.uint8), np.full((2, 2), strength))
    assert np.abs(picture.astype(int) - expected).max() <= 0.16 * 255


def test_the_paint_of_one_value_is_centred_on_the_pixels_it_covers():
    strength = np.zeros((4, 4))
    strength[1, 2] = 1
    paint = np.ptp(painted(np.full((32, 32, 3), 100, np.uint8), strength), axis=2).astype(float)
    centre = np.array([paint.sum(axis=1) @ np.arange(32), paint.sum(axis=0) @ np.arange(32)]) / paint.sum()
    np.testing.assert_allclose(centre, (1.5 * 8 - 0.5, 2.5 * 8 - 0.5), atol=0.1)


def test_a_summary_is_a_separate_file(workspace):
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


def test_filters_that_distinguish_the_classes_come_first():
    maps = np.random.default_rng(0).normal(size=(6, 4, 5, 5)) * 0.1
    maps[:3, 2] += 5  # only the first class activates filter 2
    maps[3:, 0] += 1
    maps[:, 1] += np.arange(6)[::2].repeat(2)[:, None, None] * 3  # filter 1 varies more, but not by class
    assert _most_distinguishing(maps, ["Bike"] * 3 + ["Car"] * 3)[:2] == [2, 0]
    assert _most_distinguishing(maps, ["Bike"] * 6)[0] == 1


def test_the_maps_in_a_row_of_the_comparison_share_a_scale(workspace):
    """The second image is twice as bright, so the filter is brighter in its column."""
    images = {"Bike": [torch.full((3, 32, 32), 0.2)], "Car": [torch.full((3, 32, 32), 0.4)]}
    path = compare_images(Scaled(1, 2), "layer", images, show=False)
    assert path == workspace / "results_all" / "layer.png"
    sheet = np.asarray(Image.open(path).convert("RGB"))
    colours = {tuple(pixel) for pixel in sheet[-60:-30, 74:].reshape(-1, 3)} - {(255, 255, 255)}
    assert {(68, 1, 84), (253, 231, 36)} <= colours  # the two ends of viridis


def test_a_comparison_that_is_impossible_raises_a_clear_error(workspace):
    image = torch.rand(3, 32, 32)
    for images, options, message in (
        ({}, {}, "Pass 1 to"),
        ({"Bike": [image] * 60}, {}, "there are 60"),
        ({"Bike": [image]}, {"filters": [2]}, "filters 0 to 1, not 2"),
        ({"Bike": [image, torch.rand(3, 32, 40)]}, {}, "differ in size"),
    ):
        with pytest.raises(Problem, match=message):
            compare_images(Scaled(1, 2), "layer", images, **options)
    with pytest.raises(Problem, match="by class"):
        compare_images(Scaled(1, 2), "layer", [torch.rand(3, 4, 4)])
