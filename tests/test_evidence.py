"""What filters respond to: every measure against closed forms, other libraries, or networks built by hand."""

import os
from itertools import combinations
from unittest import mock

import numpy as np
import pytest
import torch
import torchvision
from captum.attr import LayerFeatureAblation
from PIL import Image
from scipy import ndimage, optimize, stats
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from recognizer import BikeCarCNN, capture
from recognizer.data import prepare
from recognizer.data.dataset import Pictures
from recognizer.evidence import controls
from recognizer.evidence.ablation import Ablation, ablate
from recognizer.evidence.cards import facts, layer_facts, painted, save_cards, twin_facts
from recognizer.evidence.controls import like_any_other, randomised_from_the_top, untrained
from recognizer.evidence.dissection import Dissection, dissect
from recognizer.evidence.measures import LayerEvidence, measure
from recognizer.evidence.orientation import OrientationTuning, gratings, orientation_tuning
from recognizer.evidence.receptive_field import ReceptiveField, receptive_fields
from recognizer.evidence.responses import pooled, spatial_means, strongest
from recognizer.evidence.selectivity import auroc, class_selectivity, linear_probe, permutation_p_values
from recognizer.evidence.verdict import Estimate, Observation, bootstrap, observe, share, verdict_rows
from recognizer.maps.grids import font
from recognizer.settings import Problem


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return BikeCarCNN(image_size=64).eval()


@pytest.fixture(scope="module")
def pixels():
    """More images than fit in a batch."""
    return torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def conv(weights, bias=0.0, **options) -> nn.Conv2d:
    """A convolution with weights made by hand, C×3×k×k."""
    weights = torch.as_tensor(np.asarray(weights), dtype=torch.float32)
    layer = nn.Conv2d(weights.shape[1], len(weights), weights.shape[2:], **options)
    with torch.no_grad():
        layer.weight.copy_(weights)
        layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float32))
    return layer


# --- receptive fields ---


def gradient_support(model: nn.Module, layer_name: str, image_size: int, row: int, column: int) -> np.ndarray:
    """Which pixels change what layer `layer_name` puts out at a position: bool S×S. All weights are made positive."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.01)
    kept = []
    hook = model.get_submodule(layer_name).register_forward_hook(lambda layer, _, output: kept.append(output))
    image = torch.ones(1, 3, image_size, image_size, dtype=torch.double, requires_grad=True)
    model(image)
    hook.remove()
    kept[-1][0, :, row, column].sum().backward()
    return (image.grad[0].sum(dim=0) > 0).numpy()


def inside(field: ReceptiveField, image_size: int, row: int, column: int) -> np.ndarray:
    top, left, bottom, right = field.box(row, column)
    expected = np.zeros((image_size, image_size), bool)
    expected[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return expected


@pytest.mark.parametrize("kind", ["conv", "pool", "relu"])
def test_receptive_fields_are_where_the_gradient_is(kind):
    size = 192
    model = BikeCarCNN(image_size=size)
    fields = receptive_fields(model, size)
    assert list(fields) == [name for name, _ in model.named_modules() if name]
    for name, layer in list(model.named_children()):
        if isinstance(layer, nn.MaxPool2d):  # the largest value alone has a gradient, the mean has one everywhere
            setattr(model, name, nn.AvgPool2d(2))
    for name in [name for name in fields if name.startswith(kind) and name != "relu8"]:
        middle = size // fields[name].stride // 2
        for row, column in ((middle, middle - 1), (0, 0), (-1 % (2 * middle), 1)):
            found = gradient_support(model, name, size, row, column)
            np.testing.assert_array_equal(found, inside(fields[name], size, row, column), err_msg=name)


class Branches(nn.Module):
    """Functions in place of layers, a branch past a layer that looks to one side, and one layer called twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.dilated = nn.Conv2d(4, 4, 3, stride=2, dilation=2)
        self.side = nn.Conv2d(4, 4, 4, padding="same")
        self.wide = nn.Conv2d(4, 4, 3, padding="valid")
        self.last = nn.Identity()

    def forward(self, images):
        x = functional.relu(self.dilated(self.stem(images - 0.5)))
        x = self.side(self.side(x)) + x
        x = self.wide(functional.avg_pool2d(x, 3, stride=2, padding=1))
        return self.last(functional.relu(x)).mean(dim=(2, 3))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_receptive_fields_of_branches_strides_dilation_and_functions():
    model = Branches()
    fields = receptive_fields(model, 80)
    assert list(fields) == ["stem", "dilated", "side", "side#2", "wide", "last"]
    assert fields["dilated"] == ReceptiveField(size=7, stride=2, start=0)
    for name in ("stem", "dilated", "wide", "last"):
        for row, column in ((0, 0), (3, 5), (6, 6)):
            found = gradient_support(model, name, 80, row, column)
            np.testing.assert_array_equal(found, inside(fields[name], 80, row, column), err_msg=name)
    # In front of a position a window of four with padding 'same' sees one fewer than behind it.
    assert fields["side"] == ReceptiveField(size=7 + 3 * 2, stride=2, start=-2)
    found = gradient_support(model, "side", 80, 3, 5)  # what the second call puts out
    np.testing.assert_array_equal(found, inside(fields["side#2"], 80, 3, 5))


