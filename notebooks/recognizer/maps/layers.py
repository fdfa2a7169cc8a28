"""The layers of a model: what they are called, and what image the model wants to be given."""

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ..settings import Problem

DEFAULT_IMAGE_SIZE = 224  # of models that do not say what they take; torchvision's take this
MOST_OTHER_TOKENS = 16  # class and register tokens; known networks have up to 8


def layer_names(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> list[str]:
    """The names that `model.named_modules()` gives its layers, in order; with `kind`, only layers of that type."""
    return [name for name, layer in _checked(model).named_modules() if name and isinstance(layer, kind)]


def layers_by_name(model: nn.Module) -> dict[str, nn.Module]:
    """Each layer under every name by which it can be asked for.

    Those are the names of `named_modules`, of a shared layer all of them, and the same without what wrappers add:
    '_orig_mod.' (torch.compile) and 'module.' (DataParallel). Raises `Problem` where the layers are out of reach.
    """
    layers = {name: layer for name, layer in _checked(model).named_modules(remove_duplicate=False) if name}
    for name, layer in list(layers.items()):
        layers.setdefault(name.replace("_orig_mod.", ""), layer)
        layers.setdefault(name.replace("_orig_mod.", "").removeprefix("module."), layer)
    return layers


def _checked(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else f"of type {type(model).__name__}"
        raise Problem(f"The model is {what}; pass a network (a torch.nn.Module), for example what load_model returns.")
    if isinstance(model, torch.jit.ScriptModule):
        raise Problem("torch.jit made this model, and its layers cannot be hooked; pass the network it was made from.")
    return model


def unknown_layer(name: object, known: list[str]) -> str:
    """The sentence for a layer that does not exist, with the closest names."""
    closest = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4) or known[:8]
    if not closest:
        return f"There is no layer {name!r} in this model; it has no layers of its own."
    return f"There is no layer {name!r} in this model; the closest names are {', '.join(map(repr, closest))}."


def by(shape: Sequence[int]) -> str:
    """A shape as it is printed: 3×224×224."""
    return "×".join(map(str, shape))


def is_features_last(model: nn.Module, layer: nn.Module, shape: Sequence[int], image_size: Sequence[int]) -> bool:
    """Whether a layer whose output for one image has `shape` puts out H×W×C, as some of Swin and ConvNeXt do.

    There the first two dimensions have the proportions of the image (`image_size`: height, width), the last two have
    not, and only the last is as long as a bias or scale of the model. Layers whose type is called …2d always output
    C×H×W.
    """
    if len(shape) != 3 or type(layer).__name__.endswith("2d"):
        return False
    widths = {len(weight) for weight in model.parameters() if weight.ndim == 1}

    def like_image(height: int, width: int) -> bool:
        return abs(height * image_size[1] - width * image_size[0]) < max(image_size)

    is_last = shape[2] in widths and shape[0] not in widths
    return is_last and like_image(*shape[:2]) and not like_image(*shape[1:])


def token_grid(model: nn.Module, shape: Sequence[int], image_size: Sequence[int]) -> tuple[int, int, int] | None:
    """(rows, columns, others) of a layer whose output for one image are tokens, `shape` T×D; None for anything else.

    A convolution whose kernel is as wide as its step cuts the image (`image_size`: height, width) into patches, and
    each of the last rows × columns tokens belongs to one of them. The others come first: class and register tokens.
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
    """Whether the first convolution of a model is one in three dimensions, so that one input is C×D×H×W."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((layer for layer in model.modules() if isinstance(layer, kinds)), None)
    return isinstance(first, nn.Conv3d)


def input_shape(model: nn.Module) -> tuple[int, int, int]:
    """Channels, height and width of the image that `model` wants, as far as it says so; else 3×224×224.

    Channels are those of the first convolution: 1 for grey, 2 for grey and opacity, 4 for RGB and opacity, else 3.
    """
    first = next((layer for layer in _checked(model).modules() if isinstance(layer, nn.Conv2d)), None)
    channels = first.in_channels if first is not None and first.in_channels in (1, 2, 4) else 3
    return channels, *(stated_size(model) or (DEFAULT_IMAGE_SIZE, DEFAULT_IMAGE_SIZE))


def stated_size(model: nn.Module) -> tuple[int, int] | None:
    """Height and width that a model or one of its parts says it takes: `image_size` as here and in torchvision, in the
    `config` of transformers, `img_size` or `pretrained_cfg` as in timm. None where nothing is said."""
    parts = list(model.modules())
    ways = (
        lambda part: getattr(part, "image_size", None),
        lambda part: getattr(getattr(part, "config", None), "image_size", None),
        lambda part: getattr(part, "img_size", None),
        # The size that the weights of timm were trained at comes last: the model may have been made for another.
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
