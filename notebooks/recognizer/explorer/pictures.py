"""The pictures of a page, and the predictions of the network for them."""

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
    """The pictures of a page, uint8 N×C×H×W, and how the page prepares a picture for the network.

    `normalise` is a mean and a standard deviation per channel, applied to values in [0, 1]; or None. `resize` says how
    the page resizes a picture that a user adds: 'squeeze' (to the size of the network, without keeping the proportions)
    or (side after resizing, side after cropping, 'bilinear' or 'bicubic'). It is None if the page cannot do it.
    """

    pixels: np.ndarray
    names: list[str]
    labels: list[str]
    normalise: tuple[Tensor, Tensor] | None = None
    resize: str | Resize | None = "squeeze"

    def for_network(self) -> Tensor:
        """The input of the network, float32 N×C×H×W."""
        images = torch.from_numpy(self.pixels).float() / 255
        if self.normalise is None:
            return images
        mean, deviation = (values.reshape(-1, 1, 1) for values in self.normalise)
        return (images - mean) / deviation


def pictures_of(
    model: nn.Module,
    images: Mapping[str, Sequence[Picture]] | Sequence[Picture],
    labels: Sequence[str] | None,
    transform: Transform | None,
) -> Pictures:
    """Prepare the images that the user passed to `explore`. Raises `Problem` for images that cannot be used."""
    if isinstance(images, Mapping):
        labels = [label for label, group in images.items() for _ in group]
        images = [image for group in images.values() for image in group]
    images = list(images)
    if not images:
        raise Problem("There are no images; pass at least one to explore.")
    if labels is not None and len(labels) != len(images):
        raise Problem(f"There are {len(images)} images and {len(labels)} labels; pass one label per image.")
    transform = transform or transform_of(model)
    tensors = [as_given(image, model, transform)[0] for image in images]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1 or tensors[0].shape[0] not in (1, 3):
        raise Problem(f"The images have the shapes {', '.join(map(by, shapes))}; pass RGB or grey images of one size.")
    stack = torch.stack(tensors).float()
    normalise, resize = (None, "squeeze") if transform is None else _of_transform(transform, stack)
    if normalise is not None:
        mean, deviation = (values.reshape(-1, 1, 1) for values in normalise)
        stack = stack * deviation + mean
    elif stack.min() < 0 or stack.max() > 1:
        raise Problem(
            f"The images have values from {stack.min():.3g} to {stack.max():.3g}; pass tensors in [0, 1], or files and "
            "transform=weights.transforms()."
        )
    classes = [str(name) for name in getattr(model, "classes", [])]
    labels = [_folder(image, classes) for image in images] if labels is None else [str(label) for label in labels]
    names = [Path(_file(image)).name or f"image {number}" for number, image in enumerate(images, 1)]
    return Pictures((stack.clamp(0, 1) * 255).round().to(torch.uint8).numpy(), names, labels, normalise, resize)


def _of_transform(transform: Transform, stack: Tensor) -> tuple[tuple[Tensor, Tensor], Resize | None]:
    """How the page can repeat a transform: the (mean, standard deviation) per channel, and `Pictures.resize`.

    The page cannot repeat a transform that is not torchvision's. Then the range of all images is mapped to [0, 1].
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
    """The name of the image's folder if it is the name of a class, else ''."""
    folder = Path(_file(image)).parent.name
    return folder if folder in classes else ""


def predictions_of(
    model: nn.Module, pictures: Pictures, gives_probabilities: bool = False
) -> tuple[list[list[float]], list[list[float]]]:
    """(probabilities, logits), one row per picture, computed as `Network.forward` in engine.js does.

    `gives_probabilities` says that the network ends in a softmax or a sigmoid. Otherwise it is assumed to end in a
    softmax if all rows add up to 1. Raises `Problem` for outputs that are not one row of finite numbers per picture.
    """
    whole = nn.Sequential(model)  # a wrapper, so that the model itself is a layer with an output
    logits = torch.from_numpy(capture(whole, "0", pictures.for_network())["0"])
    if logits.ndim != 2:
        raise Problem(
            f"The network outputs {by(logits.shape)} for {len(logits)} images; explore needs one row of logits each."
        )
    if not logits.isfinite().all():  # JSON cannot store them
        raise Problem("The network outputs infinite or undefined values; pass explore a network that did not diverge.")
    sums_to_one = logits.shape[1] > 1 and (logits >= 0).all() and (logits.sum(dim=1) - 1).abs().max() < 1e-4
    if not gives_probabilities and not sums_to_one:
        return probabilities_of(logits).tolist(), logits.tolist()
    probabilities = torch.cat([1 - logits, logits], dim=1) if logits.shape[1] == 1 else logits
    return probabilities.tolist(), logits.tolist()
