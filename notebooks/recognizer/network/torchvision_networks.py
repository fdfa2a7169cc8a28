"""The classification networks of torchvision, with weights that others trained where those can be had."""

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

# Of the colours of ImageNet's photographs: what torchvision's weights were trained with.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The weights of these two were trained with 0.5 for each (torchvision's `transform_input` converts to that), and the
# networks give a second answer while they train, unless told otherwise.
INCEPTIONS = dict.fromkeys(("googlenet", "inception_v3"), {"aux_logits": False, "init_weights": True})


class TorchvisionNetwork(nn.Module):
    """A classification network of torchvision, from its random start, whose last layer is made for `classes`.

    Input float32 N×3×S×S in [0, 1] with S = `image_size`, normalised inside as the network expects it; output logits,
    float32 N×len(classes). `name` is torchvision's, such as 'resnet18'; its layers are called 'network.…'.
    Raises `Problem` for an unknown name, naming the closest, and for an `image_size` that the network cannot take.
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
        """The layer that makes the logits. Squeezenet's is a 1×1 convolution, whose maps are averaged."""
        return _last_layer(self.network)[1]

    def _check_size(self) -> None:
        was_training = self.training
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, 3, self.image_size, self.image_size))
        except Exception as error:  # whatever a forward raises for a size that leaves nothing of the maps
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

    The weights are downloaded once, to where torchvision looks for them (TORCH_HOME moves it), and checked against the
    start of the SHA-256 in their file's name. The last layer is new. Without a connection the network stays at its
    random start, and the sentence says that, and where to put the file. The random numbers come from PyTorch's seed.
    Raises `Problem` for a file that is not what was published, and for a server that refuses.
    """
    model = TorchvisionNetwork(name, classes, image_size)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    if not file.exists() and not reachable(weights.url):
        return model, (
            f"{name} starts from random weights, because {urlsplit(weights.url).netloc} cannot be reached. To use the "
            f"pretrained ones without a connection, put {file.name} into the folder checkpoints of torch.hub.get_dir()."
        )
    digest = re.search(r"-([0-9a-f]{8,})\.", file.name)  # torchvision names its files by the start of their SHA-256
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
    if isinstance(last, nn.Conv2d):  # squeezenet: the ReLU that follows would leave no negative logit
        new: nn.Module = nn.Conv2d(last.in_channels, num_classes, 1)
        network.classifier[2] = nn.Identity()
    else:
        new = nn.Linear(last.in_features, num_classes)
    setattr(parent, where.rpartition(".")[2], new)
    return network


def _last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Name and layer. In all of torchvision's it is the last linear one, in squeezenet the last convolution."""
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1]