@pytest.mark.parametrize(
    ("architecture", "published"),
    [
        ("resnet18", {"conv1": 7, "layer1": 43, "layer2": 99, "layer3": 211, "layer4": 435}),
        ("vgg16", {"features": 212}),
        ("alexnet", {"features": 195}),
        ("inception_v3", {"Mixed_7c": 1311}),  # its 1×7 and 7×1 windows count along their own sides
    ],
)
def test_receptive_fields_are_the_published_ones(architecture, published):
    with torch.device("meta"):  # no weights are needed
        options = {"init_weights": False} if architecture == "inception_v3" else {}
        model = getattr(torchvision.models, architecture)(**options)
    fields = receptive_fields(model, 299)
    assert {name: fields[name].size for name in published} == published


def test_a_field_that_is_not_square_counts_as_the_square_around_it():
    windows = nn.Sequential(nn.Conv2d(3, 3, (1, 7)), nn.Conv2d(3, 3, (3, 1), padding=(1, 0)), nn.Conv2d(3, 3, 2))
    fields = receptive_fields(windows, 32)
    assert fields["0"] == ReceptiveField(7, 1, 0)
    assert fields["1"] == ReceptiveField(8, 1, -1)  # rows from -1 to 1, columns from 0 to 6
    assert fields["2"] == ReceptiveField(9, 1, -1)  # rows from -1 to 2, columns from 0 to 7
    stretched = nn.Conv2d(3, 3, 3, stride=(1, 2))  # no square goes along with it
    assert receptive_fields(nn.Sequential(stretched), 32)["0"] == ReceptiveField(32, 0, 0)


def test_what_follows_flattening_sees_the_whole_image(network):
    fields = receptive_fields(network, 64)
    assert fields["fc1"] == fields["fc2"] == ReceptiveField(64, 0, 0)
    assert fields["fc1"].box(0, 0) == (0, 0, 64, 64)
    squeezed = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1))
    assert receptive_fields(squeezed, 50)["1"].box(0, 0) == (0, 0, 50, 50)


def test_a_model_that_cannot_be_traced():
    class Undecided(nn.Module):
        def forward(self, images):
            return images if images.sum() > 0 else -images

    with pytest.raises(Problem, match="Undecided.*torch.fx cannot trace"):
        receptive_fields(Undecided(), 32)


# --- responses ---


def test_spatial_means_are_means_of_what_the_layer_puts_out(network, pixels):
    means = spatial_means(network, ["relu1", "conv5", "fc1"], pixels)
    with torch.no_grad():
        first = network.relu1(network.bn1(network.pool1(network.conv1((pixels / 255 - 0.5) / 0.25))))
    np.testing.assert_allclose(means["relu1"], first.mean(dim=(2, 3)), atol=1e-5)
    assert {name: each.shape for name, each in means.items()} == {
        "relu1": (40, 16),
        "conv5": (40, 128),
        "fc1": (40, 128),
    }
    assert all(each.dtype == np.float32 for each in means.values())
    of_floats = spatial_means(network, ["conv5"], pixels / 255)
    np.testing.assert_allclose(of_floats["conv5"], means["conv5"], atol=1e-6)


def test_pooling_gives_every_layer_as_many_values(network, pixels):
    names = ["relu1", "relu2", "relu3", "relu4", "relu7", "fc1"]
    found = pooled(network, names, pixels)
    assert {name: each.shape for name, each in found.items()} == dict.fromkeys(names, (40, 128))
    # 32 filters in 2×2 cells: the mean over each quarter, filter after filter.
    quarters = nn.Sequential(nn.Conv2d(3, 32, 1))
    with torch.no_grad():
        maps = quarters(pixels / 255).numpy()
    expected = maps.reshape(40, 32, 2, 32, 2, 32).mean(axis=(3, 5)).reshape(40, 128)
    np.testing.assert_allclose(pooled(quarters, ["0"], pixels)["0"], expected, atol=1e-5)


def test_pooling_where_maps_are_small_or_filters_many(network, pixels):
    assert pooled(network, ["fc2"], pixels)["fc2"].shape == (40, 2)
    assert pooled(network, ["relu7"], pixels, dimension=1000)["relu7"].shape == (40, 512)
    with pytest.raises(Problem, match="'relu7' has 128 filters"):
        pooled(network, ["relu7"], pixels, dimension=64)


def test_strongest_finds_planted_pixels():
    """Filter c is the colour c: one bright pixel of it in each image, brighter from image to image."""
    places = np.random.default_rng(0).integers(0, 20, (40, 3, 2))
    images = torch.zeros(40, 3, 20, 20, dtype=torch.uint8)
    for image, of_colours in enumerate(places):
        for colour, (row, column) in enumerate(of_colours):
            images[image, colour, row, column] = 100 + (image if colour < 2 else -image)
    identity = nn.Sequential(conv(np.eye(3)[:, :, None, None]))
    found = strongest(identity, ["0"], images, count=4)["0"]
    assert found.images.tolist() == [[39, 38, 37, 36], [39, 38, 37, 36], [0, 1, 2, 3]]
    for colour in range(3):
        planted = places[found.images[colour], colour]
        np.testing.assert_array_equal(found.rows[colour], planted[:, 0])
        np.testing.assert_array_equal(found.columns[colour], planted[:, 1])
    np.testing.assert_allclose(found.values[0], np.array([139, 138, 137, 136]) / 255, rtol=1e-6)
    assert found.values.dtype == np.float32
    assert strongest(identity, ["0"], images, count=99)["0"].images.shape == (3, 40)


