"""All measures of planted filters together, and the cards that show them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recognizer.evidence.ablation import Ablation
from recognizer.evidence.cards import _patches, facts, layer_facts, painted, save_cards, twin_facts
from recognizer.evidence.controls import randomised_from_the_top
from recognizer.evidence.dissection import Dissection, enlarged
from recognizer.evidence.measures import LayerEvidence, measure
from recognizer.evidence.orientation import OrientationTuning
from recognizer.evidence.receptive_field import ReceptiveField, receptive_fields
from recognizer.evidence.responses import all_maps, strongest
from recognizer.evidence.retention import retention
from recognizer.maps.grids import font

from .networks import conv, planted


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_measures_take_any_precision_and_leave_every_layer_in_its_mode(red_or_not, dtype):
    model = planted().to(dtype).train()
    model.relu.eval()
    before = {name: layer.training for name, layer in model.named_modules()}
    found = measure(model, ["relu"], red_or_not, red_or_not)["relu"]
    retention(model, ["relu"], red_or_not, red_or_not)
    randomised_from_the_top(model, ["relu"], red_or_not[0])
    assert {name: layer.training for name, layer in model.named_modules()} == before
    assert not any(layer._forward_hooks for layer in model.modules())
    assert found.auroc[0] == 1 and found.ablation.need[0] > 1


@pytest.mark.parametrize("size", [48, 64, 100, 224])
def test_patches_and_paint_are_where_the_filter_responds(size):
    """Dark noise with a bright red tile in each image, and a filter of red behind poolings that leave rows out."""
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
    for image, each, (y, x) in zip(pixels, strength, corners):
        orange = np.ptp(painted(image, each.numpy()), axis=2).astype(float)  # grey has no colour
        weights = orange / orange.sum()
        middle = (weights.sum(axis=1) @ np.arange(size), weights.sum(axis=0) @ np.arange(size))
        assert np.abs(np.array(middle) - (y + 7.5, x + 7.5)).max() < 2


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
