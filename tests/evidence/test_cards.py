"""All measures of planted filters, and the cards that show them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recognizer.evidence.ablation import Ablation
from recognizer.evidence.cards import _patches, facts, layer_facts, painted_maps, save_cards
from recognizer.evidence.dissection import enlarged
from recognizer.evidence.experiments import Scenes
from recognizer.evidence.measures import LayerEvidence, measure
from recognizer.evidence.orientation import OrientationTuning
from recognizer.evidence.receptive_field import ReceptiveField, receptive_fields
from recognizer.evidence.responses import all_maps, strongest
from recognizer.evidence.retention import retention
from recognizer.maps.grids import font, painted

from .networks import conv, planted


def scenes_of(pixels, labels, masks=None):
    masks = np.zeros((len(pixels), 64, 64), np.uint8) if masks is None else masks
    return Scenes(pixels, labels, torch.from_numpy(masks), torch.ones(len(pixels), dtype=torch.bool))


def test_every_measure_singles_out_the_planted_filter(red_or_not):
    pixels, labels = red_or_not
    masks = np.zeros((60, 64, 64), np.uint8)
    masks[1::2, 20:28, 20:28] = 1  # the reddest place of the red images
    pixels = pixels.clone()
    pixels[1::2, 0, 5:7, 5:7] = 255
    measured = measure(planted(), ["relu"], scenes_of(pixels, labels, masks), ["background", "red"])["relu"]
    assert measured.dead.tolist() == [False, False, False, True]
    assert measured.auroc[0] == 1 and (np.abs(measured.auroc[1:] - 0.5) < 0.2).all()
    assert measured.ablation.flips.tolist() == [0.5, 0, 0, 0] and measured.ablation.change.argmax() == 0
    in_red = measured.precision[1, :, 1]
    assert in_red.argmax() == 0 and in_red[0] > 20 and (in_red[1:] < 2).all()
    assert np.isnan(measured.precision[0, :, 1]).all()  # the other class has no red part
    lines = facts(
        measured, measured, 0, ["Bike", "Car"], receptive_fields(planted(), 16)["relu"], 16, ["background", "red"]
    )
    assert len(lines) == 5 and "finds the red of a Car best" in lines[2] and "prefers Car by AUROC 1.00" in lines[3]
    assert lines[4].endswith("30 of 60 answers flip")


def test_without_masks_a_card_has_four_facts(red_or_not):
    measured = measure(planted(), ["relu"], scenes_of(*red_or_not))["relu"]
    lines = facts(measured, measured, 3, ["Bike", "Car"], receptive_fields(planted(), 16)["relu"], 16, ())
    assert measured.precision is None and len(lines) == 4
    assert "none of the patterns" in lines[1] and "no class" in lines[2]


def test_cards_and_pages_are_written_and_old_cards_are_removed(workspace, network, pixels):
    labels = torch.arange(len(pixels)) % 2
    masks = np.zeros((len(pixels), 64, 64), np.uint8)
    masks[:, 16:32, 16:32] = 1
    layers = measure(network, ["relu1", "relu5"], scenes_of(pixels, labels, masks), ["background", "wheel"])
    stale = workspace / "results_Bike" / "filter_cards" / "relu5" / "filter_099.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    chosen = {name: {"Bike": [0, 5], "Car": [3] if name == "relu1" else []} for name in layers}
    pages = save_cards(network, network, chosen, layers, layers, pixels, [0, 1], ["background", "wheel"])
    assert pages["relu1"]["Car"] == workspace / "results_Car" / "filter_cards" / "relu1.png"
    assert "Car" not in pages["relu5"]
    assert [p.name for p in sorted(stale.parent.iterdir())] == ["filter_000.png", "filter_005.png"]
    page, card = Image.open(pages["relu5"]["Bike"]), Image.open(stale.with_name("filter_000.png"))
    assert 2 * card.height < page.height < 3 * card.height  # two cards below the summary of the layer
    assert page.width == card.width
    for name, field in receptive_fields(network, 64).items():
        if name in layers:
            lines = facts(layers[name], layers[name], 0, network.classes, field, 64, ["background", "wheel"])
            for line in (*lines, *layer_facts(layers[name], layers[name], field, 64)):
                assert font(13).getlength(line) < card.width - 28  # nothing is cut off


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_measures_accept_any_precision_and_leave_each_layer_in_its_mode(red_or_not, dtype):
    model = planted().to(dtype).train()
    model.relu.eval()
    before = {name: layer.training for name, layer in model.named_modules()}
    measured = measure(model, ["relu"], scenes_of(*red_or_not))["relu"]
    retention(model, ["relu"], red_or_not, red_or_not)
    assert {name: layer.training for name, layer in model.named_modules()} == before
    assert not any(layer._forward_hooks for layer in model.modules())
    assert measured.auroc[0] == 1 and measured.ablation.change[0] > 0.5


@pytest.mark.parametrize("size", [48, 64, 100, 224])
def test_patches_and_paint_lie_where_the_filter_responds(size):
    """Each image is dark noise with a bright red tile. The filter responds to red, after poolings that drop rows."""
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 80, (9, 3, size, size)).astype(np.uint8))
    corners = random.integers(0, size - 16, (9, 2))
    for image, (y, x) in zip(pixels, corners):
        image[:, y : y + 16, x : x + 16] = torch.tensor([255, 0, 0])[:, None, None]
    red = conv([[[[1]], [[-1]], [[-1]]]])
    model = nn.Sequential(red, nn.AvgPool2d(2), nn.AvgPool2d(4), nn.ReLU())
    field = receptive_fields(model, size)["3"]
    patches = _patches(strongest(model, ["3"], pixels)["3"], 0, pixels, field)
    assert patches.shape == (9, 56, 56, 3) and (patches == [255, 0, 0]).all()
    maps = torch.from_numpy(all_maps(model, ["3"], pixels)["3"])
    strength = enlarged(maps, field, size, (size, size))[:, 0]
    for image, response, (y, x) in zip(pixels, strength, corners):
        orange = np.ptp(painted(image.permute(1, 2, 0).numpy(), response.numpy()), axis=2).astype(
            float
        )  # grey has no colour
        weights = orange / orange.sum()
        middle = (weights.sum(axis=1) @ np.arange(size), weights.sum(axis=0) @ np.arange(size))
        assert np.abs(np.array(middle) - (y + 7.5, x + 7.5)).max() < 2


def test_paint_lies_where_the_map_is_high():
    image = np.full((8, 8, 3), 200, np.uint8)
    response = np.zeros((8, 8))
    response[2, 3] = 1
    red, green, blue = painted(image, response)[2, 3].tolist()
    assert red > green + 80 > blue + 120  # orange
    assert len(set(painted(image, response)[7, 0].tolist())) == 1  # grey


def test_the_longest_facts_fit_on_a_card():
    """The kind of pattern and the part have the longest names, and both classes have long names."""
    parts = ["background", "tail light"]
    tuning = OrientationTuning(np.eye(12)[11:] * 0.5, np.full(1, 8.0))
    ablation = Ablation(np.full((1, 60), -12.345), np.zeros((1, 60), bool), np.full(60, 1.0), np.ones(60, bool))
    kinds, precision = np.array([[0, 0, 0, 1.0, 0]]), np.full((2, 1, 2), 12.345)
    layer = LayerEvidence(np.ones((2, 1)), np.full(1, 0.12345), kinds, tuning, ablation, precision)
    field = ReceptiveField(142, 32, 0)
    lines = facts(layer, layer, 0, ["Motorcycle", "Automobile"], field, 128, parts)
    for line in (*lines, *layer_facts(layer, layer, field, 128)):
        assert font(13).getlength(line) < 5 * 184 - 12 - 28, line


def test_the_brightest_place_in_all_pictures_gets_the_most_paint():
    """The filter passes red on, so the map of a picture is its red channel."""
    model = nn.Sequential(conv([[[[1]], [[0]], [[0]]]]))
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    pixels[0, 0, 4, 5], pixels[1, 0, 20, 21] = 200, 100
    first, second = (picture.astype(int) for picture in painted_maps(model, "0", 0, pixels))
    orange = [picture[..., 0] - picture[..., 2] for picture in (first, second)]
    assert np.unravel_index(orange[0].argmax(), (32, 32)) == (4, 5)
    assert np.unravel_index(orange[1].argmax(), (32, 32)) == (20, 21)
    assert orange[0].max() == pytest.approx(2 * orange[1].max(), rel=0.02)
