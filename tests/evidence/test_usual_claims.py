"""Common claims as numbers of networks, observations of filters, and the two sets of pictures."""

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
from recognizer.evidence.usual_claims import CLAIMS, claim_numbers, claim_numbers_by_kind, usual_claims

from .networks import conv

LAYERS = ["relu1", "relu2", "relu6", "relu7"]


@pytest.fixture(scope="module")
def sets():
    return [redraw(["Bike", "Car"], 6, 64, first=first) for first in (100, 200)]


def test_every_claim_has_a_number_for_each_network_and_a_row(sets):
    networks = [evidence.untrained(BikeCarCNN(image_size=64), sets[0].pixels, seed) for seed in range(2)]
    numbers = claim_numbers_by_kind({"trained": networks, "untrained": networks}, LAYERS, *sets)
    assert set(numbers["trained"][0]) == set(CLAIMS) and numbers["trained"] == numbers["untrained"]
    assert all(np.isfinite([*network.values()]).all() for networks in numbers.values() for network in networks)
    claims = usual_claims(numbers)
    assert [claim.claim for claim in claims] == [claim for claim, _, _ in CLAIMS.values()]
    assert {claim.verdict for claim in claims} == {TOO_FEW}
    assert len(evidence.claim_rows(claims, ["untrained"])) == len(CLAIMS)


def test_claims_about_parts_need_masks(sets):
    network = evidence.untrained(BikeCarCNN(image_size=64), sets[0].pixels)
    blank = [scenes._replace(masks=torch.zeros_like(scenes.masks)) for scenes in sets]
    numbers = claim_numbers(network, LAYERS, *blank)
    assert set(CLAIMS) - set(numbers) == {"alike", "wheel", "window"}  # a single network has no other to compare with
    assert len(usual_claims({"trained": [numbers], "untrained": [numbers]})) == len(CLAIMS) - 3


def test_observations_prefer_a_filter_made_for_the_part(sets):
    """In each picture, red is the mask of the wheels and green is the mask of all parts."""
    scenes = sets[0]
    masks = scenes.masks
    wheel = PARTS.index("wheel")
    pictures = torch.stack([masks == wheel, masks > 0, masks < 0], dim=1).byte() * 255
    model = nn.Sequential(
        conv([[[[1]], [[0]], [[0]]], [[[0]], [[1]], [[0]]]]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model.classes, model.image_size = ["Bike", "Car"], 64
    observations = observe_filters(model, ["1"], scenes._replace(pixels=pictures), "wheel")
    assert len(observations) == 6 and all(values.shape == (2,) for values in observations.values())
    for name in ("average precision for the wheel", "correlation with the wheel"):
        assert observations[name][0] > 1.5 * observations[name][1]
    assert observations["mean brightness"][1] > observations["mean brightness"][0]


def test_drawn_sets_are_new_drawings_and_photographs_are_halves_of_test(workspace, own_zips):
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


def test_responses_of_several_layers_are_concatenated(sets):
    network = evidence.untrained(BikeCarCNN(image_size=64), sets[0].pixels)
    answers = ask([network], {"whole": {}}, responses(["relu1", "relu7"]), 2)["whole"]
    assert answers.shape == (1, 4, 16 + 128)
