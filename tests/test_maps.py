"""Files and grids show the outputs of layers, and errors say what cannot be shown."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from recognizer import BikeCarCNN, LayerByLayerCNN, capture, display_image_filtered, figures, layer_names, to_input
from recognizer.maps.colours import MARKS, as_maps, colour
from recognizer.maps.pictures import stack_grids
from recognizer.settings import Problem

from .conftest import picture
from .test_capture import Layouts, ending_in

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18()


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "a bike (1).png"
    path.write_bytes(picture(1, size=(40, 30)))
    return path


# --- colours ---


@pytest.mark.parametrize("colormap", ["viridis", "magma"])
@pytest.mark.parametrize("scale", ["map", "layer", (-1.0, 2.0)])
def test_colours_equal_those_of_matplotlib(scale, colormap):
    maps = np.random.default_rng(0).normal(size=(3, 7, 5)).astype(np.float32)
    coloured = colour(maps, scale, colormap, clip=0)
    for channel, shown in zip(maps, coloured.rgb):
        low, high = {"map": (channel.min(), channel.max()), "layer": (maps.min(), maps.max())}.get(scale, scale)
        norm = matplotlib.colors.Normalize(low, high, clip=True)
        expected = matplotlib.colormaps[colormap](norm(channel), bytes=True)[..., :3]
        assert np.abs(expected.astype(int) - shown).max() <= 3  # rounding may fall on the next of 256 colours
        assert (expected == shown).all(axis=-1).mean() > 0.95


def test_constant_maps_are_dead_and_draw_without_a_warning(recwarn):
    maps = np.stack([np.zeros((4, 4)), np.full((4, 4), 3.0), np.arange(16.0).reshape(4, 4), np.full((4, 4), np.nan)])
    for scale in ("map", "layer"):
        assert colour(maps, scale).dead.tolist() == [True, True, False, False]
    assert not recwarn.list


def test_unknown_scale_and_colormap():
    for scale in ("picture", (1, 0), (0, np.nan), (0, "1"), (0, 1, 2), None):
        with pytest.raises(Problem, match="'map', 'layer', 'global'"):
            colour(np.zeros((1, 2, 2)), scale)
    with pytest.raises(Problem, match="try viridis"):
        colour(np.zeros((1, 2, 2)), "layer", "virdis")


@pytest.mark.parametrize("scale", ["map", "layer", (0.0, 15.0)])
def test_nan_and_infinity_are_marked_and_do_not_influence_the_scale(scale):
    maps = np.stack([np.arange(16.0).reshape(4, 4)] * 2)
    expected = colour(maps, scale).rgb
    for position, value in (((0, 1, 1), np.nan), ((0, 2, 2), np.inf), ((1, 1, 2), -np.inf)):
        maps[position] = value
        expected[position] = MARKS["red"]
    coloured = colour(maps, scale)
    np.testing.assert_array_equal(coloured.rgb, expected)
    assert coloured.broken.sum() == 3 and not coloured.dead.any()
    assert not (coloured.palette == MARKS[coloured.mark]).all(axis=1).any()


def test_the_largest_float32_range_has_colours(recwarn):
    maps = np.array([[[-3e38, 0, 3e38]]], np.float32)
    assert colour(maps, clip=0).indices.tolist() == [[[0, 128, 255]]]
    assert not recwarn.list


def test_complex_values_are_drawn_by_their_magnitude():
    maps = np.array([[[3 + 4j, 0, 10j]]], np.complex64)
    np.testing.assert_array_equal(colour(maps).indices, colour(np.abs(maps)).indices)


def test_outputs_with_any_number_of_dimensions_become_maps():
    output = np.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(as_maps(output), output.reshape(6, 4, 5))
    np.testing.assert_array_equal(as_maps(output[0], features_last=True), output[0].transpose(2, 0, 1))
    assert as_maps(output[0, 0]).shape == (1, 4, 5)
    assert as_maps(output[0, 0, 0]).shape == as_maps(output[0, 0, 0][:, None, None]).shape == (1, 1, 5)


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


def test_a_second_call_leaves_no_stale_files(workspace, image_file):
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


def test_images_that_differ_only_in_shape_never_share_a_folder(workspace):
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    model.image_size = 16
    red = [Image.new("RGB", size, "red") for size in ((10, 20), (20, 10))]
    zeros = [torch.zeros(3, 8, 8), torch.zeros(3, 4, 16)]
    one, other = (display_image_filtered("Bike", model, "0", image) for image in zeros)
    assert one != other
    assert display_image_filtered("Bike", model, "0", red[0]) == display_image_filtered("Bike", model, "0", red[1])
    assert to_input(red[0], 16).equal(to_input(red[1], 16))  # the network gets the same image in both cases


def test_images_prepared_for_pretrained_weights_are_documented_and_drawn(workspace, resnet, image_file):
    prepared = torchvision.models.ResNet18_Weights.DEFAULT.transforms()(Image.open(image_file).convert("RGB"))
    display_image_filtered("Car", resnet, "conv1", prepared)
    (written,) = (workspace / "results_Car").glob("*/conv1/filter_005.png")
    expected = colour(capture(resnet, "conv1", prepared)["conv1"][0]).rgb[5]
    np.testing.assert_array_equal(np.asarray(Image.open(written).convert("RGB")), expected)
    assert "transform=weights.transforms()" in (PROJECT / "README.md").read_text("utf-8")


def test_every_kind_of_image_is_accepted(workspace, image_file):
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    model.image_size = 20
    with Image.open(image_file) as image:
        for kind in (image_file, str(image_file), image, np.asarray(image), to_input(image_file, 20)):
            (grid,) = display_image_filtered("Bike", model, "0", kind)
            with Image.open(grid.parent / "0" / "filter_001.png") as written:
                assert written.size == (18, 18)
    with pytest.raises(Problem, match="not 3×S×S"):
        display_image_filtered("Bike", model, "0", torch.zeros(20, 20))
    with pytest.raises(Problem, match="torch.uint8"):
        display_image_filtered("Bike", model, "0", torch.zeros(3, 20, 20, dtype=torch.uint8))
    with pytest.raises(Problem, match="float64"):
        display_image_filtered("Bike", model, "0", np.zeros((20, 20, 3)))
    with pytest.raises(Problem, match="There is no image"):
        display_image_filtered("Bike", model, "0", "nowhere.png")


def test_every_layer_can_be_shown(workspace, image_file):
    """Convolutions, pooling, activations, and linear layers. The latter have a grid but no files of single filters."""
    model = BikeCarCNN(image_size=32)
    for name in layer_names(model):
        (grid,) = display_image_filtered("Bike", model, name, image_file)
        with Image.open(grid) as image:
            assert image.width >= 500
    assert not (grid.parent / "fc1").exists() and (grid.parent / "fc1.png").exists()
    assert len(list((grid.parent / "pool2").iterdir())) == 32


def test_stack_grids_puts_all_layers_into_one_tall_picture(workspace, image_file):
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


def test_an_animation_has_one_frame_per_image():
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(figures.animation(frames, ["a", "b", "c"], side=60).data)) as gif:
        assert (gif.format, gif.n_frames, gif.size) == ("GIF", 3, (60, 84))


def test_layers_with_one_value_per_filter_or_with_one_row(workspace, resnet, image_file):
    (grid,) = display_image_filtered("Bike", resnet, "avgpool", image_file)
    assert not (grid.parent / "avgpool").exists()
    flat = nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 5))
    (grid,) = display_image_filtered("Bike", flat, "1", image_file)
    assert grid.exists()


def test_a_single_value_is_written_as_a_number(workspace, image_file):
    """A single colour on a scale from -2 to -2 would say nothing about the value."""
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


def test_grids_of_later_calls_are_removed_if_the_layer_now_runs_once(workspace, image_file):
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


def test_the_global_scale_spans_all_layers_of_the_type(workspace, image_file):
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.Conv2d(1, 1, 1))
    model.image_size = 16
    with torch.no_grad():
        for layer, weight in zip(model, (1.0, 100.0)):
            layer.weight.fill_(weight)
            layer.bias.zero_()
    (grid,) = display_image_filtered("Bike", model, "0", image_file, scale="global", colormap="gray")
    with Image.open(grid.parent / "0" / "filter_000.png") as image:
        # The other layer's values are a hundred times larger, so this one stays near the low end.
        assert np.asarray(image).max() <= 256 / 100 * 1.1


def test_several_layers_in_one_call_give_the_same_files(workspace, resnet, image_file):
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
        # The header of a grid contains name_image, so only the rest is equal.
        same = (
            np.asarray(one)[130:] == np.asarray(other)[130:]
            if len(file.parts) == 2
            else np.asarray(one) == np.asarray(other)
        )
        assert same.all(), file


# --- any layer ---


def test_windows_and_tokens_are_drawn_completely(workspace):
    torch.manual_seed(0)
    model, image = Layouts().eval(), torch.rand(3, 16, 16)
    with torch.no_grad():
        truth = model.truth(image[None])
    (grid,) = display_image_filtered("Bike", model, "windows", image)
    expected = colour(truth["windows"][0].numpy(), "layer").rgb  # two windows of eight tokens of six values
    assert len(list((grid.parent / "windows").iterdir())) == 2
    for number, map_ in enumerate(expected):
        with Image.open(grid.parent / "windows" / f"filter_{number:03d}.png") as written:
            np.testing.assert_array_equal(np.asarray(written), map_)
    grid, *_ = display_image_filtered("Bike", model, "tokens_first", image)  # and its states
    with Image.open(grid.parent / "tokens_first" / "filter_000.png") as written:
        assert written.size == (4, 4)  # the 16 tokens are those of 4×4 patches


@pytest.mark.parametrize(("height", "width"), [(24, 24), (16, 32)])
def test_features_in_the_last_dimension_become_maps(workspace, height, width):
    model = ending_in(lambda x: x.permute(0, 2, 3, 1))
    image = torch.rand(3, height, width)
    (grid,) = display_image_filtered("Bike", model, "1", image)
    (reference,) = display_image_filtered("Bike", model, "0", image)
    for number in range(4):
        files = [folder.with_suffix("") / f"filter_{number:03d}.png" for folder in (grid, reference)]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[:0], r"'1' outputs no values \(0×4×16×16\)"),
        (lambda x: x[:, :, :0], r"'1' outputs no values \(4×0×16\)"),
        (lambda x: x.mean(), "single number"),
    ],
)
def test_an_output_that_cannot_be_drawn_raises_a_clear_error(workspace, function, message):
    with pytest.raises(Problem, match=message):
        display_image_filtered("Bike", ending_in(function), "1", torch.rand(3, 16, 16))
    with pytest.raises(Problem, match="The model is of type str; pass a network"):
        display_image_filtered("Bike", "model.pt", "1", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(Problem, match="layer_name is empty"):
        display_image_filtered("Bike", ending_in(function), [], torch.rand(3, 16, 16))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(2)[:, :, None],  # maps one value high
        lambda x: x.flatten(2)[..., None],  # and one value wide
        lambda x: x.flatten(1),
        lambda x: x / 0,
        lambda x: torch.full_like(x, torch.nan),
        lambda x: torch.complex(x, x),
        lambda x: x > 0,
    ],
)
@pytest.mark.parametrize("scale", ["map", "layer", "global"])
@pytest.mark.filterwarnings("error")
def test_every_shape_and_type_has_a_grid(workspace, function, scale):
    (grid,) = display_image_filtered("Bike", ending_in(function), "1", torch.rand(3, 16, 16), scale=scale)
    with Image.open(grid) as image:
        assert image.width >= 500 and image.height > 130


def test_a_grid_shows_how_many_values_are_nan_or_infinite(workspace):
    """The same grid without infinities has no green and a different header."""
    sheets = {}
    for name, value in (("one", 1.0), ("infinite", torch.inf)):
        model = ending_in(lambda x, value=value: torch.cat([x[:, :1] * 0 + value, x[:, 1:]], dim=1))
        (grid,) = display_image_filtered(name, model, "1", torch.zeros(3, 16, 16))
        with Image.open(grid) as sheet:
            sheets[name] = np.asarray(sheet.convert("RGB"))
    marked = {name: (sheet == MARKS["green"]).all(axis=2).sum() for name, sheet in sheets.items()}
    assert marked["one"] == 0 and marked["infinite"] >= 16 * 16
    assert (sheets["one"][40:60] != sheets["infinite"][40:60]).any()


def test_the_global_scale_ignores_infinities_and_layers_that_do_not_run(workspace):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.idle, self.endless = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1, bias=False)

        def forward(self, images):
            self.endless(torch.where(images > 0.5, torch.inf, 0))
            return self.a(images)

    model, image = Network(), torch.rand(3, 16, 16)
    values = capture(model, "a", image)["a"][0]
    farthest = float(np.abs(values).max())  # endless outputs nothing finite but 0
    (grid,) = display_image_filtered("Bike", model, "a", image, scale="global", clip=0)
    with Image.open(grid.with_suffix("") / "filter_001.png") as written:
        expected = colour(values, (-farthest, farthest), "RdBu_r").rgb[1]
        np.testing.assert_array_equal(np.asarray(written), expected)


# --- any image ---


def test_the_image_is_converted_to_the_size_and_channels_of_the_model(workspace, image_file):
    grey = nn.Sequential(nn.Conv2d(1, 2, 1))
    grey.image_size = (20, 30)
    (grid,) = display_image_filtered("Bike", grey, "0", image_file)
    with Image.open(grid.with_suffix("") / "filter_000.png") as written:
        assert written.size == (30, 20)
    for channels in (1, 2, 4, 5):
        model = nn.Sequential(nn.Conv2d(channels, 2, 1))
        assert display_image_filtered("Bike", model, "0", torch.rand(channels, 8, 8))


def test_unusable_files_raise_a_clear_error_without_folder_names(workspace, tmp_path, image_file):
    model = nn.Sequential(nn.Conv2d(3, 1, 1))
    (tmp_path / "page.jpg").write_text("<html>log in</html>")
    (tmp_path / "cut.png").write_bytes(image_file.read_bytes()[:-40])
    long = tmp_path / f"{'自' * 80}x{'a' * 10}.png"  # 255 bytes, the most that a name may have
    long.write_bytes(image_file.read_bytes())
    for file in (tmp_path / "page.jpg", tmp_path / "cut.png", tmp_path, "x" * 300, "no\0name", tmp_path / "none.png"):
        with pytest.raises(Problem) as raised:
            display_image_filtered("Bike", model, "0", file)
        assert str(tmp_path) not in str(raised.value) and len(str(raised.value)) < 250
    (grid,) = display_image_filtered("Bike", model, "0", long)
    assert len(grid.parent.name.encode()) < 100
    for image, message in ((None, "NoneType"), (np.zeros((3, 8, 8), np.uint8), "array of uint8 and shape 3×8×8")):
        with pytest.raises(Problem, match=message):
            display_image_filtered("Bike", model, "0", image)


def test_a_layer_that_outputs_one_number_per_image_is_a_strip(workspace):
    model = ending_in(lambda x: x.mean(dim=(1, 2, 3)))
    (grid,) = display_image_filtered("Car", model, "1", torch.rand(3, 16, 16))
    assert grid.exists() and not grid.with_suffix("").exists()


def test_maps_wider_than_high_are_not_mistaken_for_features_last(workspace):
    """A convolution with stride (2, 1) outputs 16 maps of 16×32, and the ReLU after it must have the same 16 maps."""
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=(2, 1), padding=1), nn.ReLU())
    (grid,) = display_image_filtered("Car", model, "1", torch.rand(3, 32, 32))
    files = sorted(grid.with_suffix("").glob("filter_*.png"))
    assert len(files) == 16
    with Image.open(files[0]) as one:
        assert one.size == (32, 16)


@pytest.mark.parametrize("wrong", [{"colormap": matplotlib.colormaps["jet"]}, {"scale": np.array([0, 1])}])
def test_a_colour_map_or_scale_of_a_wrong_type_raises_a_clear_error(workspace, wrong):
    with pytest.raises(Problem, match="colour map|scale"):
        display_image_filtered("Car", nn.Sequential(nn.ReLU()), "0", torch.rand(3, 8, 8), **wrong)


class Patches(nn.Module):
    """Tokens as in a vision transformer: first class and register tokens, then one token per patch, row by row."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.cut, self.tokens, self.others = nn.Conv2d(3, 3, 4, 4), nn.Identity(), others

    def forward(self, x):
        x = self.cut(x).flatten(2).transpose(1, 2)
        return self.tokens(torch.cat([torch.full((len(x), self.others, 3), 9.0), x], dim=1))


