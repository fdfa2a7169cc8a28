"""Notebook 06: its network compared with the tutorial's, and what layers keep, for networks built by hand."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from recognizer import LayerByLayerCNN, capture
from recognizer.evidence.controls import untrained
from recognizer.evidence.graph import node_of, traced
from recognizer.evidence.receptive_field import ReceptiveField, receptive_fields
from recognizer.evidence.responses import on_grid, pooled
from recognizer.evidence.retention import (
    PENALTIES,
    found_again,
    grey_thumbnails,
    r_squared,
    reconstruct,
    retention,
    zeros_and_dead,
)
from recognizer.maps.activations import layer_table
from recognizer.network import new_network
from recognizer.network.recipe import Recipe, adamw, optimizer_and_average, rmsprop
from recognizer.network.training import probabilities_of
from recognizer.settings import Problem

random = np.random.default_rng(0)


def some_pixels(count: int, side: int = 28, seed: int = 0) -> torch.Tensor:
    """Pictures of 7×7 random colours, enlarged."""
    colours = torch.randint(0, 256, (count, 3, 7, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return colours.repeat_interleave(side // 7, dim=2).repeat_interleave(side // 7, dim=3)


class Copying(nn.Module):
    """Three layers: one keeps everything, one keeps the mean of each colour, and one keeps nothing."""

    def __init__(self):
        super().__init__()
        self.all, self.mean, self.nothing = nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.ReLU()

    def forward(self, images):
        return self.nothing(-self.mean(self.all(images)) - 1)


# --- the network, and its optimizer ---


LAYER_BY_LAYER = [  # as Keras prints it, but with the filters first
    ("conv2d_1", (32, 148, 148), 896),
    ("max_pooling2d_1", (32, 74, 74), 0),
    ("conv2d_2", (64, 72, 72), 18_496),
    ("max_pooling2d_2", (64, 36, 36), 0),
    ("conv2d_3", (128, 34, 34), 73_856),
    ("max_pooling2d_3", (128, 17, 17), 0),
    ("conv2d_4", (128, 15, 15), 147_584),
    ("max_pooling2d_4", (128, 7, 7), 0),
    ("flatten_1", (6272,), 0),
    ("dense_1", (512,), 3_211_776),
    ("dense_2", (1,), 513),
]


def test_the_network_agrees_with_the_tutorial():
    model = LayerByLayerCNN()
    assert [(name, shape, count) for name, _, shape, count in layer_table(model)] == LAYER_BY_LAYER
    assert sum(p.numel() for p in model.parameters()) == 3_453_121
    assert (model.classes, model.image_size) == (["Cat", "Dog"], 150)


def test_weights_start_as_in_keras():
    """Uniform between ± √(6 / (fan_in + fan_out)). Fans of convolutions count k×k positions (Glorot & Bengio)."""
    torch.manual_seed(0)
    model = LayerByLayerCNN()
    fans = {"conv2d_1": (27, 288), "conv2d_2": (288, 576), "conv2d_3": (576, 1152), "conv2d_4": (1152, 1152)}
    fans |= {"dense_1": (6272, 512), "dense_2": (512, 1)}
    for name, (fan_in, fan_out) in fans.items():
        layer = model.get_submodule(name)
        share = layer.weight.detach().flatten()[:20_000].numpy() / np.sqrt(6 / (fan_in + fan_out))
        assert 0.98 < np.abs(share).max() <= 1.000001
        assert stats.kstest(share, stats.uniform(-1, 2).cdf).pvalue > 0.001, name
        assert not layer.bias.any()


def test_layers_output_their_values_after_relu():
    torch.manual_seed(0)
    model = LayerByLayerCNN(image_size=46)
    with torch.no_grad():
        for layer in (model.conv2d_2, model.dense_1):
            layer.bias.uniform_(-0.1, 0.1)
    image = torch.rand(1, 3, 46, 46)
    outputs = capture(model, ["max_pooling2d_1", "conv2d_2", "flatten_1", "dense_1", "dense_2"], image)
    outputs = {name: torch.from_numpy(values) for name, values in outputs.items()}
    layer = model.conv2d_2
    expected = nn.functional.conv2d(outputs["max_pooling2d_1"], layer.weight, layer.bias).relu()
    torch.testing.assert_close(outputs["conv2d_2"], expected)
    layer = model.dense_1
    torch.testing.assert_close(outputs["dense_1"], (outputs["flatten_1"] @ layer.weight.T + layer.bias).relu())
    assert (outputs["conv2d_2"] == 0).any() and (outputs["dense_1"] == 0).any()
    torch.testing.assert_close(outputs["dense_2"], model(image))  # the logit, before the sigmoid
    assert probabilities_of(outputs["dense_2"])[0, 1] == pytest.approx(1 / (1 + np.exp(-outputs["dense_2"].item())))


def test_training_starts_from_the_weights_of_the_untrained_control(workspace):
    train, record = SimpleNamespace(classes=["Cat", "Dog"], image_size=46), SimpleNamespace(name="pets-1a2b3c")
    recipe = Recipe(num_epochs=2, batch_size=20, lr=1e-3, seed=5)
    model, run = new_network(LayerByLayerCNN, record, train, recipe, "plain")
    assert run == workspace / "logs" / "pets-1a2b3c-46px-2epochs-batch20-lr0.001-seed5-plain"
    control = untrained(model, torch.zeros(2, 3, 46, 46, dtype=torch.uint8), seed=5)
    weights = zip(model.cpu().state_dict().values(), control.state_dict().values())
    assert all(torch.equal(one, other) for one, other in weights)


def test_three_classes_or_tiny_images_are_an_error():
    with pytest.raises(Problem, match="two classes apart, and these are 3: Bike, Cat, Dog"):
        LayerByLayerCNN(["Bike", "Cat", "Dog"])
    with pytest.raises(Problem, match="Use 46 or more"):
        LayerByLayerCNN(image_size=45)


def test_rmsprop_agrees_with_keras():
    """Two steps by hand: v ← 0.9 v + 0.1 g², w ← w - lr g / √v. There is no momentum, which the schedule could add."""
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    optimizer, _ = optimizer_and_average(model, Recipe(1, lr=0.01, new_optimizer=rmsprop), total_steps=10)
    weight, squares = 2.0, 0.0
    for gradient in (3.0, -1.0):
        lr = optimizer.param_groups[0]["lr"]
        model.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        squares = 0.9 * squares + 0.1 * gradient**2
        weight -= lr * gradient / np.sqrt(squares)
        assert model.weight.item() == pytest.approx(weight, rel=1e-6)
    assert optimizer.param_groups[0]["momentum"] == 0
    optimizer, _ = optimizer_and_average(model, Recipe(1, lr=0.01, new_optimizer=adamw), total_steps=10)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)  # the schedule changes it, from high to low and back


def test_receptive_fields_agree_with_the_textbook():
    """A 3×3 window adds two steps to the size. A 2×2 pooling adds one step and doubles the step."""
    fields = receptive_fields(LayerByLayerCNN(), 150)
    size, stride = 1, 1
    for number in range(1, 5):
        size += 2 * stride
        assert fields[f"conv2d_{number}"] == ReceptiveField(size, stride, 0)
        size, stride = size + stride, 2 * stride
        assert fields[f"max_pooling2d_{number}"] == ReceptiveField(size, stride, 0)
    assert fields["flatten_1"] == fields["dense_2"] == ReceptiveField(150, 0, 0)


def test_a_convolution_with_computed_weights_counts_as_seeing_everything():
    class Computed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.after = nn.Parameter(torch.ones(3, 3, 3, 3)), nn.ReLU()

        def forward(self, images):
            return self.after(nn.functional.conv2d(images, self.weight * 2))

    assert receptive_fields(Computed(), 32)["after"] == ReceptiveField(32, 0, 0)


def test_layers_are_steps_of_the_graph():
    model = LayerByLayerCNN(image_size=46)
    graph = traced(model)
    assert node_of(graph, "conv2d_3").target == "conv2d_3"
    images = torch.rand(2, 3, 46, 46)
    assert torch.equal(graph(images), model(images))


# --- the measures ---


def test_on_grid_averages_all_layers_over_the_same_squares():
    model = nn.Sequential(nn.Identity(), nn.AvgPool2d(2), nn.Flatten())
    pixels = some_pixels(3)
    results = on_grid(model, ["0", "1", "2"], pixels, 7)
    expected = (pixels[:, :, ::4, ::4] / 255).flatten(1).numpy()
    np.testing.assert_allclose(results["0"], expected, atol=1e-6)
    np.testing.assert_allclose(results["1"], expected, atol=1e-6)
    assert results["2"].shape == (3, 3 * 14 * 14)  # a layer without maps stays as it is
    np.testing.assert_array_equal(on_grid(model, ["0"], pixels, 2)["0"], pooled(model, ["0"], pixels, 12)["0"])


def test_thumbnails_are_grey_means():
    pixels = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    pixels[0, 1, :2, 2:] = 255  # green, upper right
    np.testing.assert_allclose(grey_thumbnails(pixels, 2), [[0, 0.587, 0, 0]], atol=1e-3)


def test_reconstruction_agrees_with_ridge_regression_by_hand():
    """For each penalty, the slow version predicts each row from the others. Then it takes the best penalty."""
    values, targets = random.normal(size=(15, 4)), random.normal(size=(15, 3))
    targets[:, 0] += values[:, 1]
    test = random.normal(size=(6, 4))

    def ridge(x, y, new, penalty):
        centre, mean = x.mean(axis=0), y.mean(axis=0)
        x = x - centre
        weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - mean))
        return (new - centre) @ weights + mean

    scale, centre = values.std(axis=0).mean(), values.mean(axis=0)
    x, new = (values - centre) / scale, (test - centre) / scale
    others = [np.arange(15) != i for i in range(15)]
    errors = [
        sum(((ridge(x[o], targets[o], x[[i]], p) - targets[i]) ** 2).sum() for i, o in enumerate(others))
        for p in PENALTIES
    ]
    expected = ridge(x, targets, new, PENALTIES[int(np.argmin(errors))])
    np.testing.assert_allclose(reconstruct(values, targets, test), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dimension", [10, 300])  # fewer values than images, and more
def test_reconstruction_recovers_a_signal_but_not_noise(dimension):
    signal = random.normal(size=(160, 5))
    values = signal @ random.normal(size=(5, dimension))
    known, truth = signal[:100], signal[100:]

    def share(predicted):
        errors = [((guess - truth) ** 2).sum(axis=1) for guess in (predicted, known.mean(axis=0))]
        return r_squared(np.stack(errors, axis=1))

    assert share(reconstruct(values[:100], known, values[100:])) > 0.99
    noise = random.normal(size=(160, dimension))
    assert share(reconstruct(noise[:100], known, noise[100:])) < 0.1


def test_r_squared_by_hand():
    assert r_squared(np.array([[1.0, 4.0], [1.0, 4.0]])) == 0.75
    assert r_squared(np.array([[0.0, 4.0]])) == 1 and r_squared(np.array([[4.0, 4.0]])) == 0


def test_copies_lead_back_to_their_originals():
    originals = random.normal(size=(30, 8))
    assert found_again(originals, originals).all()
    assert found_again(originals, originals + 0.01 * random.normal(size=originals.shape)).all()
    assert not found_again(originals, originals[::-1]).any()
    assert not found_again(np.ones((5, 3)), np.ones((5, 3))).any()  # ties are failures
    by_chance = [found_again(originals, random.normal(size=originals.shape)).mean() for _ in range(50)]
    assert np.mean(by_chance) == pytest.approx(1 / 30, abs=0.02)


def test_zeros_and_dead_filters_are_counted():
    layer = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 0, 0] = 1  # the amount of red
        layer.bias.copy_(torch.tensor([0.0, -1.0, 0.5]))  # the second is always 0, the third never
    pixels = torch.zeros(40, 3, 4, 4, dtype=torch.uint8)
    pixels[-1, 0, :2] = 255  # half of the last image is red; it is in another batch than the first
    zeros, dead = zeros_and_dead(nn.Sequential(layer, nn.ReLU()), ["1"], pixels)
    np.testing.assert_allclose(zeros["1"], [2 / 3] * 39 + [0.5], atol=1e-6)
    assert dead["1"].tolist() == [False, True, False]


def test_retention_of_layers_that_keep_all_or_the_mean_or_nothing():
    model = Copying()
    model.unused = nn.Parameter(torch.zeros(1))
    train, test = some_pixels(240, seed=1), some_pixels(40, seed=2)
    labels = [torch.arange(len(pixels)) % 2 for pixels in (train, test)]
    for pixels, label in zip((train, test), labels):
        pixels[label == 1] //= 3  # the second class is darker
    layers = retention(model, ["all", "mean", "nothing"], (train, labels[0]), (test, labels[1]))
    assert list(layers) == ["the picture", "all", "mean", "nothing"]
    kept = {name: r_squared(layer.errors) for name, layer in layers.items()}
    assert kept["the picture"] == kept["all"] > 0.95 > 0.9 > kept["mean"] > 0.1 > kept["nothing"]
    assert layers["all"].found_closer.mean() > 0.9 and not layers["nothing"].found_closer.any()
    assert layers["mean"].found_mirrored.all() and layers["all"].found_mirrored.mean() < 0.7
    assert layers["mean"].probe.mean() == 1 and layers["nothing"].probe.mean() == 0.5
    assert layers["nothing"].dead.all() and (layers["nothing"].zeros == 1).all()
    assert layers["all"].thumbnails.shape == (40, 49)


def test_with_a_grid_of_one_square_all_layers_keep_only_the_mean():
    train, test = some_pixels(60, seed=1), some_pixels(20, seed=2)
    labels = [torch.arange(len(pixels)) % 2 for pixels in (train, test)]
    # These names must not collide with those inside `retention`.
    model = nn.Sequential(OrderedDict(image=nn.Identity(), picture=nn.AdaptiveAvgPool2d(1)))
    layers = retention(model, ["image", "picture"], (train, labels[0]), (test, labels[1]), grid=1)
    assert list(layers) == ["the picture", "image", "picture"]
    kept = [r_squared(layer.errors) for layer in layers.values()]
    assert kept == pytest.approx([kept[0]] * 3, abs=1e-4)
    assert all(layer.found_mirrored.all() and layer.thumbnails.shape == (20, 49) for layer in layers.values())
