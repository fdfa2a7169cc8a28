"""The pictures of a page, and what the network answers to them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode

from ..maps.activations import capture
from ..maps.given import Given as Picture
from ..maps.given import Transform, as_given, transform_of
from ..maps.layers import by
from ..network.training import probabilities_of
from ..settings import Problem

Resize = tuple[int, int, str]


@dataclass(frozen=True)
class Pictures:
    """What the pictures of a page are: uint8 N×C×H×W as stored, and how [0, 1] becomes what the network takes.

    `normalise` is a mean and a standard deviation for each channel, or None. `resize` is how the page brings a picture
    of its reader to that size: 'squeeze', (side after resizing, side after cropping, 'bilinear' or 'bicubic'), or None
    where only Python can.
    """

    pixels: np.ndarray
    names: list[str]
    labels: list[str]
    normalise: tuple[Tensor, Tensor] | None = None
    resize: str | Resize | None = "squeeze"

    def for_network(self) -> Tensor:
        """float32 N×C×H×W, as the network takes it."""
        images = torch.from_numpy(self.pixels).float() / 255
        if self.normalise is None:
            return images
        mean, deviation = (each.reshape(-1, 1, 1) for each in self.normalise)
        return (images - mean) / deviation


def pictures_of(
    model: nn.Module,
    images: Mapping[str, Sequence[Picture]] | Sequence[Picture],
    labels: Sequence[str] | None,
    transform: Transform | None,
) -> Pictures:
    """The images given to `explore`, as the page keeps them. Raises `Problem` for those that cannot be used."""
    if isinstance(images, Mapping):
        labels = [label for label, group in images.items() for _ in group]
        images = [image for group in images.values() for image in group]
    images = list(images)
    if not images:
        raise Problem("There are no images; give explore at least one.")
    if labels is not None and len(labels) != len(images):
        raise Problem(f"There are {len(images)} images and {len(labels)} labels; give one label an image.")
    transform = transform or transform_of(model)
    tensors = [as_given(image, model, transform)[0] for image in images]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1 or tensors[0].shape[0] not in (1, 3):
        raise Problem(f"The images have the shapes {', '.join(map(by, shapes))}; give RGB images of one size.")
    stack = torch.stack(tensors).float()
    normalise, resize = (None, "squeeze") if transform is None else _of_transform(transform, stack)
    if normalise is not None:
        mean, deviation = (each.reshape(-1, 1, 1) for each in normalise)
        stack = stack * deviation + mean
    elif stack.min() < 0 or stack.max() > 1:
        raise Problem(
            f"The images have values from {stack.min():.3g} to {stack.max():.3g}; give tensors in [0, 1], or files "
            "with transform=weights.transforms()."
        )
    known = [str(name) for name in getattr(model, "classes", [])]
    labels = [_folder(image, known) for image in images] if labels is None else [str(label) for label in labels]
    names = [Path(_file(image)).name or f"image {number}" for number, image in enumerate(images, 1)]
    return Pictures((stack.clamp(0, 1) * 255).round().to(torch.uint8).numpy(), names, labels, normalise, resize)


def _of_transform(transform: Transform, stack: Tensor) -> tuple[tuple[Tensor, Tensor], Resize | None]:
    """How the page does what a transform does: mean and standard deviation, and what resizing and cropping do.

    Of a transform that is not torchvision's the page knows nothing; then [0, 1] is what the given images span.
    """
    parts = [getattr(transform, name, None) for name in ("mean", "std", "resize_size", "crop_size", "interpolation")]
    if any(part is None for part in parts):
        low, high = float(stack.min()), float(stack.max())
        channels = stack.shape[1]
        return (torch.full((channels,), low), torch.full((channels,), (high - low) or 1.0)), None
    mean, deviation, resize, crop, interpolation = parts
    is_known = interpolation in (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC) and crop[0] <= resize[0]
    sides = (int(resize[0]), int(crop[0]), interpolation.value)
    return (torch.tensor(mean), torch.tensor(deviation)), sides if is_known else None


def _file(image: Picture) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else getattr(image, "filename", "")


def _folder(image: Picture, classes: Sequence[str]) -> str:
    """The name of the folder that an image is in, if it is that of a class."""
    folder = Path(_file(image)).parent.name
    return folder if folder in classes else ""


def answers(
    model: nn.Module, pictures: Pictures, gives_probabilities: bool = False
) -> tuple[list[list[float]], list[list[float]]]:
    """Probabilities and logits for each picture, as `Network.forward` in engine.js gives them.

    `gives_probabilities`: the network is known to end in a softmax or a sigmoid. Else rows that add up to 1 tell.
    """
    whole = nn.Sequential(model)  # so that what the network itself answers is the output of a layer
    logits = torch.from_numpy(capture(whole, "0", pictures.for_network())["0"])
    if logits.ndim != 2:
        raise Problem(f"The network answers {by(logits.shape)} for {len(logits)} images; explore takes rows of logits.")
    if not logits.isfinite().all():  # JSON has no word for them
        raise Problem("The network answers infinite or undefined numbers; give explore one that did not diverge.")
    is_softmax = bool((logits >= 0).all() and (logits.sum(dim=1) - 1).abs().max() < 1e-4)  # what it ends in
    is_softmax = is_softmax and logits.shape[1] > 1
    if not gives_probabilities and not is_softmax:
        return probabilities_of(logits).tolist(), logits.tolist()
    both = torch.cat([1 - logits, logits], dim=1) if logits.shape[1] == 1 else logits
    return both.tolist(), logits.tolist()
