"""Captured outputs equal PyTorch's own for every image, for any layout, type and wrapper."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from recognizer import BikeCarCNN, capture, layer_names
from recognizer.maps.activations import layer_table
from recognizer.maps.hooks import hooked
from recognizer.maps.layers import input_shape
from recognizer.settings import Problem


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18()


class Calls(nn.Module):
    """A layer that calls `function`, so that its output can have any layout and type."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs, **named):
        return self.function(*inputs, **named)


def ending_in(function) -> nn.Sequential:
    """A convolution followed by the layer '1', which calls `function`."""
    return nn.Sequential(nn.Conv2d(3, 4, 1), Calls(function)).eval()


def hook_count(model: nn.Module) -> int:
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.modules())


# --- ordinary layers ---


def test_captured_maps_equal_those_of_torchvisions_extractor(resnet):
    names = ["conv1", "bn1", "layer1.1.bn2", "layer2.0.conv1", "layer4", "avgpool", "fc"]
    images = torch.rand(2, 3, 64, 64)
    captured = capture(resnet, names, images)
    reference = copy.deepcopy(resnet).eval()
    for layer in reference.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # otherwise the ReLU overwrites the extractor's bn1
    with torch.no_grad():
        expected = create_feature_extractor(reference, names)(images)
    assert list(captured) == names
    for name in names:
        assert captured[name].dtype == np.float32
        np.testing.assert_array_equal(captured[name], expected[name].numpy())


def test_an_in_place_relu_does_not_overwrite_a_captured_output():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    captured = capture(model, ["0", "1"], torch.randn(1, 3, 8, 8))
    assert captured["0"].min() < 0
    np.testing.assert_array_equal(np.maximum(captured["0"], 0), captured["1"])


@pytest.mark.parametrize(
    "overwrite",
    [
        lambda x: x.relu_(),
        lambda x: x[:, 1].zero_(),
        lambda x: torch.clamp(x, 0, 1, out=x),
        lambda x: torch._foreach_mul_([x, x.new_ones(2)], 2),
        lambda x: x.data.fill_(7),
        lambda x: x.permute(0, 2, 3, 1).copy_(torch.zeros(2, 8, 8, 4)),
        lambda x: x.resize_(2, 4, 9, 9).fill_(3),
    ],
)
def test_in_place_operations_do_not_change_captured_outputs(overwrite):
    model = ending_in(lambda x: (overwrite(x), x)[1])
    images = torch.randn(2, 3, 8, 8)
    captured = capture(model, ["0", "1"], images)
    np.testing.assert_array_equal(captured["0"], model[0](images).detach().numpy())
    assert not np.array_equal(captured["0"], captured["1"])


def test_captured_arrays_share_no_memory_with_each_other_or_with_the_model():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Identity(), Calls(lambda x: x[:1]), nn.Flatten()).eval()
    model.append(Calls(lambda x: model[0].weight))
    weight = model[0].weight.detach().clone()
    captured = capture(model, ["0", "1", "2", "3", "4"], torch.rand(1, 3, 8, 8))
    values = {name: array.copy() for name, array in captured.items()}
    for name, array in captured.items():
        np.testing.assert_array_equal(array, values[name])
        array[:] = np.nan
    assert torch.equal(model[0].weight, weight)


def test_a_model_that_overwrites_its_input_gets_a_copy():
    model = nn.Sequential(Calls(lambda x: x.sub_(0.5)), nn.Conv2d(3, 2, 1))
    images = torch.rand(2, 3, 8, 8)
    before = images.clone()
    first, again = (capture(model, "1", images)["1"] for _ in range(2))
    assert torch.equal(images, before)
    np.testing.assert_array_equal(first, again)


def test_a_module_that_runs_twice_gives_both_outputs(resnet):
    """A ResNet block uses one ReLU twice; torchvision's extractor calls them relu and relu_1."""
    images = torch.rand(1, 3, 64, 64)
    captured = capture(resnet, "layer1.0.relu", images)
    with torch.no_grad():
        expected = create_feature_extractor(resnet.eval(), ["layer1.0.relu", "layer1.0.relu_1"])(images)
    np.testing.assert_array_equal(captured["layer1.0.relu"], expected["layer1.0.relu"].numpy())
    np.testing.assert_array_equal(captured["layer1.0.relu#2"], expected["layer1.0.relu_1"].numpy())


