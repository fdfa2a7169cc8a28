"""Networks without one filter, compared with planted filters and captum."""

import numpy as np
import pytest
import torch
from captum.attr import LayerFeatureAblation
from torch import nn
from torch.nn import functional

from recognizer import capture
from recognizer.evidence.ablation import Ablation, ablate, accuracy_without
from recognizer.settings import Problem

from .networks import conv, planted


@pytest.mark.parametrize("layer_name", ["conv", "relu"])
def test_ablation_finds_the_only_filter_that_matters(red_or_not, layer_name):
    pixels, labels = red_or_not
    ablation = ablate(planted(), layer_name, pixels, labels)
    assert ablation.baseline_correct.all()
    assert ablation.flips.tolist() == [0.5, 0, 0, 0]  # without red, every answer is class 0
    assert ablation.change[0] > 0.5 and np.abs(ablation.change[1:]).max() == 0


def test_changes_of_opposite_sign_do_not_cancel():
    """One filter supports one class and opposes the other; another filter does nothing. Log-odds are 2 and 4."""
    whole = np.array([2.0, 2, 4, 4], np.float32)
    without = np.array([[1.0, 3, 3, 5], [2, 2, 4, 4]], np.float32)
    ablation = Ablation(without, without > 0, whole, whole > 0)
    assert ablation.drops.mean(axis=0).tolist() == [0, 0]
    assert ablation.change.tolist() == [pytest.approx(1 / 3), 0]


def test_accuracy_falls_as_more_filters_are_set_to_zero(red_or_not):
    pixels, labels = red_or_not
    curves = {
        order: accuracy_without(planted(), "relu", pixels, labels, np.array(order), [0, 1, 3, 4])
        for order in ((0, 1, 2, 3), (3, 2, 1, 0))
    }
    assert curves == {(0, 1, 2, 3): [1, 0.5, 0.5, 0.5], (3, 2, 1, 0): [1, 1, 1, 0.5]}


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16 if supported"])
def rounding(request, monkeypatch):
    """The tolerated error of a change in the answers, as a share of that change."""
    monkeypatch.setenv("BFLOAT16", str(int(request.param)))
    return 1e-2 if request.param else 1e-6


def test_setting_a_filter_to_its_mean_gives_the_answer_to_the_mean_image(red_or_not, rounding):
    pixels, labels = red_or_not
    ablation = ablate(planted(), "relu", pixels, labels, to="mean")
    # Every image then gets the answer of the mean image.
    mean = (pixels.float() / 255).mean(dim=(0, 2, 3))
    expected = ((20 * mean[0] - 10) * (2 * labels - 1)).numpy()
    change = np.abs(ablation.baseline_log_odds - expected).max()
    assert np.allclose(ablation.log_odds[0], expected, atol=1e-5 + rounding * change)


class Branching(nn.Module):
    """In-place steps, a shortcut around a convolution, and groups: all that can go wrong when steps run again."""

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
    """Captum runs the whole network once per filter.

    Here it runs a twin without in-place steps, because they would mislead it.
    """
    torch.manual_seed(1)
    model, twin = Branching(inplace=True).eval(), Branching(inplace=False).eval()
    model.bn.running_mean.normal_()
    twin.load_state_dict(model.state_dict())
    pixels, labels = torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8), torch.arange(40) % 3
    ablation = ablate(model, layer_name, pixels, labels, to=to)
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
        rises = np.logaddexp(0, -ablation.log_odds[number]) - np.logaddexp(
            0, -ablation.baseline_log_odds
        )  # from log-odds to the loss
        assert np.allclose(rises, expected, atol=1e-5 + rounding * np.abs(expected).max())


def test_a_network_with_one_logit_has_the_ablation_of_its_twin_with_two(red_or_not):
    """The first of the two logits is zero."""
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
    ablation = ablate(model, "relu1", pixels, labels)
    p = model(pixels.float() / 255).softmax(dim=1)
    of_truth = p[torch.arange(30), labels].detach()
    assert np.allclose(ablation.baseline_log_odds, torch.logit(of_truth), atol=1e-4)
    assert (ablation.baseline_correct == (p.argmax(dim=1) == labels).numpy()).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_ablation_of_a_network_in_another_precision(red_or_not, dtype):
    pixels, labels = red_or_not
    ablation, expected = (
        ablate(model, "relu", pixels, labels, to="mean") for model in (planted().to(dtype), planted())
    )
    np.testing.assert_allclose(ablation.log_odds, expected.log_odds, atol=0.1)


def test_ablation_leaves_the_model_as_it_was(network, pixels):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ablate(network, "relu6", pixels[:8], torch.zeros(8, dtype=torch.long))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.eval()


def test_an_unknown_layer_is_an_error_that_names_the_closest(network, pixels):
    with pytest.raises(Problem, match="'relu9'.*'relu8'"):
        ablate(network, "relu9", pixels, torch.zeros(40, dtype=torch.long))
