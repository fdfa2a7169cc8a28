"""The image that is given, as the model wants it, and a folder's name for it."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from ..inputs import Transform, open_rgb, to_input, to_rgb, without_warnings
from ..settings import Problem, shown
from .layers import by, input_shape, takes_volumes

Given = Path | str | Image.Image | np.ndarray | Tensor
LONGEST = 80  # bytes of a name; file systems take 255, and some programs only 260 for the whole path


def as_given(image: Given, model: nn.Module, transform: Transform | None = None) -> tuple[Tensor, str]:
    """The image as the model takes it, float32 C×H×W (or C×D×H×W), and a folder's name that no other image has.

    Files, PIL images and uint8 arrays go through `transform`, or the one that the model carries (`model.transform`).
    Without either they are brought to the size and the channels that the model says it takes. Tensors stay as they are.
    Raises `Problem` for anything else, for a file that is no image, and for a transform that makes no tensor of it.
    """
    transform = transform or transform_of(model)
    name = Path(getattr(image, "filename", "") or "image").stem
    if isinstance(image, Tensor):
        if not image.is_floating_point():
            raise Problem(f"The image is of {image.dtype}; pass float32 3×S×S in [0, 1], or see to_input.")
        pixels = image.detach().float().cpu()
    elif isinstance(image, np.ndarray):
        pixels = _prepared(_from_array(image), model, transform)
    elif isinstance(image, Image.Image):
        pixels = _prepared(image, model, transform)
    elif not isinstance(image, str | os.PathLike):
        raise Problem(f"The image is of type {type(image).__name__}; pass a file, a PIL image, an array or a tensor.")
    elif os.path.isfile(image):  # unlike Path.is_file, False also for what no file can be called
        pixels, name = _prepared(Path(image), model, transform), Path(image).stem
    else:
        what = "is a folder, not an image" if os.path.isdir(image) else "does not exist"
        name = cropped(shown(Path(image)))
        raise Problem(f"There is no image here: {name!r} {what}; give the path of an image file.")
    if pixels.ndim != 3 + takes_volumes(model) or not pixels.numel():
        raise Problem(f"The image has the shape {by(pixels.shape)}, not 3×S×S; pass one image, channels first.")
    if isinstance(image, str | os.PathLike):
        content = Path(image).read_bytes()
    else:
        content = repr(pixels.shape).encode() + pixels.numpy().tobytes()
    safe_name = cropped(re.sub(r"[^\w.-]+", "_", name)).strip("._") or "image"
    return pixels, f"{safe_name}-{hashlib.sha256(content).hexdigest()[:8]}"


def as_batch(images: Given | Sequence[Given], model: nn.Module, transform: Transform | None = None) -> Tensor:
    """Images as the model takes them, float N×C×H×W: a tensor as it is, one image or several as `as_given` makes them.

    Raises `Problem` as `as_given` does, and for images that are not of one size.
    """
    if isinstance(images, Tensor):
        return images
    several = list(images) if isinstance(images, Sequence) and not isinstance(images, str) else [images]
    given = [as_given(image, model, transform)[0] for image in several]
    if len({pixels.shape for pixels in given}) != 1:
        sizes = ", ".join(sorted({by(pixels.shape) for pixels in given})) or "none"
        raise Problem(f"The images have to be of one size, and at least one; they are {sizes}.")
    return torch.stack(given)


def cropped(name: str, bytes_: int = LONGEST) -> str:
    """The start of a name, of at most so many bytes in UTF-8."""
    return name.encode(errors="replace")[:bytes_].decode(errors="ignore")


def transform_of(model: nn.Module) -> Transform | None:
    """What the model says that its images are to go through: `model.transform`.

    The networks of torchvision that detect objects have a layer of that name; presets of torchvision are modules as
    well, but have a mean and a standard deviation.
    """
    transform = getattr(model, "transform", None)
    is_layer = isinstance(transform, nn.Module) and not (hasattr(transform, "mean") and hasattr(transform, "std"))
    return transform if callable(transform) and not is_layer else None


def as_seen(pixels: Tensor, transform: Transform | None) -> Tensor:
    """What goes into a network, float C×H×W, as a picture to look at, in [0, 1].

    The mean and standard deviation of a torchvision transform are taken back. Otherwise values beyond [0, 1] say that
    the image was normalised somehow: then the least becomes black, and the greatest white.
    """
    mean, deviation = getattr(transform, "mean", None), getattr(transform, "std", None)
    if mean is not None and deviation is not None and len(mean) == len(pixels):
        mean, deviation = (torch.tensor(each).reshape(-1, 1, 1) for each in (mean, deviation))
        return (pixels * deviation + mean).clamp(0, 1)
    finite = pixels[pixels.isfinite()]
    if not len(finite) or (finite.min() >= 0 and finite.max() <= 1):
        return pixels
    return (pixels - finite.min()) / (finite.max() - finite.min()).clamp(min=1e-12)


@without_warnings()
def _prepared(image: Path | Image.Image, model: nn.Module, transform: Transform | None) -> Tensor:
    if transform is not None:
        return to_input(image, transform=transform)
    return _sized(image, to_rgb(image) if isinstance(image, Image.Image) else open_rgb(image), model)


def _sized(image: Path | Image.Image, picture: Image.Image, model: nn.Module) -> Tensor:
    """The picture in the size and channels of the model: of two and four, the last says how opaque a pixel is."""
    channels, *size = input_shape(model)
    pixels = to_input(picture, tuple(size))
    pixels = rgb_to_grayscale(pixels, 1) if channels in (1, 2) else pixels
    if channels in (2, 4):
        opaque = Image.open(image) if isinstance(image, Path) else image
        alpha = opaque.convert("RGBA").getchannel("A").convert("RGB")
        pixels = torch.cat([pixels, to_input(alpha, tuple(size))[:1]])
    return pixels


def _from_array(array: np.ndarray) -> Image.Image:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_image or not array.size:
        what = f"an array of {array.dtype} and shape {by(array.shape)}"
        raise Problem(f"The image is {what}; pass uint8 H×W×3, or a float tensor 3×S×S.")
    return Image.fromarray(array.squeeze(2) if array.shape[2:] == (1,) else array)