@pytest.mark.parametrize("others", [0, 1, 5])
def test_tokens_are_maps_of_their_patches(workspace, others):
    model, image = Patches(others), torch.rand(3, 12, 20)
    (grid,) = display_image_filtered("Bike", model, "tokens", image, scale=(-2, 2), colormap="gray")
    expected = colour(capture(model, "cut", image)["cut"][0], (-2, 2), "gray").rgb
    assert expected.shape == (3, 3, 5, 3)
    for number, map_ in enumerate(expected):
        with Image.open(grid.parent / "tokens" / f"filter_{number:03d}.png") as written:
            np.testing.assert_array_equal(np.asarray(written), map_)


def test_several_images_in_one_call_get_the_same_folders_as_alone(workspace, resnet):
    images = torch.rand(3, 3, 40, 56)
    together = display_image_filtered("Bike", resnet, "layer1.0", images)
    alone = [display_image_filtered("Bike", resnet, "layer1.0", image)[0] for image in images]
    assert together == alone and len({path.parent for path in together}) == 3
    arrays = np.random.default_rng(0).integers(0, 255, (2, 30, 40, 3), np.uint8)
    assert len(display_image_filtered("Car", resnet, "conv1", arrays)) == 2


def test_three_dimensional_convolutions_are_drawn_as_slices(workspace):
    torch.manual_seed(0)
    model, volume = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1)), torch.rand(1, 5, 8, 10)
    (grid,) = display_image_filtered("scan", model, "0", volume, scale=(-1, 1), colormap="gray")
    with torch.no_grad():
        expected = colour(model(volume[None])[0].flatten(0, 1).numpy(), (-1, 1), "gray").rgb
    assert expected.shape == (10, 8, 10, 3)
    for number, map_ in enumerate(expected):
        with Image.open(grid.parent / "0" / f"filter_{number:03d}.png") as written:
            np.testing.assert_array_equal(np.asarray(written), map_)


def test_every_tensor_of_an_output_has_a_grid_and_old_grids_are_removed(workspace):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.both = Pair()

        def forward(self, x):
            return self.both(x)

    class Pair(nn.Module):
        number = 2

        def forward(self, x):
            return {f"half/{i}": x / (i + 1) for i in range(self.number)}

    model, image = Two(), torch.rand(3, 8, 8)
    grids = display_image_filtered("Bike", model, "both", image)
    assert len({path.name for path in grids}) == 2 and all(path.exists() for path in grids)
    Pair.number = 1
    (alone,) = display_image_filtered("Bike", model, "both", image)
    assert sorted(alone.parent.glob("*.png")) == [alone]
