"""The layers of a model: their names, the layout of their outputs, and the image that the model takes."""

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ..settings import Problem

DEFAULT_IMAGE_SIZE = 224  # for models that do not state a size; torchvision's models use it
MOST_OTHER_TOKENS = 16  # class and register tokens; known networks have at most 8


def layer_names(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> list[str]:
    """The names that `model.named_modules()` gives its layers, in order; with `kind`, only layers of that type."""
    return [name for name, layer in _checked(model).named_modules() if name and isinstance(layer, kind)]


def layers_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Every accepted name of a layer → the layer.

    These are the names that `named_modules` gives, including all names of a shared layer. The same names without the
    prefixes of wrappers are accepted too: '_orig_mod.' (torch.compile), 'module.' (DataParallel) and 'network.' (a
    network of torchvision in this project). Raises `Problem` if `model` is not a network, or if torch.jit made it.
    """
    layers = {name: layer for name, layer in _checked(model).named_modules(remove_duplicate=False) if name}
    for name, layer in list(layers.items()):
        layers.setdefault(name.replace("_orig_mod.", ""), layer)
        layers.setdefault(name.replace("_orig_mod.", "").removeprefix("module."), layer)
        layers.setdefault(name.removeprefix("network."), layer)
    return layers


def _checked(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        kind = f"the class {model.__name__}" if isinstance(model, type) else f"of type {type(model).__name__}"
        raise Problem(f"The model is {kind}; pass a network (a torch.nn.Module), for example from load_model.")
    if isinstance(model, torch.jit.ScriptModule):
        raise Problem("torch.jit made this model, and its layers cannot be hooked; pass the network it was made from.")
    return model


def unknown_layer(name: object, known: list[str]) -> str:
    """The error message for a layer that does not exist, with the closest names."""
    closest = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4) or known[:8]
    if not closest:
        return f"There is no layer {name!r} in this model; the model has no named layers."
    return f"There is no layer {name!r} in this model; the closest names are {', '.join(map(repr, closest))}."


def by(shape: Sequence[int]) -> str:
    """A shape for messages, such as '3×224×224'."""
    return "×".join(map(str, shape))


def is_features_last(model: nn.Module, layer: nn.Module, shape: Sequence[int], image_size: Sequence[int]) -> bool:
    """Whether a layer outputs H×W×C instead of C×H×W, as some layers of Swin and ConvNeXt do.

    `shape` is the layer's output shape for one image, and `image_size` is the image's (height, width). The output is
    H×W×C if three conditions hold: the first two dimensions have the proportions of the image, the last two do not, and
    the last dimension, but not the first, is as long as some bias or scale of the model. Layers whose type ends in …2d
    always output C×H×W.
    """
    if len(shape) != 3 or type(layer).__name__.endswith("2d"):
        return False
    widths = {len(weight) for weight in model.parameters() if weight.ndim == 1}

    def like_image(height: int, width: int) -> bool:
        return abs(height * image_size[1] - width * image_size[0]) < max(image_size)

    is_last = shape[2] in widths and shape[0] not in widths
    return is_last and like_image(*shape[:2]) and not like_image(*shape[1:])


def token_grid(model: nn.Module, shape: Sequence[int], image_size: Sequence[int]) -> tuple[int, int, int] | None:
    """(rows, columns, others) of a layer that outputs tokens, `shape` T×D for one image; None for any other layer.

    A convolution whose stride equals its kernel size cuts the image (`image_size`: height, width) into rows × columns
    patches. The last rows × columns tokens belong to one patch each. `others` counts the class and register tokens
    before them.
    """
    if len(shape) != 2:
        return None
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride and max(layer.stride) > 1:
            rows, columns = (length // step for length, step in zip(image_size, layer.stride))
            others = shape[0] - rows * columns
            if rows * columns > 1 and 0 <= others <= MOST_OTHER_TOKENS:
                return rows, columns, others
    return None


def takes_volumes(model: nn.Module) -> bool:
    """Whether the first convolution of a model is three-dimensional, so that one input is C×D×H×W."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((layer for layer in model.modules() if isinstance(layer, kinds)), None)
    return isinstance(first, nn.Conv3d)


def input_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the image that `model` takes, as far as the model states them; else 3×224×224.

    The number of channels comes from the first convolution: 1 for grey, 2 for grey with opacity, 4 for RGB with
    opacity, and 3 otherwise.
    """
    first = next((layer for layer in _checked(model).modules() if isinstance(layer, nn.Conv2d)), None)
    channels = first.in_channels if first is not None and first.in_channels in (1, 2, 4) else 3
    return channels, *(stated_size(model) or (DEFAULT_IMAGE_SIZE, DEFAULT_IMAGE_SIZE))


def stated_size(model: nn.Module) -> tuple[int, int] | None:
    """The image height and width that a model or one of its parts states; None if none does.

    The places are `image_size` (this package, torchvision), `config.image_size` (transformers), and `img_size` or
    `pretrained_cfg` (timm).
    """
    parts = list(model.modules())
    ways = (
        lambda part: getattr(part, "image_size", None),
        lambda part: getattr(getattr(part, "config", None), "image_size", None),
        lambda part: getattr(part, "img_size", None),
        # timm also states the size its weights were trained at. It comes last, since the model may use another size.
        lambda part: _entry(getattr(part, "pretrained_cfg", None), "input_size"),
        lambda part: _entry(getattr(part, "default_cfg", None), "input_size"),
    )
    sizes = (_as_pair(way(part)) for way in ways for part in parts)
    return next((size for size in sizes if size), None)


def _entry(settings: object, name: str) -> object:
    return settings.get(name) if isinstance(settings, Mapping) else getattr(settings, name, None)


def _as_pair(size: object) -> tuple[int, int] | None:
    """S, (H, W) or (C, H, W) as height and width; None for anything else."""
    sides = [size, size] if isinstance(size, int | np.integer) else size
    if not isinstance(sides, tuple | list) or len(sides) not in (2, 3):
        return None
    if not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
        return None
    return int(sides[-2]), int(sides[-1])
