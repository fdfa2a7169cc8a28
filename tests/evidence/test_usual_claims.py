"""The usual claims as numbers of networks, the observations of filters, and the two sets of pictures."""

import numpy as np
import pytest
import torch
from torch import nn

from recognizer import BikeCarCNN, evidence, settings
from recognizer.data import prepare
from recognizer.data.dataset import Pictures
from recognizer.drawings import PARTS
from recognizer.evidence import ask, observe_filters, redraw, responses, to_choose_and_report
from recognizer.evidence.claims import TOO_FEW
from recognizer.evidence.usual_claims import SAID, numbers_of, numbers_of_all, usual_claims

from .networks import conv

LAYERS = ["relu1", "relu2", "relu6", "relu7"]


@pytest.fixture(scope="module")
def sets():
    return [redraw(["Bike", "Car"], 6, 64, first=first) for first in (100, 200)]


def test_every_claim_has_a_number_for_each_network_and_a_row(sets):
    networks = [evidence.untrained(BikeCarCNN(image_size=64), sets[0].pixels, seed) for seed in range(2)]
    numbers = numbers_of_all({"trained": networks, "untrained": networks}, LAYERS, *sets)
    assert set(numbers["trained"][0]) == set(SAID) and numbers["trained"] == numbers["untrained"]
    assert all(np.isfinite([*each.values()]).all() for those in numbers.values() for each in those)
    claims = usual_claims(numbers)
    assert [claim.claim for claim in claims] == [said for said, _, _ in SAID.values()]
    assert {claim.verdict for claim in claims} == {TOO_FEW}
    assert len(evidence.claim_rows(claims, ["untrained"])) == len(SAID)


def test_without_masks_the_claims_about_parts_are_left_out(sets):
    network = evidence.untrained(BikeCarCNN(image_size=64), sets[0].pixels)
    blank = [scenes._replace(masks=torch.zeros_like(scenes.masks)) for scenes in sets]
    found = numbers_of(network, LAYERS, *blank)
    assert set(SAID) - set(found) == {"alike", "wheel", "window"}  # one network alone is like no other
    assert len(usual_claims({"trained": [found], "untrained": [found]})) == len(SAID) - 3


def test_observations_find_the_filter_that_was_made_for_a_part(sets):
    """The pictures are replaced by the masks of wheels in red and of all parts in green."""
    scenes = sets[0]
    masks = scenes.masks
    wheel = PARTS.index("wheel")
    pictures = torch.stack([masks == wheel, masks > 0, masks < 0], dim=1).byte() * 255
    model = nn.Sequential(
        conv([[[[1]], [[0]], [[0]]], [[[0]], [[1]], [[0]]]]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model.classes, model.image_size = ["Bike", "Car"], 64
    found = observe_filters(model, ["1"], scenes._replace(pixels=pictures), "wheel")
    assert len(found) == 6 and all(values.shape == (2,) for values in found.values())
    for name in ("average precision for the wheel", "correlation with the wheel"):
        assert found[name][0] > 1.5 * found[name][1]
    assert found["mean brightness"][1] > found["mean brightness"][0]


def test_drawn_sets_are_new_and_those_of_photographs_are_halves_of_test(workspace, own_zips):
    shares = {"val_share": 0.1, "test_share": 0.3, "seed": 0}
    record = prepare(str(own_zips), sample_images=1, **shares)
    test = Pictures(settings.DATASETS / "Test", 32)
    choose, report, parts = to_choose_and_report(record, test, 100)
    assert not parts and not choose.masks.any()
    assert choose.labels.bincount().tolist() == report.labels.bincount().tolist() == [3, 3]
    pictures = [{tuple(image.flatten().tolist()) for image in part.pixels} for part in (choose, report)]
    assert not pictures[0] & pictures[1]
    record.dataset = "sample"
    choose, report, parts = to_choose_and_report(record, test, 2)
    assert choose.masks.any() and "wheel" in parts and (choose.pixels != report.pixels).any()


def test_filters_are_asked_in_the_order_of_their_layers(sets):
    network = evidence.untrained(BikeCarCNN(image_size=64), sets[0].pixels)
    answers = ask([network], {"whole": {}}, responses(["relu1", "relu7"]), 2)["whole"]
    assert answers.shape == (1, 4, 16 + 128)