def test_a_layer_without_maps():
    flat = nn.Sequential(nn.Flatten(2))
    with pytest.raises(Problem, match="neither maps nor"):
        spatial_means(flat, ["0"], torch.zeros(2, 3, 8, 8))


# --- dissection ---

PARTS = ["background", "wheel", "lamp", "window"]


@pytest.fixture(scope="module")
def tiles():
    """Images of faint noise with three small coloured tiles, and masks of where they are: 0.4 % of the pixels each."""
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
    """Filters for red, green and blue alone; one of brightness; one always 0.1; one that is dead."""
    weights = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]], float)
    return nn.Sequential(conv(weights[:, :, None, None], bias=[0, 0, 0, 0, 0.1, -1]), nn.ReLU())


def test_a_planted_filter_detects_its_part_and_nothing_else(colour_filters, tiles):
    found = dissect(colour_filters, ["1"], *tiles, PARTS)["1"]
    np.testing.assert_allclose(found.iou[:3, 1:], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.precision[:3, 1:], np.eye(3), atol=1e-12)  # and it marks nothing else
    assert found.is_detector.tolist() == [True, True, True, False, False, False]
    assert found.best_part[:3].tolist() == [1, 2, 3] and found.best_iou[:3].tolist() == [1, 1, 1]
    assert found.parts == PARTS and found.thresholds.dtype == np.float32


def test_masks_of_other_images_are_a_control(colour_filters, tiles):
    images, masks = tiles
    found = dissect(colour_filters, ["1"], images, np.roll(masks, 1, axis=0), PARTS)["1"]
    assert found.best_iou.max() < 0.04


@pytest.mark.parametrize("size", [64, 97, 128])
def test_constant_and_dead_filters_mark_nothing(colour_filters, tiles, size):
    images, masks = tiles
    masks = np.random.default_rng(0).integers(0, 4, (30, size, size))
    found = dissect(colour_filters, ["0", "1"], images, masks, PARTS)
    for name in ("0", "1"):
        assert found[name].intersections[:, 4:].sum() == 0 and found[name].intersections[:, 3].sum() > 0
        assert not found[name].is_detector[4:].any()


def test_dissection_is_that_of_a_slow_one():
    """Pixel by pixel in double precision: SciPy enlarges the maps, sorting gives the thresholds."""
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    model = nn.Sequential(nn.Conv2d(3, 5, 5, stride=3), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1))
    images = torch.rand(9, 3, 41, 41)
    masks = ndimage.zoom(random.integers(0, 4, (9, 6, 8)), (1, 5, 5), order=0)
    found = dissect(model, ["1", "2"], images, masks, top=0.05)
    assert found["1"].parts == ["0", "1", "2", "3"]
    rows = (np.arange(30) + 0.5) * 13 / 30 - 0.5
    columns = (np.arange(40) + 0.5) * 13 / 40 - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    for name, layers in (("1", model[:2]), ("2", model)):
        with torch.no_grad():
            maps = layers(images).double().numpy()
        for k in range(maps.shape[1]):
            enlarged = np.stack([ndimage.map_coordinates(each, grid, order=1, mode="nearest") for each in maps[:, k]])
            activations = np.sort(enlarged.ravel())
            place = 0.95 * (len(activations) - 1)
            low, high = activations[int(place)], activations[int(place) + 1]
            threshold = low + (place - int(place)) * (high - low)
            assert found[name].thresholds[k] == pytest.approx(threshold, rel=1e-5, abs=1e-5)
            marked = enlarged > threshold
            for part in range(4):
                intersection = (marked & (masks == part)).sum(axis=(1, 2))
                union = (marked | (masks == part)).sum(axis=(1, 2))
                np.testing.assert_allclose(found[name].intersections[:, k, part], intersection, atol=1)
                np.testing.assert_allclose(found[name].unions[:, k, part], union, atol=1)
                ratio = intersection.sum() / union.sum()
                assert found[name].iou[k, part] == pytest.approx(ratio, abs=1e-3)


def test_a_filter_mostly_zero_marks_what_is_above_zero():
    images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    images[0, :, 8:10, 8:10] = 255  # 0.1 % of all pixels: the threshold is 0
    masks = (images[:, 0] > 0).int().numpy()
    found = dissect(nn.Sequential(conv(np.ones((1, 3, 1, 1))), nn.ReLU()), ["1"], images, masks)["1"]
    assert found.thresholds[0] == pytest.approx(0, abs=1e-5) and found.iou[0, 1] == 1


def test_the_background_is_no_part_to_detect():
    overlap = np.array([[[90, 3, 1], [50, 2, 20]]])
    found = Dissection(PARTS[:3], np.zeros(2), overlap, np.full((1, 2, 3), 100))
    assert found.best_part.tolist() == [1, 2] and found.best_iou.tolist() == [0.03, 0.2]
    assert found.is_detector.tolist() == [False, True]


def test_intervals_of_iou_are_those_of_scipys_bootstrap():
    random = np.random.default_rng(0)
    unions = random.integers(50, 100, (40, 3, 2))
    intersections = (unions * random.uniform(0, 1, unions.shape)).astype(int)
    found = Dissection(["background", "wheel"], np.zeros(3), intersections, unions)
    np.testing.assert_allclose(found.iou, intersections.sum(axis=0) / unions.sum(axis=0))
    low, high = found.iou_interval
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


