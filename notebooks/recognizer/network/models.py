"""The networks, and how they are saved. Each takes float32 RGB in [0, 1], N×3×S×S, and normalises inside."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..settings import Problem, shown
from .torchvision_networks import TorchvisionNetwork, names


class BikeCarCNN(nn.Module):
    """Seven convolutions, the first of 7×7, the others of 3×3, each with batch norm and ReLU, and two linear layers.

    Four of the convolutions are followed by 2×2 max pooling.
    The input is float32 N×3×S×S in [0, 1] with S = `image_size`. The output is logits, float32 N×len(classes).
    Every layer has its own name, so that you can look at every step. The kernels of the first layer are large enough to
    look at. They start at a fiftieth of PyTorch's usual weights, so that the learned part outweighs the random start;
    batch norm makes up for most of the scale. Pooling comes right after the convolution. Batch norm and ReLU then work
    on a quarter of the values, and training is a fifth faster. From conv4 on, maps are an eighth as wide and high as
    the image, which is fine enough to show where a part is.
    Raises `Problem` if `image_size` is too small for four poolings.
    """

    def __init__(self, classes: Sequence[str] = ("Bike", "Car"), image_size: int = 128) -> None:
        super().__init__()
        if image_size < 16:
            raise Problem(f"image_size={image_size} is too small: pooling halves it four times. Use 16 or more.")
        self.classes, self.image_size = list(classes), image_size
        self.conv1 = nn.Conv2d(3, 16, 7, padding=3, bias=False)
        with torch.no_grad():
            self.conv1.weight.mul_(0.02)
        self.pool1 = nn.MaxPool2d(2)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu1 = nn.ReLU()

        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.pool2 = nn.MaxPool2d(2)
        self.bn2 = nn.BatchNorm2d(32)
        self.relu2 = nn.ReLU()

        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.pool3 = nn.MaxPool2d(2)
        self.bn3 = nn.BatchNorm2d(64)
        self.relu3 = nn.ReLU()

        self.conv4 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn4 = nn.BatchNorm2d(64)
        self.relu4 = nn.ReLU()

        self.conv5 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn5 = nn.BatchNorm2d(64)
        self.relu5 = nn.ReLU()

        self.conv6 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn6 = nn.BatchNorm2d(64)
        self.relu6 = nn.ReLU()

        self.conv7 = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        self.pool7 = nn.MaxPool2d(2)
        self.bn7 = nn.BatchNorm2d(128)
        self.relu7 = nn.ReLU()

        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(128 * (image_size // 16) ** 2, 128)
        self.relu8 = nn.ReLU()
        self.fc2 = nn.Linear(128, len(self.classes))

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.5) / 0.25
        x = self.relu1(self.bn1(self.pool1(self.conv1(x))))
        x = self.relu2(self.bn2(self.pool2(self.conv2(x))))
        x = self.relu3(self.bn3(self.pool3(self.conv3(x))))
        x = self.relu4(self.bn4(self.conv4(x)))
        x = self.relu5(self.bn5(self.conv5(x)))
        x = self.relu6(self.bn6(self.conv6(x)))
        x = self.relu7(self.bn7(self.pool7(self.conv7(x))))
        x = self.relu8(self.fc1(self.dropout(x.flatten(1))))
        return self.fc2(x)


class ReLUConv2d(nn.Conv2d):
    """A convolution followed by ReLU, as `Conv2D(..., activation="relu")` in Keras."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu_()  # in place, because nothing else uses the values before it


