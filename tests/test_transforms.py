"""Images that a transform prepares for the network, and networks with one, two or four input channels."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.models import ResNet18_Weights
from torchvision.models.feature_extraction import create_feature_extractor

from recognizer import capture, compare_images, display_image_filtered, explore, to_input
from recognizer.maps.colours import colour
from recognizer.maps.given import as_given, as_seen, transform_of
from recognizer.settings import Problem

from .conftest import picture

PRESET = ResNet18_Weights.DEFAULT.transforms()


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "bike.png"
    path.write_bytes(picture(1, size=(300, 260)))
    return path


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def test_maps_equal_those_of_the_usual_pytorch_recipe(workspace, resnet, image_file):
    batch = PRESET(Image.open(image_file).convert("RGB")).unsqueeze(0)
    with torch.no_grad():
        expected = resnet.conv1(batch)[0].numpy()
    (grid,) = display_image_filtered("Bike", resnet, "conv1", image_file, transform=PRESET)
    with Image.open(grid.with_suffix("") / "filter_007.png") as written:
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), colour(expected).rgb[7])


@pytest.mark.parametrize("kind", ["file", "PIL", "array"])
def test_every_kind_of_image_goes_through_the_transform(resnet, image_file, kind):
    image = Image.open(image_file).convert("RGB")
    same_image = {"file": image_file, "PIL": image, "array": np.asarray(image)}[kind]
    assert as_given(same_image, resnet, PRESET)[0].equal(PRESET(image))
    tensor = torch.rand(3, 224, 224)
    assert as_given(tensor, resnet, PRESET)[0].equal(tensor)  # tensors are already prepared


def test_the_default_is_the_models_transform_unless_that_is_a_layer(image_file):
    model = nn.Sequential(nn.Conv2d(3, 2, 3))
    model.transform = PRESET
    assert transform_of(model) is PRESET
    assert as_given(image_file, model)[0].equal(PRESET(Image.open(image_file).convert("RGB")))
    detector = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    assert transform_of(detector) is None


def test_the_picture_next_to_the_maps_is_not_normalised(resnet, image_file):
    pixels, _ = as_given(image_file, resnet, PRESET)
    seen = as_seen(pixels, PRESET)
    cropped = torchvision.transforms.functional.center_crop(
        Image.open(image_file).convert("RGB").resize((295, 256)), 224
    )
    expected = torchvision.transforms.functional.to_tensor(cropped)
    assert (seen - expected).abs().mean() < 0.05 and seen.min() >= 0 and seen.max() <= 1
    unknown = as_seen(pixels, lambda image: pixels)  # the mean of this transform is unknown
    assert unknown.min() == 0 and unknown.max() == 1
    assert as_seen(torch.rand(3, 4, 4) / 2, None).max() < 0.5  # a dark picture stays dark


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image: np.zeros(3), "returns ndarray"),
        (lambda image: torch.zeros(3, 4, 4, dtype=torch.uint8), "returns torch.uint8"),
        (lambda image: image.no_such_thing, "stopped on the image with AttributeError"),
    ],
)
def test_a_transform_that_does_not_return_a_float_tensor_raises_a_clear_error(
    workspace, resnet, image_file, transform, message
):
    with pytest.raises(Problem, match=message):
        display_image_filtered("Bike", resnet, "conv1", image_file, transform=transform)


def test_comparison_and_explorer_accept_a_transform(workspace, resnet, image_file):
    assert compare_images(resnet, "relu", {"Bike": [image_file]}, transform=PRESET, count=2, show=False).exists()
    resnet.transform = PRESET
    page = explore(resnet, [image_file], path=workspace / "page.html", megabytes=60)
    del resnet.transform
    assert page.stat().st_size > 1e6


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_files_are_converted_to_the_channels_of_the_first_convolution(tmp_path, channels):
    """The image is red, and half transparent if there is a channel for opacity."""
    model = nn.Sequential(nn.Conv2d(channels, 2, 1))
    model.image_size = 8
    Image.new("RGBA", (20, 20), (255, 0, 0, 255 if channels == 1 else 128)).save(tmp_path / "red.png")
    pixels, _ = as_given(tmp_path / "red.png", model)
    assert pixels.shape == (channels, 8, 8)
    if channels == 1:
        assert pixels[0, 0, 0] == pytest.approx(0.299, abs=0.01)
    else:
        assert pixels[-1, 0, 0] == pytest.approx(0.5, abs=0.01)
    assert capture(model, "0", pixels)["0"].shape == (1, 2, 8, 8)


def test_to_input_and_capture_accept_files_and_a_transform(resnet, image_file):
    transform = PRESET
    with Image.open(image_file) as image:
        expected = transform(image.convert("RGB"))
    torch.testing.assert_close(to_input(image_file, transform=transform), expected)
    with torch.no_grad():
        maps = create_feature_extractor(resnet, ["layer2"])(expected[None].repeat(2, 1, 1, 1))["layer2"]
    captured = capture(resnet, "layer2", [image_file, str(image_file)], transform=transform)["layer2"]
    np.testing.assert_allclose(captured, maps.numpy(), atol=1e-4)


def test_images_of_several_shapes_and_no_images_raise_a_clear_error(resnet):
    with pytest.raises(Problem, match="same shape.*3×40×40, 3×50×40"):
        capture(resnet, "conv1", [torch.rand(3, 40, 40), torch.rand(3, 50, 40)])
    with pytest.raises(Problem, match="no images"):
        capture(resnet, "conv1", [])
