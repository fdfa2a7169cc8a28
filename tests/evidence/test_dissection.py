"""Network dissection, compared with planted parts and a slow version in double precision."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import nn

from recognizer.evidence.dissection import Dissection, dissect, enlarged
from recognizer.evidence.receptive_field import ReceptiveField, receptive_fields
from recognizer.settings import Problem

from .networks import conv

PARTS = ["background", "wheel", "lamp", "window"]


@pytest.fixture(scope="module")
def tiles():
    """Images of faint noise with three small coloured tiles, and their masks. Each tile covers 0.4 % of the pixels."""
    random = np.random.default_rng(0)
    images = random.integers(90, 110, (30, 3, 64, 64)).astype(np.uint8)
    masks = np.zeros((30, 64, 64), np.uint8)
    for image, mask in zip(images, masks):
        for part in (1, 2, 3):
            row, column = random.integers(0, 16, 2) * 4
            image[:, row : row + 4, column : column + 4] = 200 * np.eye(3)[part - 1][:, None, None]
            mask[row : row + 4, column : column + 4] = part
    return torch.from_numpy(images), masks


@pytest.fixture(scope="module")
def colour_filters():
    """Filters for red, for green, for blue and for brightness; one that is always 0.1, and one that is dead."""
    weights = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]], float)
    return nn.Sequential(conv(weights[:, :, None, None], bias=[0, 0, 0, 0, 0.1, -1]), nn.ReLU())


def test_a_planted_filter_detects_its_part_and_nothing_else(colour_filters, tiles):
    dissection = dissect(colour_filters, ["1"], *tiles, PARTS)["1"]
    np.testing.assert_allclose(dissection.iou[:3, 1:], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(dissection.precision[:3, 1:], np.eye(3), atol=1e-12)  # and they mark nothing else
    assert dissection.is_detector.tolist() == [True, True, True, False, False, False]
    assert dissection.best_part[:3].tolist() == [1, 2, 3] and dissection.best_iou[:3].tolist() == [1, 1, 1]
    assert dissection.parts == PARTS and dissection.thresholds.dtype == np.float32


def test_masks_of_other_images_are_a_control(colour_filters, tiles):
    images, masks = tiles
    dissection = dissect(colour_filters, ["1"], images, np.roll(masks, 1, axis=0), PARTS)["1"]
    assert dissection.best_iou.max() < 0.04


@pytest.mark.parametrize("size", [64, 97, 128])
def test_constant_and_dead_filters_mark_nothing(colour_filters, tiles, size):
    images, masks = tiles
    masks = np.random.default_rng(0).integers(0, 4, (30, size, size))
    dissections = dissect(colour_filters, ["0", "1"], images, masks, PARTS)
    for name in ("0", "1"):
        assert dissections[name].intersections[:, 4:].sum() == 0 and dissections[name].intersections[:, 3].sum() > 0
        assert not dissections[name].is_detector[4:].any()


def test_dissection_agrees_with_a_slow_version():
    """The slow version works in double precision: SciPy enlarges the maps, and sorting gives the thresholds."""
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    model = nn.Sequential(nn.Conv2d(3, 5, 5, stride=3), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1))
    images = torch.rand(9, 3, 41, 41)
    masks = ndimage.zoom(random.integers(0, 4, (9, 6, 8)), (1, 5, 5), order=0)
    dissections = dissect(model, ["1", "2"], images, masks, top=0.05)
    assert dissections["1"].parts == ["0", "1", "2", "3"]
    # Position i of both layers is centred on pixel 2 + 3 i.
    rows = ((np.arange(30) + 0.5) * 41 / 30 - 0.5 - 2) / 3
    columns = ((np.arange(40) + 0.5) * 41 / 40 - 0.5 - 2) / 3
    grid = np.meshgrid(rows, columns, indexing="ij")
    for name, layers in (("1", model[:2]), ("2", model)):
        with torch.no_grad():
            maps = layers(images).double().numpy()
        for k in range(maps.shape[1]):
            enlarged = np.stack(
                [ndimage.map_coordinates(filter_map, grid, order=1, mode="nearest") for filter_map in maps[:, k]]
            )
            activations = np.sort(enlarged.ravel())
            place = 0.95 * (len(activations) - 1)
            low, high = activations[int(place)], activations[int(place) + 1]
            threshold = low + (place - int(place)) * (high - low)
            assert dissections[name].thresholds[k] == pytest.approx(threshold, rel=1e-5, abs=1e-5)
            marked = enlarged > threshold
            for part in range(4):
                intersection = (marked & (masks == part)).sum(axis=(1, 2))
                union = (marked | (masks == part)).sum(axis=(1, 2))
                np.testing.assert_allclose(dissections[name].intersections[:, k, part], intersection, atol=1)
                np.testing.assert_allclose(dissections[name].unions[:, k, part], union, atol=1)
                ratio = intersection.sum() / union.sum()
                assert dissections[name].iou[k, part] == pytest.approx(ratio, abs=1e-3)


@pytest.mark.parametrize("size", [48, 64, 100, 224])
@pytest.mark.parametrize("kernel", [1, 3], ids=["poolings", "poolings after a convolution without padding"])
def test_enlarged_maps_are_aligned_with_the_image(size, kernel):
    """The mean of a linear ramp is its value at the centre, so enlarging must restore the ramp."""
    ramp = torch.arange(size).float().expand(1, 1, size, size).mT
    model = nn.Sequential(conv(np.full((1, 1, kernel, kernel), 1 / kernel**2)), *(nn.AvgPool2d(2) for _ in range(5)))
    fields = receptive_fields(model, size)
    middles = (torch.arange(64) + 0.5) * size / 64 - 0.5  # centres of 64 squares over the image
    for depth in range(6):
        with torch.no_grad():
            maps = model[: depth + 1](ramp)
        expected = middles.clamp(maps.min(), maps.max())[:, None].expand(64, 32)
        result = enlarged(maps, fields[str(depth)], size, (64, 32))
        torch.testing.assert_close(result, expected[None, None], atol=1e-3, rtol=0)
        turned = enlarged(maps.mT, fields[str(depth)], size, (32, 64))
        torch.testing.assert_close(turned, expected.T[None, None], atol=1e-3, rtol=0)


def test_a_map_of_one_position_is_constant_when_enlarged():
    one = torch.tensor([[[[3.0]]]])
    for field in (ReceptiveField(142, 32, -55), ReceptiveField(48, 0, 0)):
        assert (enlarged(one, field, 48, (64, 64)) == 3).all()


def test_a_network_that_cannot_be_traced_can_be_dissected(colour_filters, tiles):
    class Undecided(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = colour_filters

        def forward(self, images):
            return self.inner(images) if images.mean() > 0 else images

    dissection = dissect(Undecided(), ["inner.1"], *tiles)["inner.1"]
    expected = dissect(colour_filters, ["1"], *tiles)["1"]
    np.testing.assert_array_equal(dissection.intersections, expected.intersections)


def test_a_filter_that_is_mostly_zero_marks_its_values_above_zero():
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    images[0, :, 8:10, 8:10] = 255  # 0.1 % of all pixels: the threshold is 0
    masks = (images[:, 0] > 0).int().numpy()
    dissection = dissect(nn.Sequential(conv(np.ones((1, 3, 1, 1))), nn.ReLU()), ["1"], images, masks)["1"]
    assert dissection.thresholds[0] == pytest.approx(0, abs=1e-5) and dissection.iou[0, 1] == 1


def test_the_background_is_never_the_best_part():
    overlap = np.array([[[90, 3, 1], [50, 2, 20]]])
    dissection = Dissection(PARTS[:3], np.zeros(2), overlap, np.full((1, 2, 3), 100))
    assert dissection.best_part.tolist() == [1, 2] and dissection.best_iou.tolist() == [0.03, 0.2]
    assert dissection.is_detector.tolist() == [False, True]


def test_intervals_of_iou_agree_with_scipys_bootstrap():
    random = np.random.default_rng(0)
    unions = random.integers(50, 100, (40, 3, 2))
    intersections = (unions * random.uniform(0, 1, unions.shape)).astype(int)
    dissection = Dissection(["background", "wheel"], np.zeros(3), intersections, unions)
    np.testing.assert_allclose(dissection.iou, intersections.sum(axis=0) / unions.sum(axis=0))
    low, high = dissection.iou_interval
    expected = stats.bootstrap(
        (intersections[:, 1, 1], unions[:, 1, 1]),
        lambda inter, union, axis: inter.sum(axis=axis) / union.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
    ).confidence_interval
    assert (low[1, 1], high[1, 1]) == pytest.approx((expected.low, expected.high), abs=0.01)
    alike = Dissection(["background", "wheel"], np.zeros(3), intersections[:1].repeat(9, 0), unions[:1].repeat(9, 0))
    np.testing.assert_allclose(alike.iou_interval, [alike.iou, alike.iou], rtol=1e-6)


def test_masks_that_do_not_fit_are_an_error(colour_filters, tiles):
    images, masks = tiles
    with pytest.raises(Problem, match="30 images need as many masks"):
        dissect(colour_filters, ["1"], images, masks[:3])
    with pytest.raises(Problem, match="from 0 to 3, with 3 parts"):
        dissect(colour_filters, ["1"], images, masks, PARTS[:3])