class ReLULinear(nn.Linear):
    """A fully connected layer followed by ReLU, as `Dense(..., activation="relu")` in Keras."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu_()


class LayerByLayerCNN(nn.Module):
    """The cat/dog network of the classic Keras tutorial: four 3×3 convolutions with 2×2 max pooling, then 512 and 1.

    The input is float32 N×3×S×S in [0, 1] with S = `image_size`, as Keras' `rescale=1/255` makes it. It is not
    normalised further. The output is one logit, float32 N×1: positive for the second of the two classes. Keras has a
    sigmoid in its last layer; here, `probabilities_of` computes it, because the loss of a logit has no rounding errors
    if the probability is close to 0 or 1.
    The layers have the same names and outputs (after the ReLU) as in Keras, and the same initial weights: uniform, as
    in Glorot & Bengio 2010, with biases of zero.
    Raises `Problem` unless there are two classes, and if `image_size` is too small for the layers.
    """

    def __init__(self, classes: Sequence[str] = ("Cat", "Dog"), image_size: int = 150) -> None:
        super().__init__()
        if len(classes) != 2:
            raise Problem(
                f"One output tells two classes apart, and these are {len(classes)}: {', '.join(classes)}. "
                "Take images of the others out of datasets/."
            )
        if image_size < 46:
            raise Problem(f"image_size={image_size} is too small: nothing would be left of it. Use 46 or more.")
        self.classes, self.image_size = list(classes), image_size
        self.conv2d_1 = ReLUConv2d(3, 32, 3)
        self.max_pooling2d_1 = nn.MaxPool2d(2)
        self.conv2d_2 = ReLUConv2d(32, 64, 3)
        self.max_pooling2d_2 = nn.MaxPool2d(2)
        self.conv2d_3 = ReLUConv2d(64, 128, 3)
        self.max_pooling2d_3 = nn.MaxPool2d(2)
        self.conv2d_4 = ReLUConv2d(128, 128, 3)
        self.max_pooling2d_4 = nn.MaxPool2d(2)

        side = image_size
        for _ in range(4):
            side = (side - 2) // 2
        self.flatten_1 = nn.Flatten()
        self.dense_1 = ReLULinear(128 * side**2, 512)
        self.dense_2 = nn.Linear(512, 1)
        for layer in self.children():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)  # Xavier is Glorot's first name
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.max_pooling2d_1(self.conv2d_1(x))
        x = self.max_pooling2d_2(self.conv2d_2(x))
        x = self.max_pooling2d_3(self.conv2d_3(x))
        x = self.max_pooling2d_4(self.conv2d_4(x))
        return self.dense_2(self.dense_1(self.flatten_1(x)))


ARCHITECTURES = {"BikeCarCNN": BikeCarCNN, "LayerByLayerCNN": LayerByLayerCNN}


def new_model(architecture: str, classes: Sequence[str], image_size: int) -> nn.Module:
    """An untrained network: one of `ARCHITECTURES`, or one of torchvision's by its name, such as 'resnet18'.

    Raises `Problem` for an unknown name, with the closest ones, and for an `image_size` that the network cannot take.
    """
    if architecture in ARCHITECTURES:
        return ARCHITECTURES[architecture](classes, image_size)
    return TorchvisionNetwork(architecture, classes, image_size)


def new_like(model: nn.Module) -> nn.Module:
    """An untrained network of the same architecture, classes and image size as `model`."""
    if isinstance(model, TorchvisionNetwork):
        return TorchvisionNetwork(model.name, model.classes, model.image_size)
    return type(model)(model.classes, model.image_size)


def architecture_of(model: nn.Module) -> str:
    """The name with which `new_model` makes a network like `model`."""
    return model.name if isinstance(model, TorchvisionNetwork) else type(model).__name__


SAVED = {"architecture", "classes", "image_size", "weights"}


def save_model(model: nn.Module, path: Path) -> None:
    """Write what `load_model` needs: the architecture of `model`, its classes, its image size and its weights."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")  # two notebooks may train at the same time
    torch.save(
        {
            "architecture": architecture_of(model),
            "classes": model.classes,
            "image_size": model.image_size,
            "weights": model.state_dict(),
        },
        unfinished,
    )
    unfinished.replace(path)


def load_model(path: Path | str) -> nn.Module:
    """A saved model on the CPU, in eval mode, with `.image_size` and `.classes` (names in the order of its logits).

    Raises `Problem` if there is no such file, if it cannot be read, and if it does not hold a model of this project.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Problem(f"There is no model at {shown(path)}; run notebook 02 (or 06) to train one.") from error
    except OSError as error:
        raise Problem(f"{shown(path)} cannot be read: {error.strerror}.") from error
    try:
        return _unpacked(content)
    except _NotAModel as reason:
        raise Problem(
            f"{shown(path)} does not hold a model of this version: {reason}. Run notebook 02 (or 06) to train one."
        ) from reason


class _NotAModel(Exception):
    """A file does not hold a model. The text says why."""


def _unpacked(content: bytes) -> nn.Module:
    """The model in the content of a file. Raises `_NotAModel` if `save_model` did not write it."""
    if not content or content.startswith(b"version https://git-lfs"):
        raise _NotAModel("it is a pointer of Git LFS, `git lfs pull` fetches the model" if content else "it is empty")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # PyTorch's files are zip archives
            damaged = archive.testzip()
        saved = None if damaged else torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise _NotAModel("it is cut off, or no file of PyTorch") from error
    except (pickle.UnpicklingError, RuntimeError) as error:
        if "allocate memory" in str(error):  # PyTorch has no MemoryError
            raise
        raise _NotAModel("it holds more than numbers and names, or PyTorch cannot read it") from error
    if damaged:
        raise _NotAModel("it is damaged")
    if not isinstance(saved, dict) or saved.keys() != SAVED or not _is_known(saved["architecture"]):
        raise _NotAModel("another program or version saved it")
    classes, image_size = saved["classes"], saved["image_size"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise _NotAModel("its classes are not a list of names")
    try:
        model = new_model(saved["architecture"], classes, image_size)
        model.load_state_dict(saved["weights"])
    except (Problem, RuntimeError, TypeError, AttributeError) as error:
        raise _NotAModel("its weights are those of other layers") from error
    return model.eval()


def _is_known(architecture: object) -> bool:
    return isinstance(architecture, str) and (architecture in ARCHITECTURES or architecture in names())
