"""The same work as a good user would write it from the tutorials: the other side of `bench.py`.

ImageFolder, DataLoader with a worker a core, transforms an image, float32, Adam, one hook a layer, matplotlib for every
picture. Nothing here is slow on purpose, and nothing of the package beside the notebooks is used.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

plt.switch_backend("Agg")
IMAGE_SIZE = 150
TO_TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
NORMALIZE = v2.Normalize(mean=[0.5] * 3, std=[0.5] * 3)


class PlainCNN(nn.Module):
    """Four 3×3 convolutions of 32, 64, 128, 128 filters with ReLU and pooling, and two fully connected layers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 128, 3)
        self.conv4 = nn.Conv2d(128, 128, 3)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(0.5)
        self.fc1 = nn.Linear(128 * 7 * 7, 512)
        self.fc2 = nn.Linear(512, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = self.pool(torch.relu(conv(x)))
        x = torch.relu(self.fc1(self.dropout(x.flatten(1))))
        return self.fc2(x)


def open_image(path: str) -> Image.Image:  # has a name, as workers that are spawned must be sent it
    return Image.open(path).convert("RGB")


def loaders(datasets: Path, image_size: int = IMAGE_SIZE) -> dict[str, DataLoader]:
    augmentation = [v2.RandomHorizontalFlip(), v2.RandomRotation(10), v2.ColorJitter(0.2, 0.2, 0.2)]
    found = {}
    for split in ("Train", "Val", "Test"):
        resize = v2.Resize((image_size, image_size))
        transform = v2.Compose([*(augmentation if split == "Train" else []), resize, *TO_TENSOR, NORMALIZE])
        folder = ImageFolder(datasets / split, transform=transform, loader=open_image)
        found[split] = DataLoader(folder, batch_size=32, shuffle=split == "Train", num_workers=os.cpu_count())
    return found


def accuracy(model: nn.Module, loader: DataLoader, device: torch.device) -> float:
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += (model(images.to(device)).argmax(dim=1) == labels.to(device)).sum().item()
    return correct / len(loader.dataset)


def train(
    datasets: Path,
    num_epochs: int,
    seed: int,
    after_epoch: Callable[[int, float, float], None],
    network: Callable[[int], nn.Module] = PlainCNN,
    image_size: int = IMAGE_SIZE,
) -> tuple[nn.Module, float, float]:
    """Train, keeping the best epoch. Returns (model, test accuracy, images a second while training).

    `network(count)` returns an untrained network for `count` classes and images of `image_size`.
    `after_epoch` gets the number of the epoch, the seconds since the start, and the validation accuracy.
    """
    started = time.perf_counter()
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = loaders(datasets, image_size)
    model = network(len(data["Train"].dataset.classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    best, best_weights, train_seconds = -1.0, None, 0.0
    for epoch in range(1, num_epochs + 1):
        epoch_started = time.perf_counter()
        model.train()
        for images, labels in data["Train"]:
            optimizer.zero_grad()
            loss = criterion(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        train_seconds += time.perf_counter() - epoch_started
        val_accuracy = accuracy(model, data["Val"], device)
        if val_accuracy > best:
            best = val_accuracy
            best_weights = {name: weight.clone() for name, weight in model.state_dict().items()}
        after_epoch(epoch, time.perf_counter() - started, val_accuracy)
    model.load_state_dict(best_weights)
    speed = num_epochs * len(data["Train"].dataset) / train_seconds
    return model, accuracy(model, data["Test"], device), speed


def save_feature_maps(model: nn.Module, image_path: Path, folder: Path) -> int:
    """A PNG a filter and a grid a layer, for the four convolutions. Returns the number of files of single filters."""
    model.eval()
    device = next(model.parameters()).device
    activations = {}
    hooks = [
        getattr(model, name).register_forward_hook(
            lambda module, inputs, output, name=name: activations.__setitem__(name, output.detach().cpu())
        )
        for name in ("conv1", "conv2", "conv3", "conv4")
    ]
    resize = v2.Resize((IMAGE_SIZE, IMAGE_SIZE))
    image = v2.Compose([resize, *TO_TENSOR, NORMALIZE])(Image.open(image_path).convert("RGB"))
    with torch.no_grad():
        model(image.unsqueeze(0).to(device))
    for hook in hooks:
        hook.remove()
    for name, activation in activations.items():
        save_maps(activation[0].numpy(), folder / name)
    return sum(activation.shape[1] for activation in activations.values())


def save_maps(maps: np.ndarray, folder: Path) -> None:
    """A PNG a map of C×H×W in `folder`, and a grid of all of them beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(maps):
        plt.imsave(folder / f"filter_{number:03d}.png", one, cmap="viridis")
    columns = 16
    figure, axes = plt.subplots(-(-len(maps) // columns), columns, figsize=(16, len(maps) / columns))
    for axis in axes.flat:
        axis.axis("off")
    for axis, one in zip(axes.flat, maps):
        axis.imshow(one, cmap="viridis")
    figure.savefig(f"{folder}.png")
    plt.close(figure)
