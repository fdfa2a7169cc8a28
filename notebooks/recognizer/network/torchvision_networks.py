"""The classification networks of torchvision, with pretrained weights if these can be downloaded."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import torch
import torchvision
from torch import Tensor, nn

from ..data.downloads import Download, download, reachable
from ..settings import Problem

# The mean and standard deviation of the colours in ImageNet. torchvision's weights were trained with them.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The weights of these two were trained with a mean and deviation of 0.5 (torchvision's `transform_input` converts to
# that). By default, these networks have a second output in training.
INCEPTIONS = dict.fromkeys(("googlenet", "inception_v3"), {"aux_logits": False, "init_weights": True})


class TorchvisionNetwork(nn.Module):
    """A classification network of torchvision with random weights and a last layer for `classes`.

    It takes float32 N×3×S×S in [0, 1] with S = `image_size`, normalises the images, and returns logits, float32
    N×len(classes). `name` is torchvision's name, such as 'resnet18'. The names of its layers start with 'network.'.
    Raises `Problem` for an unknown name, with the closest ones, and for an `image_size` that the network cannot take.
    """

    def __init__(self, name: str, classes: Sequence[str], image_size: int) -> None:
        super().__init__()
        if name not in names():
            closest = difflib.get_close_matches(name, ["BikeCarCNN", *names()], n=3, cutoff=0.3)
            raise Problem(f"There is no network {name!r}; the closest names are {', '.join(closest or names()[:3])}.")
        self.name, self.classes, self.image_size = name, list(classes), image_size
        mean, deviation = ((0.5,) * 3,) * 2 if name in INCEPTIONS else (MEAN, DEVIATION)
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).reshape(1, 3, 1, 1), persistent=False)
        self.network = _built(name, len(self.classes))
        self._check_size()

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.deviation)

    @property
    def last_layer(self) -> nn.Linear | nn.Conv2d:
        """The layer that outputs the logits. In SqueezeNet, it is a 1×1 convolution whose maps are averaged."""
        return _last_layer(self.network)[1]

    def _check_size(self) -> None:
        was_training = self.training
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, self.image_size, self.image_size))
        except Exception as error:  # a forward pass may raise anything if the maps become too small
            raise Problem(
                f"{self.name} cannot take images of {self.image_size}×{self.image_size} pixels "
                f"({str(error).splitlines()[0][:120]}); try IMAGE_SIZE=224."
            ) from error
        self.train(was_training)


def names() -> list[str]:
    """The names of torchvision's classification networks."""
    return torchvision.models.list_models(module=torchvision.models)


def pretrained(name: str, classes: Sequence[str], image_size: int) -> tuple[TorchvisionNetwork, str]:
    """A `TorchvisionNetwork` with the weights that torchvision publishes for it, and a sentence that says so.

    The weights are downloaded once, to torchvision's own folder (TORCH_HOME changes it). They are checked against the
    start of the SHA-256 in the file's name. The last layer is new, with random weights from PyTorch's seed. Without a
    connection, all weights are random. The sentence then says so, and where to put the file.
    Raises `Problem` if the file is not the published one, and if the server refuses.
    """
    model = TorchvisionNetwork(name, classes, image_size)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not file.exists() and not reachable(weights.url):
        return model, (
            f"{name} starts from random weights, because {urlsplit(weights.url).netloc} cannot be reached. To use the "
            f"pretrained ones without a connection, put {file.name} into the folder checkpoints of torch.hub.get_dir()."
        )
    digest = re.search(r"-([0-9a-f]{8,})\.", file.name)  # torchvision puts the start of the SHA-256 into the name
    checksum = f"sha256:{digest[1]}" if digest else None
    instead = "start from random weights with PRETRAINED=no"
    download(Download(weights.url, checksum, file.name, is_archive=False, instead=instead), file)
    full = torchvision.models.get_model(name, weights=weights)  # finds the file there
    kept = {key: value for key, value in full.state_dict().items() if key in model.network.state_dict()}
    last = _last_layer(model.network)[0]
    for key in (f"{last}.weight", f"{last}.bias"):
        kept[key] = model.network.state_dict()[key]
    model.network.load_state_dict(kept)
    return model, f"{name} starts from torchvision's weights {weights}, trained on ImageNet."


def _built(name: str, num_classes: int) -> nn.Module:
    network = torchvision.models.get_model(name, weights=None, **INCEPTIONS.get(name, {}))
    where, last = _last_layer(network)
    parent = network.get_submodule(where.rpartition(".")[0])
    if isinstance(last, nn.Conv2d):  # SqueezeNet: the ReLU after it would remove negative logits
        new: nn.Module = nn.Conv2d(last.in_channels, num_classes, 1)
        network.classifier[2] = nn.Identity()
    else:
        new = nn.Linear(last.in_features, num_classes)
    setattr(parent, where.rpartition(".")[2], new)
    return network


def _last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Its name, and the layer itself: the last linear layer, or in SqueezeNet the last convolution."""
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1]
