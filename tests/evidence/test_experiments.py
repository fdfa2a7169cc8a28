"""Experiments on hand-built networks with known answers."""

import numpy as np
import pytest
import torch
from torch import nn

from recognizer.drawings import draw, nothing, without
from recognizer.evidence.experiments import BATCH, ask, falls_without, log_odds, redraw, responses, versions
from recognizer.evidence.total_effects import effects_by_layer, share_of_classes, total_effect
from recognizer.settings import Problem


class Brightness(nn.Module):
    """The log-odds of a car are the mean of the picture, so brighter pictures are more likely called «Car»."""

    classes, image_size = ["Bike", "Car"], 32

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.sign = nn.Parameter(torch.tensor(sign))

    def forward(self, x):
        mean = self.sign * self.relu(x).mean(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(mean), mean], dim=1)


def test_changes_do_not_alter_which_scenes_are_drawn():
    whole, empty = (redraw(["Bike", "Car"], 3, 32, change, first=40) for change in ({}, {"edit": nothing}))
    assert whole.pixels.shape == (6, 3, 32, 32) and whole.pixels.dtype == torch.uint8
    assert whole.labels.tolist() == [0, 0, 0, 1, 1, 1] and whole.matched.all()
    assert whole.masks.shape == (6, 64, 64) and whole.masks.any() and not empty.masks.any()
    expected = draw("Car", 41).image.mean()
    assert whole.pixels[4].float().mean() == pytest.approx(expected, abs=2)
    assert (whole.pixels != empty.pixels).any()


def test_log_odds_are_those_of_the_true_class():
    pixels = torch.full((2, 3, 32, 32), 204, dtype=torch.uint8)
    np.testing.assert_allclose(log_odds(Brightness(), pixels, torch.tensor([0, 1])), [-0.8, 0.8], rtol=1e-5)


def test_answers_come_per_question_and_network_and_are_nan_for_unmatched_controls():
    questions = {"whole": {}, "gone": {"edit": nothing}, "control": {"edit": nothing, "control": True}}
    networks = [Brightness(), Brightness(-1.0)]
    answers = ask(networks, questions, log_odds, 3)
    assert {name: values.shape for name, values in answers.items()} == dict.fromkeys(questions, (2, 6))
    np.testing.assert_array_equal(answers["whole"][0], -answers["whole"][1])
    assert np.isnan(answers["control"]).all()  # no vehicle pixels are left to remove
    cars = ask(networks[:1], {"whole": {}}, log_odds, 3, classes=["Car"])["whole"]
    np.testing.assert_array_equal(cars[0], answers["whole"][0, 3:])


def test_responses_of_layers_are_concatenated():
    answers = ask([Brightness()], {"whole": {}}, responses(["relu", "relu"]), 2)["whole"]
    means = redraw(["Bike", "Car"], 2, 32, first=3_500_000).pixels.float().mean(dim=(2, 3)) / 255
    np.testing.assert_allclose(answers[0], np.tile(means, 2), rtol=1e-4)


def test_a_class_that_cannot_be_drawn_is_an_error():
    with pytest.raises(Problem, match="draws Bike, Car, Cat, Dog, not Plane"):
        redraw(["Bike", "Plane"], 1, 32)


def test_memory_does_not_grow_with_the_number_of_drawings():
    sizes = []
    ask([Brightness()], {"whole": {}}, lambda model, pixels, labels: sizes.append(len(pixels)) or labels, 40)
    assert max(sizes) == BATCH and sum(sizes) == 80


def test_total_effects_of_a_sum_are_the_variance_shares_of_its_terms():
    """f = 3a + b with independent a and b of variance 1: a is involved in 0.9 of the variance, b in 0.1."""
    random = np.random.default_rng(0)
    a, b, other_a, other_b = random.standard_normal((4, 20_000))
    values = (3 * a + b)[:, None]
    assert total_effect(values, (3 * other_a + b)[:, None])[0] == pytest.approx(0.9, abs=0.03)
    assert total_effect(values, (3 * a + other_b)[:, None])[0] == pytest.approx(0.1, abs=0.01)
    assert total_effect(values, values)[0] == 0
    assert np.isnan(total_effect(np.ones((5, 1)), np.ones((5, 1)))[0])


def test_the_share_of_classes_agrees_with_an_analysis_of_variance():
    values, labels = np.array([[0.0, 1], [2, 1], [4, 1], [6, 1]]), np.array([0, 0, 1, 1])
    shares = share_of_classes(values, labels)
    assert shares[0] == pytest.approx(16 / 20) and np.isnan(shares[1])


def test_falls_are_differences_of_log_odds():
    model = Brightness()
    falls = falls_without(model, "Bike", ["wheel", "saddle"], 4, first=50)
    gone = {"edit": without("wheel")}
    plain, edited, control = (
        redraw(["Bike"], 4, model.image_size, change, 50) for change in ({}, gone, gone | {"control": True})
    )
    matched = control.matched.numpy()
    whole, without_wheels = (log_odds(model, scenes.pixels, scenes.labels)[matched] for scenes in (plain, edited))
    assert list(falls) == ["wheel", "saddle"] and len(falls["wheel"][0]) == matched.sum() > 0
    np.testing.assert_allclose(falls["wheel"][0], whole - without_wheels, atol=1e-6)
    assert np.abs(falls["wheel"][1]).max() > 0


def test_versions_are_sorted_by_question():
    images, captions = versions(["Bike", "Car"], 48, {"as it is": {}, "no wheels": {"edit": without("wheel")}}, 2, 50)
    assert captions == ["as it is"] * 4 + ["no wheels"] * 4 and images[0].shape == (48, 48, 3)
    plain = redraw(["Bike", "Car"], 2, 48, first=50).pixels
    assert (np.stack(images[:4]).transpose(0, 3, 1, 2) == plain.numpy()).all() and (images[4] != images[0]).any()


def test_effects_are_split_into_layers_by_their_numbers_of_filters():
    """Filter 0 responds only to the light, filters 1 and 2 respond only to the class."""
    random, labels = np.random.default_rng(0), np.repeat([0, 1], 500)
    lights = random.standard_normal((2, 1000))
    whole, other = (np.stack([light, labels, labels], axis=1)[None] for light in lights)
    effects = effects_by_layer({"whole": whole, "light": other}, [1, 2], labels, ["trained"])
    assert [round(estimate.value, 1) for estimate in effects["the class"]["trained"]] == [0, 1]
    assert [round(estimate.value, 1) for estimate in effects["the light"]["trained"]] == [1, 0]
