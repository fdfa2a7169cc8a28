"""Masks of parts over pictures of another size."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from recognizer import figures
from recognizer.data.dataset import Pictures
from recognizer.data.masks import middle_of, part_masks, part_sizes

SIZES = [48, 64, 100, 224]


@pytest.fixture
def disc(workspace):
    """A picture, 160×160, of which the mask is a disc of 40 pixels around row 100 and column 50."""
    y, x = np.ogrid[:160, :160]
    mask = ((y - 100) ** 2 + (x - 50) ** 2 <= 20**2).astype(np.uint8)
    for part, values in (("Train", 255 * mask), ("Masks", mask)):
        path = workspace / "datasets" / part / "Bike" / "bike_1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(values).save(path)
    return workspace / "datasets" / "Train"


@pytest.mark.parametrize("mask_size", SIZES)
def test_masks_of_any_size_are_in_the_same_place(disc, mask_size):
    masks, parts = part_masks(Pictures(disc, 32), mask_size)
    for image_size in SIZES:
        square = image_size / mask_size
        y, x = middle_of(masks[0] > 0, image_size)
        assert y == pytest.approx(100.5 * image_size / 160 - 0.5, abs=square / 4)
        assert x == pytest.approx(50.5 * image_size / 160 - 0.5, abs=square / 4)
        (size,) = part_sizes(masks, parts, image_size).values()
        assert size == pytest.approx(41 * image_size / 160, abs=square)


def test_the_middle_of_a_part_is_that_of_its_largest_piece():
    mask = np.zeros((64, 64), bool)
    assert middle_of(mask, 224) == (111.5, 111.5)  # none of it: the middle of the image
    mask[0:2, 0:2] = mask[40:50, 20:24] = True
    assert middle_of(mask, 64) == (44.5, 21.5)
    assert middle_of(np.ones((64, 64), bool), 48) == (23.5, 23.5)


@pytest.mark.parametrize("size", SIZES)
def test_outlines_lie_on_the_borders_of_the_mask(size):
    """Rows 16 to 32 and columns 0 to 24 of 64: a quarter to a half of the height, and three eighths of the width."""
    mask = np.zeros((64, 64), bool)
    mask[16:32, 0:24] = True
    figure, axis = plt.subplots()
    axis.imshow(np.zeros((size, size, 3)))
    figures.outline(axis, mask)
    (line,) = axis.collections[0].get_paths()
    x, y = line.vertices.T
    edges = np.array([x.min(), x.max(), y.min(), y.max()]) + 0.5  # pixel 0 reaches from -0.5 to 0.5
    np.testing.assert_allclose(edges, np.array([0, 24, 16, 32]) * size / 64)
    np.testing.assert_allclose(line.vertices[0], line.vertices[-1])  # closed, also where it runs along the border
    plt.close(figure)


@pytest.mark.filterwarnings("error")
def test_a_part_that_is_not_there_has_no_outline():
    figure, axis = plt.subplots()
    axis.imshow(np.zeros((48, 48, 3)))
    figures.outline(axis, np.zeros((64, 64), bool))
    assert not axis.collections
    plt.close(figure)