def test_masks_that_do_not_fit(colour_filters, tiles):
    images, masks = tiles
    with pytest.raises(Problem, match="30 images need as many masks"):
        dissect(colour_filters, ["1"], images, masks[:3])
    with pytest.raises(Problem, match="from 0 to 3, with 3 parts"):
        dissect(colour_filters, ["1"], images, masks, PARTS[:3])


# --- orientation ---


def test_gratings_lie_as_they_should():
    images = gratings(33, period=8, num_orientations=4, num_phases=6).reshape(4, 6, 3, 33, 33)
    assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1
    horizontal, rising, vertical, falling = images.numpy()
    np.testing.assert_allclose(horizontal, horizontal[..., :1].repeat(33, axis=-1), atol=1e-5)
    np.testing.assert_allclose(vertical, vertical[..., :1, :].repeat(33, axis=-2), atol=1e-5)
    np.testing.assert_allclose(rising[..., 1:, :-1], rising[..., :-1, 1:], atol=1e-5)  # /
    np.testing.assert_allclose(falling[..., 1:, 1:], falling[..., :-1, :-1], atol=1e-5)  # \
    np.testing.assert_allclose(horizontal[..., 8:, :], horizontal[..., :-8, :], atol=1e-5)
    np.testing.assert_allclose(images.numpy().mean(axis=1), 0.5, atol=1e-5)  # all phases together


def test_circular_variance_and_selectivity_in_closed_form():
    angles = np.deg2rad(np.arange(12) * 15)
    responses = np.stack([np.eye(12)[4], np.ones(12), 1 + np.cos(2 * (angles - angles[9])), np.zeros(12)])
    tuning = OrientationTuning(responses, np.array([8, 8, 8, np.nan]))
    np.testing.assert_allclose(tuning.circular_variance, [0, 1, 0.5, np.nan], atol=1e-12)
    np.testing.assert_allclose(tuning.selectivity, [1, 0, 1, np.nan], atol=1e-12)
    np.testing.assert_allclose(tuning.preferred[[0, 2, 3]], [60, 135, np.nan])
    np.testing.assert_allclose(tuning.strength + tuning.circular_variance, [1, 1, 1, np.nan])


def test_planted_orientations_are_found():
    """Gabor filters drawn with horizontal bars and turned by Pillow, counterclockwise; a blob; a dead filter."""
    distance = np.arange(25) - 12
    envelope = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 5.0**2))
    gabor = envelope * np.cos(2 * np.pi / 8 * distance)[:, None]
    planted = [0, 30, 45, 75, 90, 120, 165]
    turned = [
        np.asarray(Image.fromarray(gabor.astype(np.float32)).rotate(angle, Image.Resampling.BICUBIC))
        for angle in planted
    ]
    kernels = np.stack([*(each - each.mean() for each in turned), envelope, 0 * envelope])
    weights = kernels[:, None].repeat(3, axis=1)
    model = nn.Sequential(conv(weights, bias=[0] * 8 + [-1], padding=12), nn.ReLU())
    found = orientation_tuning(model, ["0", "1"], 64, periods=(6, 8, 12, 24), num_phases=4)
    for name in ("0", "1"):
        tuning = found[name]
        away = (tuning.preferred[:7] - planted + 90) % 180 - 90
        assert np.abs(away).max() <= 15
        assert tuning.period[:7].tolist() == [8] * 7
        assert tuning.circular_variance[:7].max() < 0.35 and tuning.selectivity[:7].min() > 0.9
        assert tuning.circular_variance[7] > 0.95 and tuning.selectivity[7] < 0.1
        for values in (tuning.circular_variance, tuning.selectivity, tuning.preferred, tuning.period):
            assert np.isnan(values[8]) and not np.isnan(values[:8]).any()


def test_orientation_of_every_layer(network, recwarn):
    found = orientation_tuning(network, ["relu1", "relu7"], 64, periods=(8,), num_orientations=4, num_phases=2)
    assert found["relu1"].responses.shape == (16, 4) and found["relu7"].responses.shape == (128, 4)
    assert not recwarn.list
    with pytest.raises(Problem, match="must be even"):
        orientation_tuning(network, ["relu1"], 64, num_orientations=5)


# --- selectivity ---


def test_class_selectivity_in_closed_form():
    labels = np.array([0, 0, 1, 1, 2, 2])
    means = np.array(
        [[0, 2, 1, 1, 0], [0, 2, 1, 3, 0], [3, 2, 1, 0, 0], [5, 2, 1, 0, 0], [0, 2, 4, 0, 0], [0, 2, 4, 0, 0]]
    )
    # The last but one: class 0 has a mean of 2, the others none. The third: 4 against (1 + 1) / 2.
    np.testing.assert_allclose(class_selectivity(means, labels), [1, 0, 3 / 5, 1, 0])
    with pytest.raises(Problem, match="not negative"):
        class_selectivity(-means, labels)
    with pytest.raises(Problem, match="two classes"):
        class_selectivity(means, np.zeros(6))


def test_auroc_is_scikit_learns():
    random = np.random.default_rng(0)
    labels = random.permutation([0] * 30 + [1] * 21)
    means = random.normal(size=(51, 6)).astype(np.float32)
    means[:, 3] = means[:, 3].round()  # ties
    means[:, 4] = 1  # nothing but ties
    means[:, 5] += 9 * labels
    expected = [roc_auc_score(labels, column) for column in means.T]
    np.testing.assert_allclose(auroc(means, labels), expected, atol=1e-12)
    np.testing.assert_allclose(auroc(means, labels.astype(bool)), expected, atol=1e-12)
    with pytest.raises(Problem, match="0 and 1"):
        auroc(means, labels + 1)


