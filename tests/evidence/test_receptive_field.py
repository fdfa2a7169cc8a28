"""Receptive fields, compared with gradients and published sizes, and crops of known positions."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from recognizer import BikeCarCNN, capture
from recognizer.evidence.graph import traced
from recognizer.evidence.receptive_field import ReceptiveField, receptive_fields
from recognizer.settings import Problem


def gradient_support(model: nn.Module, layer_name: str, image_size: int, row: int, column: int) -> np.ndarray:
    """The pixels that change the output of layer `layer_name` at a position: bool S×S. Makes all weights positive."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.01)
    kept = []
    hook = model.get_submodule(layer_name).register_forward_hook(lambda layer, _, output: kept.append(output))
    image = torch.ones(1, 3, image_size, image_size, dtype=torch.double, requires_grad=True)
    model(image)
    hook.remove()
    kept[-1][0, :, row, column].sum().backward()
    return (image.grad[0].sum(dim=0) > 0).numpy()


def inside(field: ReceptiveField, image_size: int, row: int, column: int) -> np.ndarray:
    top, left, bottom, right = field.box(row, column)
    expected = np.zeros((image_size, image_size), bool)
    expected[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return expected


@pytest.mark.parametrize("kind", ["conv", "pool", "relu"])
def test_receptive_fields_agree_with_gradients(kind):
    size = 192
    model = BikeCarCNN(image_size=size)
    fields = receptive_fields(model, size)
    assert list(fields) == [name for name, _ in model.named_modules() if name]
    for name, layer in list(model.named_children()):
        if isinstance(layer, nn.MaxPool2d):  # only the maximum has a gradient, but every value of a mean has one
            setattr(model, name, nn.AvgPool2d(2))
    for name in [name for name in fields if name.startswith(kind) and name != "relu8"]:
        middle = size // fields[name].stride // 2
        for row, column in ((middle, middle - 1), (0, 0), (-1 % (2 * middle), 1)):
            support = gradient_support(model, name, size, row, column)
            np.testing.assert_array_equal(support, inside(fields[name], size, row, column), err_msg=name)


class Branches(nn.Module):
    """Functions instead of layers, a branch around an asymmetric layer, and a layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.dilated = nn.Conv2d(4, 4, 3, stride=2, dilation=2)
        self.side = nn.Conv2d(4, 4, 4, padding="same")
        self.wide = nn.Conv2d(4, 4, 3, padding="valid")
        self.last = nn.Identity()

    def forward(self, images):
        x = functional.relu(self.dilated(self.stem(images - 0.5)))
        x = self.side(self.side(x)) + x
        x = self.wide(functional.avg_pool2d(x, 3, stride=2, padding=1))
        return self.last(functional.relu(x)).mean(dim=(2, 3))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_receptive_fields_of_branches_strides_dilation_and_functions():
    model = Branches()
    fields = receptive_fields(model, 80)
    assert list(fields) == ["stem", "dilated", "side", "side#2", "wide", "last"]
    assert fields["dilated"] == ReceptiveField(size=7, stride=2, start=0)
    for name in ("stem", "dilated", "wide", "last"):
        for row, column in ((0, 0), (3, 5), (6, 6)):
            support = gradient_support(model, name, 80, row, column)
            np.testing.assert_array_equal(support, inside(fields[name], 80, row, column), err_msg=name)
    # With padding 'same', a window of four sees one pixel fewer before a position than after it.
    assert fields["side"] == ReceptiveField(size=7 + 3 * 2, stride=2, start=-2)
    support = gradient_support(model, "side", 80, 3, 5)  # the output of the second call
    np.testing.assert_array_equal(support, inside(fields["side#2"], 80, 3, 5))


@pytest.mark.parametrize(
    ("architecture", "published"),
    [
        ("resnet18", {"conv1": 7, "layer1": 43, "layer2": 99, "layer3": 211, "layer4": 435}),
        ("vgg16", {"features": 212}),
        ("alexnet", {"features": 195}),
        ("inception_v3", {"Mixed_7c": 1311}),  # it has windows of 1×7 and 7×1
    ],
)
def test_receptive_fields_agree_with_published_sizes(architecture, published):
    with torch.device("meta"):  # no weights are needed
        options = {"init_weights": False} if architecture == "inception_v3" else {}
        model = getattr(torchvision.models, architecture)(**options)
    fields = receptive_fields(model, 299)
    assert {name: fields[name].size for name in published} == published


def test_a_field_that_is_not_square_counts_as_the_square_around_it():
    windows = nn.Sequential(nn.Conv2d(3, 3, (1, 7)), nn.Conv2d(3, 3, (3, 1), padding=(1, 0)), nn.Conv2d(3, 3, 2))
    fields = receptive_fields(windows, 32)
    assert fields["0"] == ReceptiveField(7, 1, 0)
    assert fields["1"] == ReceptiveField(8, 1, -1)  # rows from -1 to 1, columns from 0 to 6
    assert fields["2"] == ReceptiveField(9, 1, -1)  # rows from -1 to 2, columns from 0 to 7
    stretched = nn.Conv2d(3, 3, 3, stride=(1, 2))  # different steps along rows and columns fit no square
    assert receptive_fields(nn.Sequential(stretched), 32)["0"] == ReceptiveField(32, 0, 0)


def test_layers_after_flattening_see_the_whole_image(network):
    fields = receptive_fields(network, 64)
    assert fields["fc1"] == fields["fc2"] == ReceptiveField(64, 0, 0)
    assert fields["fc1"].box(0, 0) == (0, 0, 64, 64)
    squeezed = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1))
    assert receptive_fields(squeezed, 50)["1"].box(0, 0) == (0, 0, 50, 50)


def places(size: int) -> torch.Tensor:
    """An image whose pixels hold their position: red is the row, green is the column, and blue is 7."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([rows, columns, torch.full_like(rows, 7)]).byte()


@pytest.mark.parametrize("size", [48, 64, 100, 224])
def test_a_crop_shows_exactly_what_a_position_sees(size):
    image, fields = places(size), receptive_fields(BikeCarCNN(image_size=size), size)
    for name in ("relu1", "relu3", "relu5", "relu7", "fc1"):
        last = max(0, size // (fields[name].stride or size) - 1)
        for row, column in {(0, 0), (0, last), (last // 2, last), (last, last)}:
            crop, seen = fields[name].crop(image, row, column), inside(fields[name], size, row, column)
            shown = crop[..., 2] == 7
            assert (crop[~shown] == 225).all()
            assert {(y, x) for y, x, _ in crop[shown]} == set(zip(*np.nonzero(seen)))
            if fields[name].size < size:  # a crop, whose first pixel is the upper left corner of the box
                assert crop.shape == (fields[name].size,) * 2 + (3,)
                offset = np.array(fields[name].box(row, column)[:2])
            else:
                assert crop.shape == (size, size, 3)
                offset = np.zeros(2, int)
            np.testing.assert_array_equal(crop[shown][:, :2], np.argwhere(shown) + offset)


@pytest.mark.parametrize("size", [48, 64, 100, 224])
def test_the_nearest_position_has_the_nearest_centre(size):
    network = BikeCarCNN(image_size=size).eval()
    maps = capture(network, ["relu1", "relu4", "relu6", "relu7"], places(size).float())
    fields = receptive_fields(network, size)
    for pixel in ((0.0, size - 1.0), (size / 3, size / 2), (size - 1.0, 5.0)):
        for name, values in maps.items():
            shape, field = values.shape[2:], fields[name]
            boxes = {place: np.reshape(field.box(*place), (2, 2)) for place in np.ndindex(*shape)}
            distances = {place: np.linalg.norm((box.sum(axis=0) - 1) / 2 - pixel) for place, box in boxes.items()}
            assert distances[field.nearest(pixel, shape, size)] == min(distances.values())


class Undecided(nn.Module):
    def forward(self, images):
        return images if images.sum() > 0 else -images


class CallsFunction(nn.Module):
    """A network that calls a function on its input, which `torch.fx` often cannot trace."""

    def __init__(self, ask):
        super().__init__()
        self.ask, self.layer = ask, nn.Identity()

    def forward(self, images):
        self.ask(images)
        return self.layer(images)


@pytest.mark.parametrize("find", [lambda model: receptive_fields(model, 32), traced])
def test_a_model_that_cannot_be_traced_is_an_error(find):
    with pytest.raises(Problem, match="torch.fx cannot trace this Undecided"):
        find(Undecided())
    for ask in (len, int, list, lambda x: torch.zeros(x.shape[0], 1), lambda x: nn.ReLU()(x)):
        with pytest.raises(Problem, match="torch.fx cannot trace this CallsFunction"):
            find(CallsFunction(ask))


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, AttributeError, ZeroDivisionError])
@pytest.mark.parametrize("find", [lambda model: receptive_fields(model, 32), traced])
def test_other_errors_in_forward_are_passed_on(find, error):
    def fail(images):
        raise error("its own")

    with pytest.raises(error, match="its own"):
        find(CallsFunction(fail))
