"""An image of any kind as the eye sees it, and as a network takes it."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import v2

# Odd metadata, and very many pixels, which Pillow warns of; the first does not matter here, the second is checked where
# files arrive. A filter for good, because changing filters around each image is not safe in threads.
for category in (UserWarning, Image.DecompressionBombWarning):
    warnings.filterwarnings("ignore", category=category, module=r"PIL\.")


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` upright and in RGB: transparent parts on white, 16-bit grey (and float grey in [0, 1]) scaled, not cut off."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image).astype(np.float32)
        whole = 255 if image.mode == "I" and values.max() <= 255 else 1 if image.mode == "F" else 65535
        return Image.fromarray((values / whole * 255).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def open_rgb(file: Path | str | BinaryIO) -> Image.Image:
    """Open an image file (of several frames, the first) as `to_rgb` makes it.

    Raises OSError (or another of Pillow's errors) when the file does not decode completely.
    """
    with Image.open(file) as image:
        return to_rgb(image)


def as_pixels(image_size: int) -> v2.Transform:
    """The v2 transform from an RGB PIL image to uint8 3×S×S: squeezed to a square, so that nothing is cut off."""
    return v2.Compose([v2.Resize((image_size, image_size), antialias=True), v2.ToImage()])


def to_input(image: Path | str | Image.Image, image_size: int) -> Tensor:
    """A file or PIL image as the network sees it in validation: float32 3×S×S, RGB in [0, 1], S = `image_size`."""
    image = to_rgb(image) if isinstance(image, Image.Image) else open_rgb(image)
    return v2.functional.to_dtype(as_pixels(image_size)(image), torch.float32, scale=True).as_subclass(Tensor)