def test_permutation_p_values_approach_the_exact_ones():
    """Of 3 and 4 images there are 35 ways to label; p is the share of those at least as extreme."""
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    means = np.array([[7, 1, 1], [6, 6, 1], [5, 7, 1], [1, 2, 1], [2, 3, 1], [3, 4, 1], [4, 5, 1]], float)
    exact = []
    for column in means.T:
        areas = []
        for chosen in combinations(range(7), 3):
            areas.append(roc_auc_score(np.isin(np.arange(7), chosen), column))
        extreme = np.abs(np.array(areas) - 0.5)
        exact.append((extreme >= abs(roc_auc_score(labels, column) - 0.5) - 1e-9).mean())
    assert exact[0] == 2 / 35 and exact[2] == 1
    np.testing.assert_allclose(permutation_p_values(means, labels, 8000), exact, atol=0.02)


def test_only_planted_filters_are_significant():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    means = random.normal(size=(80, 100))
    means[:, 0] += 2 * labels
    means[:, 1] -= 2 * labels
    p = permutation_p_values(means, labels, num_permutations=999)
    assert p[:2].tolist() == [0.001, 0.001] and abs(p[2:].mean() - 0.5) < 0.1
    assert np.flatnonzero(stats.false_discovery_control(p) < 0.06).tolist() == [0, 1]
    np.testing.assert_array_equal(p, permutation_p_values(means, labels, num_permutations=999))


def test_linear_probe_reads_out_a_planted_direction_only():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    values = random.normal(size=(400, 16)) * 100 + 500
    planted = values + 300 * np.outer(2 * labels - 1, random.normal(size=16))
    correct = linear_probe(planted[:200], labels[:200], planted[200:], labels[200:])
    assert correct.shape == (200,) and correct.dtype == bool and correct.mean() > 0.99
    by_chance = linear_probe(values[:200], labels[:200], values[200:], labels[200:])
    assert 0.4 < by_chance.mean() < 0.6


def test_linear_probe_is_the_logistic_regression_that_scipy_finds():
    """Min. of log losses + |w|²/2 on standardised values, by a general minimiser; classes overlap, so answers differ."""
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 300)
    values = random.normal(size=(300, 6)) * [1, 10, 100, 1, 1, 1] + np.outer(labels, [1, 5, 0, 0.5, 0, 0])
    train, test = values[:150], values[150:]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    x, sign = (train - mean) / deviation, 2 * labels[:150] - 1

    def loss(weights):
        return np.logaddexp(0, -sign * (x @ weights[:-1] + weights[-1])).sum() + weights[:-1] @ weights[:-1] / 2

    best = optimize.minimize(loss, np.zeros(7)).x
    answers = (test - mean) / deviation @ best[:-1] + best[-1] > 0
    correct = linear_probe(train, labels[:150], test, labels[150:])
    assert 0.55 < correct.mean() < 0.9
    np.testing.assert_array_equal(correct, answers == labels[150:])


# --- ablation ---


def planted() -> nn.Module:
    """Four filters of one pixel: red, green, blue, and a dead one; red alone says which class it is."""
    colours = np.zeros((4, 3, 1, 1))
    colours[[0, 1, 2], [0, 1, 2]] = 1
    last = conv(np.zeros((2, 4, 1, 1)))
    last.weight.data[1, 0] = 20.0
    last.bias.data[0] = 10.0
    layers = {"conv": conv(colours), "relu": nn.ReLU(), "last": last, "pool": nn.AdaptiveAvgPool2d(1)}
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    model.add_module("flatten", nn.Flatten())
    model.classes, model.image_size = ["Bike", "Car"], 16
    return model.eval()


@pytest.fixture(scope="module")
def red_or_not():
    """Sixty noisy images, every second one red."""
    random = np.random.default_rng(0)
    images = random.integers(0, 100, (60, 3, 16, 16))
    labels = np.arange(60) % 2
    images[labels == 1, 0] += 150
    return torch.tensor(images, dtype=torch.uint8), torch.tensor(labels)


@pytest.mark.parametrize("layer_name", ["conv", "relu"])
def test_ablation_finds_the_only_filter_that_matters(red_or_not, layer_name):
    pixels, labels = red_or_not
    found = ablate(planted(), layer_name, pixels, labels)
    assert found.right.all()
    assert found.accuracy_change().tolist() == [-0.5, 0, 0, 0]  # without red, all are taken for class 0
    assert found.accuracy_change(1).tolist() == [-1, 0, 0, 0]
    assert found.accuracy_change(0).tolist() == [0, 0, 0, 0]
    assert found.loss_change()[0] > 1 and np.abs(found.loss_change()[1:]).max() == 0


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16 where there is any"])
def rounding(request, monkeypatch):
    """How far what a change makes of the answers may be off, as a share of that change."""
    monkeypatch.setenv("BFLOAT16", str(int(request.param)))
    return 1e-2 if request.param else 1e-6


def test_setting_to_the_mean_is_half_red(red_or_not, rounding):
    pixels, labels = red_or_not
    found = ablate(planted(), "relu", pixels, labels, to="mean")
    # The answer is then the same for every image: that of the mean image.
    mean = (pixels.float() / 255).mean(dim=(0, 2, 3))
    expected = ((20 * mean[0] - 10) * (2 * labels - 1)).numpy()
    change = np.abs(found.whole - expected).max()
    assert np.allclose(found.log_odds[0], expected, atol=1e-5 + rounding * change)
    assert np.allclose(found.losses[0], functional.softplus(-torch.tensor(found.log_odds[0])), atol=1e-5)


