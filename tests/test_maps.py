"""Feature maps: that they are what the layer put out, and that the files show them."""

import copy
import io

import matplotlib
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from recognizer import BikeCarCNN, LayerByLayerCNN, capture, display_image_filtered, layer_names, to_input
from recognizer.figures import animation
from recognizer.maps.activations import hooked
from recognizer.maps.colours import colour
from recognizer.maps.pictures import stack_grids
from recognizer.settings import Problem

from .conftest import picture


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18()


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "a bike (1).png"
    path.write_bytes(picture(1, size=(40, 30)))
    return path


def hook_count(model: nn.Module) -> int:
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.modules())


# --- capturing ---


def test_captured_maps_are_those_of_torchvisions_extractor(resnet):
    names = ["conv1", "bn1", "layer1.1.bn2", "layer2.0.conv1", "layer4", "avgpool", "fc"]
    images = torch.rand(2, 3, 64, 64)
    found = capture(resnet, names, images)
    reference = copy.deepcopy(resnet).eval()
    for layer in reference.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # else the extractor's bn1 is what the ReLU after it made of it
    with torch.no_grad():
        expected = create_feature_extractor(reference, names)(images)
    assert list(found) == names
    for name in names:
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], expected[name].numpy())


def test_an_in_place_relu_does_not_overwrite_what_was_captured():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    found = capture(model, ["0", "1"], torch.randn(1, 3, 8, 8))
    assert found["0"].min() < 0
    np.testing.assert_array_equal(np.maximum(found["0"], 0), found["1"])


def test_a_module_that_runs_twice_gives_both_calls(resnet):
    """A ResNet block uses one ReLU twice; torchvision's extractor calls them relu and relu_1."""
    images = torch.rand(1, 3, 64, 64)
    found = capture(resnet, "layer1.0.relu", images)
    with torch.no_grad():
        expected = create_feature_extractor(resnet.eval(), ["layer1.0.relu", "layer1.0.relu_1"])(images)
    np.testing.assert_array_equal(found["layer1.0.relu"], expected["layer1.0.relu"].numpy())
    np.testing.assert_array_equal(found["layer1.0.relu#2"], expected["layer1.0.relu_1"].numpy())


def test_no_hook_is_left_behind(resnet):
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


def test_names(resnet):
    assert layer_names(BikeCarCNN(), nn.Conv2d) == [f"conv{i}" for i in range(1, 8)]
    assert layer_names(resnet) == [name for name, _ in resnet.named_modules() if name]
    with pytest.raises(ValueError, match="no layer 'conv9'.*'conv"):
        capture(BikeCarCNN(image_size=32), "conv9", torch.rand(3, 32, 32))
    with pytest.raises(ValueError, match="layer2.0.conv1"):
        capture(resnet, "layer2.conv1", torch.rand(3, 64, 64))


