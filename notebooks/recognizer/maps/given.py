"""The image that is given, as the model wants it, and a folder's name for it."""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from ..inputs import to_input
from ..settings import Problem, shown
from .layers import by, input_shape

LONGEST = 80  # bytes of a name; file systems take 255, and some programs only 260 for the whole path


def as_given(image: Path | str | Image.Image | np.ndarray | Tensor, model: nn.Module) -> tuple[Tensor, str]:
    """The image as float32 C×H×W, and a folder's name that no other image has.

    Files, PIL images and uint8 arrays are brought to the size that the model says it takes, and made grey where it
    takes one channel; tensors stay as they are. Raises `Problem` for anything else, and for a file that is no image.
    """
    name = Path(getattr(image, "filename", "") or "image").stem
    if isinstance(image, Tensor):
        if not image.is_floating_point():
            raise Problem(f"The image is of {image.dtype}; pass float32 3×S×S in [0, 1], or see to_input.")
        pixels = image.detach().float().cpu()
    elif isinstance(image, np.ndarray):
        pixels = _sized(_from_array(image), model)
    elif isinstance(image, Image.Image):
        pixels = _sized(image, model)
    elif not isinstance(image, str | os.PathLike):
        raise Problem(f"The image is of type {type(image).__name__}; pass a file, a PIL image, an array or a tensor.")
    elif os.path.isfile(image):  # unlike Path.is_file, False also for what no file can be called
        pixels, name = _sized(Path(image), model), Path(image).stem
    else:
        what = "is a folder, not an image" if os.path.isdir(image) else "does not exist"
        name = cropped(shown(Path(image)))
        raise Problem(f"There is no image here: {name!r} {what}; give the path of an image file.")
    if pixels.ndim != 3 or not pixels.numel():
        raise Problem(f"The image has the shape {by(pixels.shape)}, not 3×S×S; pass one image, channels first.")
    if isinstance(image, str | os.PathLike):
        content = Path(image).read_bytes()
    else:
        content = repr(pixels.shape).encode() + pixels.numpy().tobytes()
    safe_name = cropped(re.sub(r"[^\w.-]+", "_", name)).strip("._") or "image"
    return pixels, f"{safe_name}-{hashlib.sha256(content).hexdigest()[:8]}"


def cropped(name: str, bytes_: int = LONGEST) -> str:
    """The start of a name, of at most so many bytes in UTF-8."""
    return name.encode(errors="replace")[:bytes_].decode(errors="ignore")


def _sized(image: Path | Image.Image, model: nn.Module) -> Tensor:
    channels, *size = input_shape(model)
    pixels = to_input(image, tuple(size))
    return rgb_to_grayscale(pixels, 1) if channels == 1 else pixels


def _from_array(array: np.ndarray) -> Image.Image:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not is_image or not array.size:
        what = f"an array of {array.dtype} and shape {by(array.shape)}"
        raise Problem(f"The image is {what}; pass uint8 H×W×3, or a float tensor 3×S×S.")
    return Image.fromarray(array.squeeze(2) if array.shape[2:] == (1,) else array)