class Branching(nn.Module):
    """In-place steps, a shortcut around a convolution, several groups: all that makes re-running a part go wrong."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.relu1 = nn.ReLU(inplace)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.conv3 = nn.Conv2d(6, 6, 3, padding=2, dilation=2)
        self.bn = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        y = self.bn(self.conv3(x))
        if self.inplace:
            y += self.conv2(x)
        else:
            y = y + self.conv2(x)
        return self.fc(functional.relu(y, self.inplace).mean(dim=(2, 3)))


@pytest.mark.parametrize("to", ["zero", "mean"])
@pytest.mark.parametrize("layer_name", ["conv1", "relu1", "conv2", "conv3", "bn"])
def test_ablation_agrees_with_captum(layer_name, to, rounding):
    """Captum runs the whole network once for each filter. It is given the twin without in-place steps, which mislead it."""
    torch.manual_seed(1)
    model, twin = Branching(inplace=True).eval(), Branching(inplace=False).eval()
    model.bn.running_mean.normal_()
    twin.load_state_dict(model.state_dict())
    pixels, labels = torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8), torch.arange(40) % 3
    found = ablate(model, layer_name, pixels, labels, to=to)
    images = pixels.float() / 255
    maps = capture(twin, layer_name, images)[layer_name]

    def losses(images):
        return functional.cross_entropy(twin(images), labels, reduction="none")

    for number in (0, 4):
        baseline = 0.0 if to == "zero" else float(maps[:, number].mean())
        mask = torch.zeros(1, 6, 1, 1, dtype=torch.long)
        mask[:, number] = 1
        captum = LayerFeatureAblation(losses, twin.get_submodule(layer_name))
        with torch.no_grad():
            change = captum.attribute(images, baseline, layer_mask=mask.expand(1, *maps.shape[1:]))
        expected = -change[:, number, 0, 0].numpy()
        assert np.allclose(found.loss_rises[:, number], expected, atol=1e-5 + rounding * np.abs(expected).max())
        assert np.allclose(found.loss_change()[number], expected.mean(), atol=1e-5 + rounding * np.abs(expected).max())


def test_ablation_of_a_network_with_one_logit(red_or_not):
    """The same network with two logits, of which the first is zero, and with one."""
    pixels, labels = red_or_not
    one = planted()
    one.last = conv(
        one.last.weight[1:].detach() - one.last.weight[:1].detach(), (one.last.bias[1:] - one.last.bias[:1]).detach()
    )
    single, double = (ablate(model, "relu", pixels, labels) for model in (one, planted()))
    assert (
        np.allclose(single.log_odds, double.log_odds, rtol=0.01, atol=0.05) and (single.correct == double.correct).all()
    )


def test_log_odds_are_those_of_the_probabilities():
    torch.manual_seed(2)
    model = Branching(inplace=False).eval()  # three classes
    pixels, labels = torch.randint(0, 256, (30, 3, 12, 12), dtype=torch.uint8), torch.arange(30) % 3
    found = ablate(model, "relu1", pixels, labels)
    p = model(pixels.float() / 255).softmax(dim=1)
    of_truth = p[torch.arange(30), labels].detach()
    assert np.allclose(found.whole, torch.logit(of_truth), atol=1e-4)
    assert (found.right == (p.argmax(dim=1) == labels).numpy()).all()


def test_ablation_leaves_the_model_as_it_was(network, pixels):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ablate(network, "relu6", pixels[:8], torch.zeros(8, dtype=torch.long))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.eval()


def test_ablation_of_an_unknown_layer_names_the_closest(network, pixels):
    with pytest.raises(Problem, match="'relu9'.*'relu8'"):
        ablate(network, "relu9", pixels, torch.zeros(40, dtype=torch.long))


# --- controls ---


def test_forgetting_from_the_top_leaves_the_layers_below_alone(network, pixels):
    layers = ["relu1", "relu4", "relu7"]
    steps, alike, of_first = randomised_from_the_top(network, layers, pixels[:6])
    assert steps == ["fc2", "fc1", "conv7", "conv6", "conv5", "conv4", "conv3", "conv2", "conv1"]
    for name, step in (("relu1", "conv1"), ("relu4", "conv4"), ("relu7", "conv7")):
        row = steps.index(step)
        for each in alike[:row]:
            assert np.allclose(each[name], alike[0][name])  # nothing has changed yet
        assert alike[row][name].mean() < 0.7 * alike[0][name].mean()
    assert len(of_first) == 1 + len(steps) and of_first[0]["relu1"].shape == (16, 32, 32)


def test_what_any_two_filters_share_is_spearmans_correlation(network, pixels):
    found = like_any_other(network, ["relu1"], pixels[:3])["relu1"]
    maps = capture(network, "relu1", pixels[:3].float() / 255)["relu1"].transpose(0, 2, 3, 1).reshape(-1, 16)
    expected = np.abs(stats.spearmanr(maps).statistic)
    np.testing.assert_allclose(found, (expected.sum(axis=0) - 1) / 15, atol=1e-4)


@pytest.mark.parametrize("count", [1, 33])
def test_statistics_of_batch_norms_need_no_whole_batch_in_the_end(count):
    fresh = untrained(BikeCarCNN(image_size=64), torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8))
    assert torch.isfinite(fresh.bn7.running_var).all()


def test_ranks_are_those_of_spearman():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 9, (2, 5, 3, 4, 4)).astype(float)
    expected = [stats.spearmanr(one[:, c].ravel(), other[:, c].ravel()).statistic for c in range(3)]
    assert np.allclose((controls._ranks(one) * controls._ranks(other)).sum(axis=1), expected)


def test_shuffled_labels_are_as_many_of_each_and_the_images_are_untouched(workspace, own_zips):
    prepare(str(own_zips), sample_images=0, val_share=0.2, test_share=0.2, seed=0)
    train = Pictures(workspace / "datasets" / "Train", 32)
    before = train.labels.clone()
    model = BikeCarCNN(train.classes, 32)
    path = workspace / "shuffled.pt"
    with mock.patch.object(controls, "fit", wraps=controls.fit) as fit:
        first = controls.trained_on_shuffled_labels(model, train, 1, path)
        labels = fit.call_args.args[1].labels
        again = controls.trained_on_shuffled_labels(model, train, 1, path)
        assert fit.call_count == 1  # the second time it is loaded
        (workspace / "model.pt").touch()  # trained again, with whatever code
        os.utime(path, (0, 0))
        controls.trained_on_shuffled_labels(model, train, 1, path)
        assert fit.call_count == 2
    assert not torch.equal(labels, before) and torch.equal(labels.bincount(), before.bincount())
    assert torch.equal(train.labels, before)
    assert torch.equal(first.conv1.weight, again.conv1.weight) and not first.training
    assert [p.name for p in workspace.glob("*.pt") if p.name != "model.pt"] == ["shuffled.pt"]


# --- the verdict ---


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(3).normal(size=80)
    found = bootstrap(values, num_resamples=4000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, random_state=1)
    assert found.value == pytest.approx(values.mean())
    assert found[1:] == pytest.approx(expected.confidence_interval, abs=0.02)


@pytest.mark.parametrize(
    "trained, excess, at_least, verdict",
    [
        ((0.8, 0.7, 0.9), {"untrained": (0.3, 0.2, 0.4)}, None, "holds"),
        ((0.8, 0.7, 0.9), {"untrained": (0.1, -0.1, 0.3)}, None, "cannot tell"),
        ((0.8, 0.7, 0.9), {"untrained": (0.3, 0.2, 0.4), "shuffled": (-0.2, -0.3, -0.1)}, None, "does not hold"),
        ((0.8, 0.7, 0.9), {}, 0.5, "holds"),
        ((0.8, 0.7, 0.9), {}, 0.75, "cannot tell"),
        ((0.1, 0.05, 0.2), {"untrained": (0.1, 0.05, 0.2)}, 0.5, "does not hold"),
        ((np.nan, np.nan, np.nan), {}, 0.5, "cannot tell"),
        ((0.8, 0.7, 0.9), {"untrained": (np.nan, np.nan, np.nan)}, 0.5, "cannot tell"),
    ],
)
def test_verdict(trained, excess, at_least, verdict):
    above = {name: Estimate(*values) for name, values in excess.items()}
    controls_ = dict.fromkeys(above, Estimate(0, 0, 0))
    found = Observation("claim", "measure", Estimate(*trained), controls_, above, at_least)
    assert found.verdict == verdict


def test_observations_compare_the_first_network_with_the_others():
    networks = {
        "trained": np.array([5.0, 5, 6]),
        "untrained": np.array([1.0, 1, 2]),
        "shuffled": np.array([2.0, 2, 2]),
    }
    found = observe(networks, "It grows", "mean of conv", lambda values: [values], at_least=4)
    assert found.trained.value == pytest.approx(16 / 3)
    assert found.controls["untrained"].value == pytest.approx(4 / 3)
    (row,) = verdict_rows([found], ["shuffled", "untrained", "other masks"])
    assert row == [
        *("It grows", "mean of conv", "5.33 (5.00 to 6.00)"),
        *("2.00; +3.33 (+3.00 to +4.00)", "1.33; +4.00 (+4.00 to +4.00)", "–", "4", "**holds**"),
    ]


def test_the_same_images_are_drawn_for_all_networks():
    """SciPy's paired bootstrap of a difference that is smaller than what images differ by."""
    random = np.random.default_rng(5)
    of_image = random.normal(size=60)
    one, other = of_image + 0.3 + 0.2 * random.normal(size=60), of_image
    found = observe({"trained": one, "untrained": other}, "", "", lambda values: [values], num_resamples=4000)
    expected = stats.bootstrap(
        (one, other), lambda a, b, axis: a.mean(axis) - b.mean(axis), paired=True, method="percentile",
        n_resamples=4000, random_state=1,
    ).confidence_interval  # fmt: skip
    assert found.excess["untrained"][1:] == pytest.approx(expected, abs=0.01)
    assert found.verdict == "holds" and found.trained.low < found.controls["untrained"].high