def test_no_hook_remains(resnet):
    before = hook_count(resnet)
    capture(resnet, ["conv1", "layer3.0.conv2"], torch.rand(1, 3, 64, 64))
    assert hook_count(resnet) == before
    with pytest.raises(Problem, match="RuntimeError: .*to have 3 channels, but got 5"):
        capture(resnet, ["conv1"], torch.rand(1, 5, 64, 64))
    assert hook_count(resnet) == before
    with pytest.raises(ValueError):
        capture(resnet, ["conv1", "no such layer"], torch.rand(1, 3, 64, 64))
    assert hook_count(resnet) == before
    with hooked(resnet, ["conv1"]):
        assert hook_count(resnet) == before + 1
    assert hook_count(resnet) == before


def test_capture_leaves_the_model_as_it_was():
    model = BikeCarCNN(image_size=32).train()
    model.bn2.eval()
    statistics = model.bn1.running_mean.clone()
    capture(model, "conv3", torch.rand(2, 3, 32, 32))
    assert model.training and model.bn1.training and not model.bn2.training
    assert torch.equal(model.bn1.running_mean, statistics)


def test_layer_names_and_the_errors_for_unknown_ones(resnet):
    assert layer_names(BikeCarCNN(), nn.Conv2d) == [f"conv{i}" for i in range(1, 8)]
    assert layer_names(resnet) == [name for name, _ in resnet.named_modules() if name]
    with pytest.raises(ValueError, match="no layer 'conv9'.*'conv"):
        capture(BikeCarCNN(image_size=32), "conv9", torch.rand(3, 32, 32))
    with pytest.raises(ValueError, match="layer2.0.conv1"):
        capture(resnet, "layer2.conv1", torch.rand(3, 64, 64))
    with pytest.raises(Problem, match="pass its name, 'layer2.0.conv1'"):
        capture(resnet, resnet.layer2[0].conv1, torch.rand(3, 64, 64))
    with pytest.raises(Problem, match="no layer 0 .*'0'"):
        capture(nn.Sequential(nn.Conv2d(3, 1, 1)), 0, torch.rand(3, 4, 4))


def test_a_shared_layer_can_be_captured_under_all_its_names():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    model.add_module("other", model[1])
    captured = capture(model, ["1", "other"], torch.rand(1, 3, 4, 4))
    np.testing.assert_array_equal(captured["1"], captured["other"])


# --- layouts: the image is not always first ---


