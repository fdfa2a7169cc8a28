"""Prepare the user's image for a model, and name the folder for its results."""

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

Given = Path | str | Image.Image | np.ndarray | Tensor  # the kinds of image that a user may pass
LONGEST = 80  # bytes of a name; file systems allow 255, but some programs allow only 260 for a whole path


def as_given(image: Given, model: nn.Module, transform: Transform | None = None) -> tuple[Tensor, str]:
    """Prepare an image for the model: (pixels, name). No other image gets the same name.

    `pixels` is float32 C×H×W (or C×D×H×W). Files, PIL images and uint8 arrays go through `transform` or else through
    `model.transform`. Without a transform, they are converted to the size and the channels that the model takes (see
    `input_shape`). Tensors stay as they are. `name` is the image's file name with the start of a digest; it can be the
    name of a folder.
    Raises `Problem` for any other type, for a file that is not an image, and if the transform does not return a tensor.
    """
    transform = transform or transform_of(model)
    name = Path(getattr(image, "filename", "") or "image").stem
    if isinstance(image, Tensor):
        if not image.is_floating_point():
            raise Problem(f"The image has the dtype {image.dtype}; pass float32 3×S×S in [0, 1], or see to_input.")
        pixels = image.detach().float().cpu()
    elif isinstance(image, np.ndarray):
        pixels = _prepared(_from_array(image), model, transform)
    elif isinstance(image, Image.Image):
        pixels = _prepared(image, model, transform)
    elif not isinstance(image, str | os.PathLike):
        raise Problem(f"The image is of type {type(image).__name__}; pass a file, a PIL image, an array or a tensor.")
    elif os.path.isfile(image):  # unlike Path.is_file, it is False for impossible file names too
        pixels, name = _prepared(Path(image), model, transform), Path(image).stem
    else:
        reason = "is a folder, not an image" if os.path.isdir(image) else "does not exist"
        name = cropped(shown(Path(image)))
        raise Problem(f"There is no image here: {name!r} {reason}; give the path of an image file.")
    if pixels.ndim != 3 + takes_volumes(model) or not pixels.numel():
        raise Problem(f"The image has the shape {by(pixels.shape)}, not 3×S×S; pass one image, channels first.")
    if isinstance(image, str | os.PathLike):
        content = Path(image).read_bytes()
    else:
        content = repr(pixels.shape).encode() + pixels.numpy().tobytes()
    safe_name = cropped(re.sub(r"[^\w.-]+", "_", name)).strip("._") or "image"
    return pixels, f"{safe_name}-{hashlib.sha256(content).hexdigest()[:8]}"


def as_batch(images: Given | Sequence[Given], model: nn.Module, transform: Transform | None = None) -> Tensor:
    """Prepare one image or several for the model, as `as_given` does: float N×C×H×W. A tensor stays as it is.

    Raises `Problem` as `as_given` does, and for images of different sizes.
    """
    if isinstance(images, Tensor):
        return images
    images = list(images) if isinstance(images, Sequence) and not isinstance(images, str) else [images]
    if not images:
        raise Problem("There are no images; pass at least one.")
    prepared = [as_given(image, model, transform)[0] for image in images]
    shapes = sorted({by(pixels.shape) for pixels in prepared})
    if len(shapes) > 1:
        raise Problem(f"All images must have the same shape; these have the shapes {', '.join(shapes)}.")
    return torch.stack(prepared)


def cropped(name: str, bytes_: int = LONGEST) -> str:
    """The start of a name, with at most `bytes_` bytes in UTF-8."""
    return name.encode(errors="replace")[:bytes_].decode(errors="ignore")


def transform_of(model: nn.Module) -> Transform | None:
    """The transform in `model.transform` that prepares the model's images; None if there is none.

    Torchvision's detection networks have a layer called `transform`, which is not meant here. Torchvision's presets are
    modules too, but they have a mean and a standard deviation.
    """
    transform = getattr(model, "transform", None)
    is_layer = isinstance(transform, nn.Module) and not (hasattr(transform, "mean") and hasattr(transform, "std"))
    return transform if callable(transform) and not is_layer else None


def as_seen(pixels: Tensor, transform: Transform | None) -> Tensor:
    """The input of a network, float C×H×W, as a picture for people, float C×H×W in [0, 1].

    If the transform has a mean and a standard deviation, as torchvision's have, the normalisation is undone. Otherwise,
    values outside [0, 1] show that the image was normalised in an unknown way. Then the lowest value becomes black and
    the highest white.
    """
    mean, deviation = getattr(transform, "mean", None), getattr(transform, "std", None)
    if mean is not None and deviation is not None and len(mean) == len(pixels):
        mean, deviation = torch.tensor(mean).reshape(-1, 1, 1), torch.tensor(deviation).reshape(-1, 1, 1)
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
    """The picture with the size and the channels that the model takes. If there are 2 or 4, the last is the opacity."""
    channels, *size = input_shape(model)
    pixels = to_input(picture, tuple(size))
    pixels = rgb_to_grayscale(pixels, 1) if channels in (1, 2) else pixels
    if channels in (2, 4):
        with_alpha = Image.open(image) if isinstance(image, Path) else image
        alpha = with_alpha.convert("RGBA").getchannel("A").convert("RGB")
        pixels = torch.cat([pixels, to_input(alpha, tuple(size))[:1]])
    return pixels


def _from_array(array: np.ndarray) -> Image.Image:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_image or not array.size:
        kind = f"an array of {array.dtype} and shape {by(array.shape)}"
        raise Problem(f"The image is {kind}; pass uint8 H×W×3, or a float tensor 3×S×S.")
    return Image.fromarray(array.squeeze(2) if array.shape[2:] == (1,) else array)