def test_what_rounds_to_nothing_has_no_sign():
    assert f"{Estimate(-0.001, -0.2, 0.001):+.2f}" == "+0.00 (-0.20 to +0.00)"


def test_a_share_of_none_has_an_interval_too():
    none = share(np.zeros(64, bool))
    assert none.value == 0 and none.low == pytest.approx(0) and 0.04 < none.high < 0.07


def test_bootstrap_leaves_out_what_is_not_a_number():
    assert bootstrap(np.array([1.0, np.nan, 1.0])) == (1, 1, 1)


def test_batch_norms_of_the_untrained_network_have_seen_images(network, pixels):
    fresh = untrained(network, pixels, seed=0)
    assert not fresh.training
    maps = capture(fresh, "bn1", pixels.float() / 255)["bn1"]
    assert np.abs(maps.mean(axis=(0, 2, 3))).max() < 0.15
    assert np.abs(maps.std(axis=(0, 2, 3)) - 1).max() < 0.15


# --- everything together, on planted truth ---


def test_the_planted_filter_is_found_by_every_measure_and_only_it(red_or_not):
    pixels, labels = red_or_not
    red = np.zeros((60, 16, 16), np.uint8)
    red[1::2, 5:7, 5:7] = 1  # where the red images are reddest
    pixels = pixels.clone()
    pixels[:, 0][torch.from_numpy(red).bool()] = 255
    data = (pixels, labels)
    layers = measure(planted(), ["relu"], data, data, red, ["background", "red"])
    found = layers["relu"]
    assert found.dead.tolist() == [False, False, False, True]
    assert found.auroc[0] == 1 and (np.abs(found.auroc[1:] - 0.5) < 0.2).all()
    assert ((found.p_values < 0.01) == [True, False, False, False]).all()
    assert found.class_selectivity[0] > 0.5 and (found.class_selectivity[1:] < 0.05).all()
    assert found.probe.all()
    assert found.dissection.is_detector.tolist() == [True, False, False, False]
    assert found.ablation.accuracy_change().argmin() == 0
    assert found.ablation.need[0] > 1 and np.abs(found.ablation.need[1:]).max() == 0
    without_masks = measure(planted(), ["relu"], data, data)["relu"]
    assert without_masks.dissection is None
    field = receptive_fields(planted(), 16)["relu"]
    lines = facts(without_masks, 0, ["Bike", "Car"], field, 16, {})
    assert "IoU" not in " ".join(lines) and "prefers Car: AUROC 1.00" in lines[1] and len(lines) == 3