class Layouts(nn.Module):
    """Patches of 4×4 pixels in the layouts that networks use."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 4, stride=4)
        self.tokens_first = nn.LSTM(6, 5)  # batch_first=False
        self.windows = Calls(lambda x: x.unflatten(1, (-1, 8)).flatten(0, 1))  # as in Swin
        self.windows_outside = Calls(lambda x: x.unflatten(1, (-1, 8)).transpose(0, 1).flatten(0, 1))
        self.proposals = Calls(lambda x: x[x[..., 0] > 0])
        self.positions = Calls(lambda x: torch.arange(x.shape[1], dtype=torch.float32)[:, None].expand(-1, 3))

    def forward(self, images):
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        for layer in (self.windows, self.windows_outside, self.proposals, self.positions):
            layer(tokens)
        return self.tokens_first(tokens.transpose(0, 1))[0]

    def truth(self, images):
        """The values of each image, computed one image at a time."""
        tokens = [self.patch(image[None]).flatten(2)[0].T for image in images]
        windows = torch.stack([of_image.unflatten(0, (-1, 8)) for of_image in tokens])
        steps = torch.stack([self.tokens_first(of_image[:, None])[0][:, 0] for of_image in tokens])
        return {"windows": windows, "windows_outside": windows, "tokens_first": steps}


@pytest.mark.parametrize("count", [1, 2, 3, 16])  # an image has 16 tokens, so 16 images are ambiguous
def test_every_image_gets_its_own_values(count):
    torch.manual_seed(0)
    model, images = Layouts().eval(), torch.rand(count, 3, 16, 16)
    with torch.no_grad():
        truth = model.truth(images)
    captured = capture(model, list(truth), images)
    for name, expected in truth.items():
        np.testing.assert_allclose(captured[name], expected.numpy(), atol=1e-5, err_msg=name)


def test_an_output_that_cannot_be_divided_is_whole_for_one_image_and_an_error_for_several():
    torch.manual_seed(0)
    model, images = Layouts().eval(), torch.rand(3, 3, 16, 16)
    tokens = model.patch(images[:1]).flatten(2)[0].T
    captured = capture(model, ["proposals", "positions"], images[0])
    np.testing.assert_allclose(captured["proposals"][0], tokens[tokens[:, 0] > 0].detach().numpy(), atol=1e-5)
    assert captured["positions"].shape == (1, 16, 3)
    for name in ("proposals", "positions"):
        with pytest.raises(Problem, match=f"{name}.*one image at a time"):
            capture(model, name, images)


def test_a_layer_that_drops_dimensions_of_length_one():
    """squeeze() also removes the image dimension of a batch of one."""
    model, images = ending_in(lambda x: x.mean(dim=(2, 3), keepdim=True).squeeze()), torch.rand(4, 3, 5, 5)
    expected = model[0](images).mean(dim=(2, 3)).detach().numpy()
    np.testing.assert_allclose(capture(model, "1", images)["1"], expected, rtol=1e-5)
    np.testing.assert_allclose(capture(model, "1", images[0])["1"], expected[:1], rtol=1e-5)


def test_tokens_first_in_a_model_that_takes_only_one_image():
    def tokens_first(x):
        assert len(x) == 1
        return x.flatten(2).permute(2, 0, 1)

    image = torch.rand(3, 5, 5)
    model = ending_in(tokens_first)
    expected = model[0](image[None]).flatten(2).transpose(1, 2).detach()
    np.testing.assert_allclose(capture(model, "1", image)["1"], expected, rtol=1e-6)


# --- outputs that are not float tensors ---


def test_complex_outputs_keep_their_imaginary_part():
    captured = capture(ending_in(lambda x: torch.complex(x, -x)), ["0", "1"], torch.rand(2, 3, 4, 4))
    assert captured["1"].dtype == np.complex64
    np.testing.assert_array_equal(captured["1"], captured["0"] - 1j * captured["0"])


@dataclass
class Result:
    hidden: torch.Tensor
    pooled: torch.Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: (x, None),
        lambda x: {"out": x},
        lambda x: [[x]],
        lambda x: ([x], {}),
        lambda x: (None, x),
    ],
)
def test_a_single_tensor_inside_a_container_is_captured(wrap):
    model, image = ending_in(wrap), torch.rand(1, 3, 4, 4)
    captured = capture(model, ["0", "1"], image)
    np.testing.assert_array_equal(captured["0"], captured["1"])


@pytest.mark.parametrize(
    ("wrap", "keys"),
    [
        (lambda x: (x, 2 * x), ["1", "1[1]"]),
        (lambda x: (x, (3 * x, 2 * x)), ["1", "1[1][0]", "1[1][1]"]),
        (lambda x: Result(x, 2 * x), ["1", "1[pooled]"]),
        (lambda x: {"out": x, "aux": 2 * x}, ["1[out]", "1[aux]"]),
        (lambda x: [x, 2 * x[:, :2]], ["1[0]", "1[1]"]),
        (lambda x: (x, 2 * x, x.mean()), ["1", "1[1]"]),  # a loss is one value for all images
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_every_tensor_of_an_output_has_a_name(wrap, keys, count):
    images = torch.rand(count, 3, 4, 4)
    captured = capture(ending_in(wrap), ["0", "1"], images)
    assert list(captured) == ["0", *keys]
    np.testing.assert_array_equal(captured[keys[0]], captured["0"])
    last = captured[keys[-1]]
    np.testing.assert_array_equal(last, 2 * captured["0"][:, : last.shape[1]])


def test_the_states_of_a_recurrent_layer_are_assigned_to_their_images():
    model = nn.Sequential(nn.Flatten(2), nn.LSTM(16, 5, num_layers=2, batch_first=True)).eval()
    images = torch.rand(3, 4, 4, 4)
    captured = capture(model, "1", images)
    output, (hidden, _) = model(images)
    np.testing.assert_allclose(captured["1"], output.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(captured["1[1][0]"], hidden.transpose(0, 1).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: None, "outputs nothing"),
        (lambda x: "cat", "outputs a str, not a tensor"),
        (lambda x: x.mean(), "outputs a single number"),
    ],
)
def test_an_output_without_a_tensor_per_image_raises_a_clear_error(function, message):
    with pytest.raises(Problem, match=message):
        capture(ending_in(function), "1", torch.rand(1, 3, 4, 4))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("function", "tolerance"),
    [
        (lambda x: x.bfloat16(), 1e-2),
        (lambda x: x.half(), 1e-3),
        (lambda x: x.double(), 0),
        (lambda x: x.to_sparse(), 0),
        (lambda x: x.to(memory_format=torch.channels_last), 0),
        (lambda x: torch.quantize_per_tensor(x, 0.01, 128, torch.quint8), 6e-3),
        (lambda x: torch.complex(x, -x), 0),
    ],
)
def test_outputs_of_any_type_become_float32_or_complex64(function, tolerance):
    model = ending_in(lambda x: function(x.clamp(-1, 1)))
    captured = capture(model, ["0", "1"], torch.rand(2, 3, 4, 4))
    assert captured["1"].dtype == (np.complex64 if np.iscomplexobj(captured["1"]) else np.float32)
    np.testing.assert_allclose(captured["1"].real, captured["0"].clip(-1, 1), atol=tolerance)
    if np.iscomplexobj(captured["1"]):
        np.testing.assert_array_equal(captured["1"].imag, -captured["1"].real)


def test_booleans_and_integers_become_floats():
    image = torch.rand(1, 3, 4, 4)
    captured = capture(ending_in(lambda x: x > 0), ["0", "1"], image)
    np.testing.assert_array_equal(captured["1"], (captured["0"] > 0).astype(np.float32))
    assert capture(ending_in(lambda x: x.argmax(dim=1)), "1", image)["1"].dtype == np.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_images_are_converted_to_the_dtype_of_the_weights(dtype):
    model = nn.Sequential(nn.Conv2d(3, 2, 3)).to(dtype)
    model.register_buffer("count", torch.zeros(1, dtype=torch.int64))
    assert capture(model, "0", torch.rand(1, 3, 8, 8))["0"].dtype == np.float32


def test_no_images_and_integer_images_raise_a_clear_error():
    model = nn.Sequential(nn.Conv2d(3, 2, 1))
    with pytest.raises(Problem, match="at least one"):
        capture(model, "0", torch.rand(0, 3, 4, 4))
    with pytest.raises(Problem, match="torch.uint8"):
        capture(model, "0", torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(Problem, match="array of float32"):
        capture(model, "0", np.zeros((1, 3, 4, 4), np.float32))


# --- models ---


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()


def test_compiled_models_that_ran_before():
    images = torch.rand(2, 3, 8, 8)
    expected = capture(small(), "2", images)["2"]
    outside, inside = torch.compile(small(), backend="eager"), small()
    inside.compile(backend="eager")
    part = nn.Sequential(torch.compile(small(), backend="eager"))
    for model, names in ((outside, ["2", "_orig_mod.2"]), (inside, ["2"]), (part, ["0.2", "0._orig_mod.2"])):
        with torch.no_grad():
            model(images)
        for name in names:
            (captured,) = capture(model, name, images).values()
            np.testing.assert_allclose(captured, expected, rtol=1e-6)


def test_a_model_wrapped_for_several_gpus():
    images = torch.rand(2, 3, 8, 8)
    model = nn.DataParallel(small())
    for name in ("2", "module.2"):
        np.testing.assert_array_equal(capture(model, name, images)[name], capture(model.module, "2", images)["2"])
    assert layer_names(model, nn.Conv2d) == ["module.0", "module.2"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_error_for_a_converted_model_names_the_tool_that_converted_it():
    images = torch.rand(1, 3, 8, 8)
    scripted = torch.jit.script(small())
    for model in (torch.jit.trace(small(), images), scripted, torch.jit.freeze(scripted)):
        with pytest.raises(Problem, match="torch.jit"):
            capture(model, "0", images)
    with pytest.raises(Problem, match="torch.jit"):
        capture(nn.Sequential(scripted), "0", images)
    with pytest.raises(Problem, match="torch.export"):
        capture(torch.export.export(small(), (images,)).module(), "0", images)
    graph = torch.fx.symbolic_trace(nn.Sequential(small()))
    np.testing.assert_array_equal(capture(graph, "0.2", images)["0.2"], capture(small(), "2", images)["2"])
    for model, message in ((BikeCarCNN, "the class BikeCarCNN"), ("model.pt", "of type str"), (None, "NoneType")):
        with pytest.raises(Problem, match=message):
            capture(model, "conv1", images)


def test_errors_for_layers_that_do_not_run_or_have_no_weights():
    image = torch.rand(1, 3, 8, 8)
    model = small()
    model.branch = Calls(lambda x: x)
    model.branch.forward = lambda x: x
    model.idle = nn.Sequential(nn.Linear(2, 2))
    model.forward = lambda x: model[2](model[1](model[0](x)))
    with pytest.raises(Problem, match="does not call layer 'idle'.*'idle.0'"):
        capture(model, "idle", image)
    with pytest.raises(Problem, match="does not call layer 'branch'.*another layer_name"):
        capture(model, "branch", image)
    with pytest.raises(Problem, match="lazy"):
        capture(nn.Sequential(nn.LazyConv2d(2, 3)), "0", image)
    with pytest.raises(Problem, match="meta"):
        capture(small().to("meta"), "0", image)


def test_a_layer_that_is_called_by_keyword():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Calls(lambda *, pixels, twice: pixels * (2 if twice else 1))

        def forward(self, images):
            return self.inner(pixels=images, twice=True)

    image = torch.rand(1, 3, 4, 4)
    np.testing.assert_array_equal(capture(Outer(), "inner", image)["inner"], 2 * image.numpy())


def test_the_error_of_a_forward_pass_is_quoted_and_chained():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, images, words):
            return self.layer(images)

    with pytest.raises(Problem, match="missing 1 required positional argument: 'words'.*wrapper") as raised:
        capture(Words(), "layer", torch.rand(1, 3, 4, 4))
    assert isinstance(raised.value.__cause__, TypeError)
    with pytest.raises(Problem, match="1×3×128×128.*it takes 64×64 pixels"):
        capture(BikeCarCNN(image_size=64), "conv1", torch.rand(3, 128, 128))


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), torch.OutOfMemoryError("no room")])
def test_running_out_of_memory_is_not_reported_as_wrong_input(error):
    def fail(x):
        raise error

    with pytest.raises(type(error)):
        capture(ending_in(fail), "0", torch.rand(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("attribute", "value", "shape"),
    [
        ("image_size", 96, (3, 96, 96)),
        ("image_size", (48, 64), (3, 48, 64)),
        ("img_size", [32, 40], (3, 32, 40)),
        ("config", type("Config", (), {"image_size": 56}), (3, 56, 56)),
        ("pretrained_cfg", {"input_size": (3, 160, 192)}, (3, 160, 192)),
        ("image_size", "large", (3, 224, 224)),
    ],
)
def test_the_image_size_that_a_model_states(attribute, value, shape):
    model = nn.Sequential(nn.Conv2d(3, 2, 1))
    setattr(model, attribute, value)
    assert input_shape(model) == shape
    assert input_shape(nn.DataParallel(nn.Sequential(model))) == shape
    model[0] = nn.Conv2d(1, 2, 1)
    assert input_shape(model) == (1, *shape[1:])


# --- the table of layers ---


@pytest.mark.parametrize("where", [{"dtype": torch.float64}, {"device": "meta"}])
def test_layer_table_leaves_device_dtype_and_mode_unchanged(where):
    model = BikeCarCNN(image_size=64).to(**where).train()
    model.bn2.eval()
    rows = layer_table(model)
    assert rows == layer_table(BikeCarCNN(image_size=64))
    assert rows[0] == ("conv1", "Conv2d", (16, 64, 64), 3 * 16 * 49)
    assert sum(row[3] for row in rows) == sum(parameter.numel() for parameter in model.parameters())
    assert model.bn1.training and not model.bn2.training
    assert hook_count(model) == 0


def test_layer_table_has_one_row_per_call_of_a_shared_layer():
    pool = nn.MaxPool2d(2)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), pool, nn.ReLU(), pool)
    model.image_size = 8
    assert [(row[0], row[2], row[3]) for row in layer_table(model)] == [
        ("0", (2, 8, 8), 4),
        ("1", (2, 4, 4), 0),
        ("2", (2, 4, 4), 0),
        ("1", (2, 2, 2), 0),
    ]


def test_infinite_values_do_not_change_which_image_a_window_belongs_to():
    """Masked attention scores are minus infinity. In this output, window 1 of all images precedes window 2."""

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.masked = Calls(lambda x: x.unflatten(1, (2, -1)).transpose(0, 1).flatten(0, 1))

        def forward(self, images):
            values = images.flatten(1).clone()
            values[:, 0] = -torch.inf
            return self.masked(values)

    torch.manual_seed(0)
    model, images = Windows(), torch.rand(3, 3, 4, 4)
    together = capture(model, "masked", images)["masked"]
    alone = [capture(model, "masked", image)["masked"][0] for image in images]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_a_model_with_only_complex_weights_gets_real_images():
    class Fourier(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=torch.complex64))
            self.same = nn.Identity()

        def forward(self, images):
            return self.same(torch.fft.irfft2(torch.fft.rfft2(images) * self.weight))

    images = torch.rand(1, 3, 8, 8)
    np.testing.assert_allclose(capture(Fourier(), "same", images)["same"], images.numpy(), atol=1e-6)