class Odd(nn.Module):
    """A layer that outputs a tuple, one that outputs a dictionary, and one that never runs."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.names = Names()
        self.idle = nn.Linear(4, 4)

    def forward(self, images):
        values = self.lstm(images.flatten(2)[..., :4])[0]
        return self.names({"out": values, "twice": 2 * values})["out"]


class Names(nn.Module):
    def forward(self, values):
        return values


def test_layers_that_output_something_else_or_do_not_run():
    model, images = Odd(), torch.rand(1, 3, 8, 8)
    np.testing.assert_allclose(capture(model, "lstm", images)["lstm"], model(images).detach().numpy(), rtol=1e-5)
    with pytest.raises(Problem, match="outputs a dict of 2 tensors"):
        capture(model, "names", images)
    with pytest.raises(Problem, match="does not run"):
        capture(model, "idle", images)


def test_a_network_in_half_precision():
    model = nn.Sequential(nn.Conv2d(3, 2, 3)).to(torch.bfloat16)
    assert capture(model, "0", torch.rand(1, 3, 8, 8))["0"].dtype == np.float32


# --- colours ---


@pytest.mark.parametrize("colormap", ["viridis", "magma"])
@pytest.mark.parametrize("scale", ["map", "layer", (-1.0, 2.0)])
def test_colours_are_matplotlibs(scale, colormap):
    maps = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    found = colour(maps, scale, colormap).rgb
    for channel, shown in zip(maps, found):
        low, high = {"map": (channel.min(), channel.max()), "layer": (maps.min(), maps.max())}.get(scale, scale)
        norm = matplotlib.colors.Normalize(low, high, clip=True)
        expected = matplotlib.colormaps[colormap](norm(channel), bytes=True)[..., :3]
        assert np.abs(expected.astype(int) - shown).max() <= 3  # rounding may fall on the next of 256 colours
        assert (expected == shown).all(axis=-1).mean() > 0.95


def test_constant_maps_are_dead_and_draw_without_a_warning(recwarn):
    maps = np.stack([np.zeros((4, 4)), np.full((4, 4), 3.0), np.arange(16.0).reshape(4, 4), np.full((4, 4), np.nan)])
    for scale in ("map", "layer"):
        assert colour(maps, scale).dead.tolist() == [True, True, False, True]
    assert not recwarn.list


def test_unknown_scale_and_colormap():
    with pytest.raises(Problem, match="'map', 'layer', 'global'"):
        colour(np.zeros((1, 2, 2)), "picture")
    with pytest.raises(Problem, match="try viridis"):
        colour(np.zeros((1, 2, 2)), "layer", "virdis")


# --- files ---


def test_files_hold_the_maps_pixel_by_pixel(workspace, resnet, image_file):
    (grid,) = display_image_filtered("Car", resnet, "layer2.0.conv1", image_file)
    files = sorted((grid.parent / "layer2.0.conv1").glob("*"))
    assert [f.name for f in files] == [f"filter_{i:03d}.png" for i in range(128)]
    assert grid.parent.parent == workspace / "results_Car" and grid.name == "layer2.0.conv1.png"
    with torch.no_grad():
        expected = create_feature_extractor(resnet.eval(), ["layer2.0.conv1"])(to_input(image_file, 224)[None])
    expected = colour(expected["layer2.0.conv1"][0].numpy(), "layer").rgb
    for file, pixels in zip(files, expected):
        with Image.open(file) as image:
            assert image.format == "PNG"
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)


def test_rendering_again_leaves_nothing_stale(workspace, image_file):
    wide, narrow = (nn.Sequential(nn.Conv2d(3, n, 3)) for n in (12, 5))
    (grid,) = display_image_filtered("Bike", wide, "0", image_file)
    (grid.parent / "0" / "notes.txt").write_text("mine")
    display_image_filtered("Bike", narrow, "0", image_file)
    assert {p.name for p in (grid.parent / "0").iterdir()} == {f"filter_{i:03d}.png" for i in range(5)} | {"notes.txt"}


def test_two_images_never_share_a_folder(workspace, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    grids = set()
    for number, name in enumerate(["a.png", "b/a.png", "a.PNG.png", "a.jpg"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(number))
        grids |= set(display_image_filtered("Bike", model, "0", path))
    for number in (7, 8):
        grids |= set(display_image_filtered("Bike", model, "0", torch.full((3, 16, 16), number / 10)))
    assert len(grids) == 6


def test_images_that_differ_in_shape_alone_never_share_a_folder(workspace):
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    model.image_size = 16
    red = [Image.new("RGB", size, "red") for size in ((10, 20), (20, 10))]
    zeros = [torch.zeros(3, 8, 8), torch.zeros(3, 4, 16)]
    one, other = (display_image_filtered("Bike", model, "0", image) for image in zeros)
    assert one != other
    assert display_image_filtered("Bike", model, "0", red[0]) == display_image_filtered("Bike", model, "0", red[1])
    assert to_input(red[0], 16).equal(to_input(red[1], 16))  # for the network these two are the same image


def test_every_kind_of_image_is_taken(workspace, image_file):
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    model.image_size = 20
    with Image.open(image_file) as image:
        for kind in (image_file, str(image_file), image, np.asarray(image), to_input(image_file, 20)):
            (grid,) = display_image_filtered("Bike", model, "0", kind)
            with Image.open(grid.parent / "0" / "filter_001.png") as written:
                assert written.size == (18, 18)
    with pytest.raises(Problem, match="not 3×S×S"):
        display_image_filtered("Bike", model, "0", torch.zeros(2, 3, 20, 20))
    with pytest.raises(Problem, match="torch.uint8"):
        display_image_filtered("Bike", model, "0", torch.zeros(3, 20, 20, dtype=torch.uint8))
    with pytest.raises(Problem, match="float64"):
        display_image_filtered("Bike", model, "0", np.zeros((20, 20, 3)))
    with pytest.raises(Problem, match="There is no image"):
        display_image_filtered("Bike", model, "0", "nowhere.png")


def test_every_layer_can_be_shown(workspace, image_file):
    """Convolutions, pooling, activations, and linear layers, which have a grid and no files of single filters."""
    model = BikeCarCNN(image_size=32)
    for name in layer_names(model):
        (grid,) = display_image_filtered("Bike", model, name, image_file)
        with Image.open(grid) as image:
            assert image.width >= 500
    assert not (grid.parent / "fc1").exists() and (grid.parent / "fc1.png").exists()
    assert len(list((grid.parent / "pool2").iterdir())) == 32


def test_every_layer_in_one_tall_picture(workspace, image_file):
    model = LayerByLayerCNN(image_size=62)
    layers = layer_names(model, (nn.Conv2d, nn.MaxPool2d, nn.Linear))
    assert layers == [f"{kind}_{i}" for i in range(1, 5) for kind in ("conv2d", "max_pooling2d")] + [
        "dense_1",
        "dense_2",
    ]
    grids = display_image_filtered("Cat", model, layers, image_file)
    tall = stack_grids(grids)
    assert tall == grids[0].parent / "all_layers.png"
    assert len(list(tall.parent.glob("*/filter_*.png"))) == 2 * (32 + 64 + 128 + 128) == 704
    pixels, top = np.asarray(Image.open(tall)), 0
    for path in grids:
        sheet = np.asarray(Image.open(path))
        np.testing.assert_array_equal(pixels[top : top + sheet.shape[0], : sheet.shape[1]], sheet)
        assert (pixels[top : top + sheet.shape[0], sheet.shape[1] :] == 255).all()
        top += sheet.shape[0]
    assert top == len(pixels)


def test_an_animation_has_a_frame_a_picture():
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(animation(frames, ["a", "b", "c"], side=60).data)) as gif:
        assert (gif.format, gif.n_frames, gif.size) == ("GIF", 3, (60, 84))


def test_layers_of_one_value_a_filter_and_of_one_row(workspace, resnet, image_file):
    (grid,) = display_image_filtered("Bike", resnet, "avgpool", image_file)
    assert not (grid.parent / "avgpool").exists()
    flat = nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 5))
    (grid,) = display_image_filtered("Bike", flat, "1", image_file)
    assert grid.exists()


def test_a_single_value_is_written_as_a_number(workspace, image_file):
    """A colour, or a scale from -2 to -2, would say nothing of it."""
    model, sheets = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten(), nn.LazyLinear(1)), []
    model.eval()(torch.zeros(1, 3, 224, 224))
    nn.init.zeros_(model[2].weight)
    for value in (-2.0, 3.0):
        nn.init.constant_(model[2].bias, value)
        (path,) = display_image_filtered("Bike", model, "2", image_file, show=False)
        with Image.open(path) as sheet:
            sheets.append(np.asarray(sheet.convert("RGB"))[:, 130:].astype(int))
    assert (sheets[0] != sheets[1]).any()
    for sheet in sheets:
        assert (np.ptp(sheet, axis=2) < 10).all()  # nothing but greys beside the thumbnail


def test_a_layer_that_ran_more_often_before_leaves_nothing(workspace, image_file):
    class Repeated(nn.Module):
        def __init__(self, times):
            super().__init__()
            self.c, self.times = nn.Conv2d(3, 3, 1), times

        def forward(self, images):
            for _ in range(self.times):
                images = self.c(images)
            return images

    assert len(display_image_filtered("Bike", Repeated(3), "c", image_file)) == 3
    (grid,) = display_image_filtered("Bike", Repeated(1), "c", image_file)
    assert {p.name for p in grid.parent.iterdir()} == {"c", "c.png"}


def test_more_filters_than_fit_on_a_screen(workspace, image_file):
    (grid,) = display_image_filtered("Bike", nn.Sequential(nn.Conv2d(3, 1100, 9, stride=9)), "0", image_file)
    assert len(list((grid.parent / "0").iterdir())) == 1100
    with Image.open(grid) as image:
        assert image.width <= 1000


def test_global_scale_spans_all_layers_of_the_type(workspace, image_file):
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Conv2d(1, 1, 1))
    model.image_size = 16
    with torch.no_grad():
        for layer, weight in zip(model, (1.0, 100.0)):
            layer.weight.fill_(weight)
            layer.bias.zero_()
    (grid,) = display_image_filtered("Bike", model, "0", image_file, scale="global", colormap="gray")
    with Image.open(grid.parent / "0" / "filter_000.png") as image:
        assert (
            np.asarray(image).max() <= 256 / 100 * 1.1
        )  # beside values a hundred times larger, hardly above the bottom


def test_several_layers_at_once_are_the_same_files(workspace, resnet, image_file):
    names = ["conv1", "layer1.0.relu", "fc"]
    together = display_image_filtered("Car", resnet, names, image_file, scale="global", show=False)
    alone = [
        p for n in names for p in display_image_filtered("Alone", resnet, n, image_file, scale="global", show=False)
    ]
    assert [path.name for path in together] == [path.name for path in alone]
    files = sorted(path.relative_to(workspace / "results_Car") for path in (workspace / "results_Car").rglob("*.png"))
    assert len(files) == 4 + 64 + 2 * 64
    for file in files:
        one, other = (Image.open(workspace / folder / file) for folder in ("results_Car", "results_Alone"))
        # The header of a grid says where it belongs.
        same = (
            np.asarray(one)[130:] == np.asarray(other)[130:]
            if len(file.parts) == 2
            else np.asarray(one) == np.asarray(other)
        )
        assert same.all(), file


def test_name_image_must_be_a_folder_name(workspace, image_file):
    with pytest.raises(Problem, match="cannot be part of a folder's name"):
        display_image_filtered("../Bike", nn.Sequential(nn.Conv2d(3, 1, 1)), "0", image_file)