def test_cards(workspace, network, pixels):
    labels = torch.arange(len(pixels)) % 2
    masks = np.zeros((len(pixels), 32, 32), np.uint8)
    masks[:, 8:16, 8:16] = 1
    data = (pixels, labels)
    layers = measure(network, ["relu1", "relu5"], data, data, masks, ["background", "wheel"])
    stale = workspace / "results_Bike" / "filter_cards" / "relu5" / "filter_099.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    chosen = {name: {"Bike": [0, 5], "Car": [3] if name == "relu1" else []} for name in layers}
    pages = save_cards(network, network, chosen, layers, layers, pixels, [0, 1], {"wheel": 24})
    assert pages["relu1"]["Car"] == workspace / "results_Car" / "filter_cards" / "relu1.png"
    assert "Car" not in pages["relu5"]
    assert [p.name for p in sorted(stale.parent.iterdir())] == ["filter_000.png", "filter_005.png"]
    page, card = Image.open(pages["relu5"]["Bike"]), Image.open(stale.with_name("filter_000.png"))
    assert 2 * card.height < page.height < 3 * card.height  # two cards, and above them the summary of the layer
    assert page.width == card.width
    for name, field in receptive_fields(network, 64).items():
        if name in layers:
            marks, sees, likes, without = lines = facts(layers[name], 0, network.classes, field, 64, {"wheel": 24})
            summary = layer_facts(layers[name], layers[name], field, 64)
            for line in (*lines, *summary, twin_facts(layers[name], 0)):
                assert font(13).getlength(line) < card.width - 28  # nothing is cut off
            assert "of what it marks is wheel: IoU" in marks and ("cannot see one" in sees) == (field.size < 24)
            assert summary[0].startswith(f"{len(layers[name].auroc)} filters")
            assert "AUROC" in likes and "without it" in without


def test_paint_is_where_the_map_is_high():
    image = torch.full((3, 8, 8), 200, dtype=torch.uint8)
    response = np.zeros((8, 8))
    response[2, 3] = 1
    red, green, blue = painted(image, response)[2, 3].tolist()
    assert red > green + 80 > blue + 120  # orange
    assert len(set(painted(image, response)[7, 0].tolist())) == 1  # grey


def test_the_longest_facts_fit_on_a_card():
    """The part with the longest name, perhaps detected, too large to be seen, in a network of thousands of filters."""
    counts = np.array([[[0, 45]]]), np.array([[[100, 1000]]])
    dissection = Dissection(["background", "tail light"], np.zeros(1), *counts)
    one = np.full(1, 0.12345)
    tuning = OrientationTuning(np.eye(12)[:1] * 0.5, np.full(1, 8.0))
    ablation = Ablation(
        np.full((1, 2), -12.345), np.zeros((1, 2), bool), np.full(2, 12.345), np.ones(2, bool), np.arange(2)
    )
    layer = LayerEvidence(np.ones((2, 1)), one, one, one, np.ones(2, bool), tuning, ablation, dissection)
    lines = facts(layer, 0, ["Motorcycle", "Automobile"], ReceptiveField(142, 32, 0), 128, {"tail light": 128.5})
    for line in (*lines, twin_facts(layer, 0), *layer_facts(layer, layer, ReceptiveField(142, 32, 0), 128)):
        assert font(13).getlength(line) < 5 * 184 - 12 - 28, line
