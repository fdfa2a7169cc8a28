"""Networks of several classes reduced to one class against the rest, and the choice of layers in any network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from recognizer import BikeCarCNN, capture, evidence
from recognizer.evidence.ablation import ablate
from recognizer.evidence.experiments import Scenes
from recognizer.network.torchvision_networks import TorchvisionNetwork
from recognizer.settings import Problem


@pytest.fixture(scope="module")
def seven() -> nn.Module:
    torch.manual_seed(0)
    return BikeCarCNN([f"class {i}" for i in range(7)], 32).eval()


@pytest.mark.parametrize("class_name", ["", "class 0", "class 3"])
def test_the_probability_of_the_class_and_the_names_of_layers_do_not_change(seven, class_name):
    images, state = torch.rand(5, 3, 32, 32), copy.deepcopy(seven.state_dict())
    reduced = evidence.one_against_rest(seven, class_name)
    with torch.no_grad():
        of_all, of_two = seven(images).softmax(dim=1), reduced(images).softmax(dim=1)
    label = int((class_name or "class 6")[-1])
    np.testing.assert_allclose(of_two[:, 1], of_all[:, label], rtol=1e-4)
    assert reduced.classes == ["other", f"class {label}"] and len(seven.classes) == 7
    assert [name for name, _ in reduced.named_modules()] == [name for name, _ in seven.named_modules()]
    assert all(torch.equal(value, state[name]) for name, value in seven.state_dict().items())


def test_the_ablation_of_a_reduced_network_agrees_with_the_full_network(seven):
    pixels, labels = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8), torch.tensor([0, 2, 2, 5, 6, 6])
    reduced = evidence.one_against_rest(seven, "class 2")
    without = ablate(reduced, "relu3", pixels, (labels == 2).long())
    without_filter = copy.deepcopy(seven)
    without_filter.relu3.register_forward_hook(lambda layer, inputs, output: output.index_fill(1, torch.tensor([4]), 0))
    with torch.no_grad():
        chance = without_filter(pixels.float() / 255).softmax(dim=1)[:, 2].numpy()
    expected = np.log(chance / (1 - chance)) * np.where(labels == 2, 1, -1)
    np.testing.assert_allclose(without.log_odds[4], expected, atol=1e-3)


def test_a_network_of_two_classes_is_unchanged_and_an_unknown_class_is_an_error(seven):
    model = BikeCarCNN(image_size=32)
    assert evidence.one_against_rest(model) is model
    with pytest.raises(Problem, match="CLASS='Tram' is none of the network's classes: class 0, class 1"):
        evidence.one_against_rest(seven, "Tram")


def test_scenes_of_one_class_and_equally_many_of_the_others():
    labels = torch.arange(7).repeat_interleave(6)
    scenes = Scenes(torch.arange(42), labels, torch.zeros(42), torch.ones(42, dtype=torch.bool))
    of_two = evidence.scenes_of_two(scenes, [f"class {i}" for i in range(7)], "class 3")
    assert of_two.labels.tolist() == [0] * 6 + [1] * 6
    originals = labels[of_two.pixels]
    assert set(originals[6:].tolist()) == {3} and set(originals[:6].tolist()) >= {0, 6} and 3 not in originals[:6]


@pytest.mark.parametrize(
    "name, some",
    [
        ("resnet18", ["network.relu", "network.layer2.0", "network.layer4.1"]),
        ("alexnet", ["network.features.1", "network.features.11"]),
        ("squeezenet1_1", ["network.features.1"]),
    ],
)
def test_chosen_layers_of_torchvision_networks_are_never_negative_and_can_be_ablated(name, some):
    torch.manual_seed(0)
    model, pixels = TorchvisionNetwork(name, ["a", "b"], 64).eval(), torch.randint(0, 255, (3, 3, 64, 64)).byte()
    layers = evidence.layers_to_measure(model, evidence.receptive_fields(model, 64), pixels)
    assert set(some) <= set(layers) and len(layers) <= 9
    assert min(maps.min() for maps in capture(model, layers, pixels / 255).values()) >= 0
    last = ablate(model, layers[-1], pixels, torch.tensor([0, 1, 1]))
    without_filter = copy.deepcopy(model)
    without_filter.get_submodule(layers[-1]).register_forward_hook(
        lambda layer, inputs, output: output.index_fill(1, torch.tensor([7]), 0)
    )
    with torch.no_grad():
        logits = without_filter(pixels / 255)
    np.testing.assert_allclose(last.log_odds[7], (logits[:, 1] - logits[:, 0]).numpy() * [-1, 1, 1], atol=1e-3)


def test_a_transformer_has_no_maps_to_measure():
    model = TorchvisionNetwork("swin_t", ["a", "b"], 64).eval()
    with pytest.raises(Problem, match="No layer of this .* has maps after an activation function"):
        evidence.layers_to_measure(model, evidence.receptive_fields(model, 64), torch.zeros(2, 3, 64, 64).byte())
