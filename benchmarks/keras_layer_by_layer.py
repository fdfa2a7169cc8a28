"""The network of notebook 06 in Keras and here, in one run: seconds an epoch, seconds to draw eight layers, accuracy.

    python -m pip install keras            # computes with TensorFlow where that is installed, else with PyTorch
    python benchmarks/keras_layer_by_layer.py DATASET [--accuracy-epochs 100]

DATASET is what notebook 06 takes: a name, or a folder with one zip or folder per class (relative to the project). Keras
works as in the tutorial: a generator reads, decodes and scales each image anew, layers in front of the network augment
(today's idiom), and matplotlib draws the maps. Of several epochs, and of three drawings, the fastest counts on both
sides; validation is not in it. With `--accuracy-epochs` both recipes are trained to their end as well, Keras' for that
many epochs: augmented, with a dropout of 0.5 before `dense_1`, RMSprop at 1e-4. Everything is written to a temporary
folder; downloads are kept.
"""

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import plain
import temporary_workspace  # before the package, because it says where that works
from recognizer import LayerByLayerCNN, display_image_filtered, settings
from recognizer.data import prepare
from recognizer.data.dataset import Pictures
from recognizer.drawings import PETS
from recognizer.maps.activations import layer_table
from recognizer.network.evaluation import evaluate
from recognizer.network.hardware import choose_device, fastest_dtype, fastest_memory_format
from recognizer.network.recipe import Recipe, rmsprop
from recognizer.network.training import fit, logits_of, probabilities_of

IMAGE_SIZE, BATCH_SIZE, DRAWN_LAYERS = 150, 20, 8


class InKeras:
    """The tutorial, in whichever Keras is installed."""

    def __init__(self) -> None:
        has_tensorflow = importlib.util.find_spec("tensorflow")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow" if has_tensorflow else "torch")
        import keras

        self.keras = keras
        print(f"Keras {keras.__version__} with {keras.backend.backend()}")

    def pixels_of(self, path: Path) -> np.ndarray:
        loaded = self.keras.utils.load_img(path, target_size=(IMAGE_SIZE, IMAGE_SIZE))
        return self.keras.utils.img_to_array(loaded) / 255

    def batches_of(self, pictures: Pictures, shuffled: bool = True):
        paths, labels, pixels_of = pictures.paths, pictures.labels.numpy().astype(np.float32), self.pixels_of

        class Batches(self.keras.utils.PyDataset):
            def __init__(self) -> None:
                super().__init__(workers=os.cpu_count())
                self.random, self.order = np.random.default_rng(0), np.arange(len(paths))
                self.on_epoch_end()

            def __len__(self) -> int:
                return len(paths) // BATCH_SIZE if shuffled else -(-len(paths) // BATCH_SIZE)

            def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
                some = self.order[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]
                return np.stack([pixels_of(paths[i]) for i in some]), labels[some, None]

            def on_epoch_end(self) -> None:
                if shuffled:
                    self.random.shuffle(self.order)

        return Batches()

    def model(self, augmented: bool = False):
        """The tutorial's network, or that for augmented images; it would stop if ours had other layers."""
        layers = self.keras.layers
        network = []
        for number, filters in enumerate((32, 64, 128, 128), start=1):
            network.append(layers.Conv2D(filters, 3, activation="relu", name=f"conv2d_{number}"))
            network.append(layers.MaxPooling2D(2, name=f"max_pooling2d_{number}"))
        network.append(layers.Flatten(name="flatten_1"))
        network.append(layers.Dense(512, activation="relu", name="dense_1"))
        network.append(layers.Dense(1, activation="sigmoid", name="dense_2"))
        augmentation = [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(40 / 360, fill_mode="nearest"),
            layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
            layers.RandomZoom(0.2, fill_mode="nearest"),
        ]
        around = [*augmentation, *network[:9], layers.Dropout(0.5), *network[9:]] if augmented else network
        model = self.keras.Sequential([self.keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3)), *around])
        theirs = [(layer.name, layer.output.shape[1:], layer.count_params()) for layer in network]
        ours = [(n, (*shape[1:], shape[0]), count) for n, _, shape, count in layer_table(LayerByLayerCNN())]
        assert theirs == ours, (theirs, ours)
        optimizer = self.keras.optimizers.RMSprop(learning_rate=1e-4)
        model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["acc"])
        return model

    def fit(self, model, train: Pictures, num_epochs: int) -> float:
        """Trains; returns the seconds of the fastest epoch."""

        class Seconds(self.keras.callbacks.Callback):
            def on_train_begin(self, logs=None) -> None:
                self.found = []

            def on_epoch_begin(self, epoch, logs=None) -> None:
                self.started = time.perf_counter()

            def on_epoch_end(self, epoch, logs=None) -> None:
                self.found.append(time.perf_counter() - self.started)

        seconds = Seconds()
        model.fit(self.batches_of(train), epochs=num_epochs, callbacks=[seconds], verbose=0)
        return min(seconds.found)

    def draw(self, model, image: Path, folder: Path) -> float:
        """Draws the first eight layers of `image` into `folder`; returns the seconds it took."""
        started = time.perf_counter()
        layers = model.layers[:DRAWN_LAYERS]
        activations = self.keras.Model(model.inputs, [layer.output for layer in layers])
        for layer, output in zip(layers, activations.predict(self.pixels_of(image)[None], verbose=0)):
            plain.save_maps(output[0].transpose(2, 0, 1), folder / layer.name)
        return time.perf_counter() - started

    def accuracy(self, model, test: Pictures) -> float:
        answers = model.predict(self.batches_of(test, shuffled=False), verbose=0)[:, 0]
        return float(((answers > 0.5) == test.labels.numpy()).mean())


def train_here(
    train: Pictures, val: Pictures, num_epochs: int, checkpoint: Path, augmented: bool
) -> tuple[nn.Module, float]:
    """Our network, trained as in notebook 06, and the seconds of the fastest epoch; pixels are in the cache by then."""
    torch.manual_seed(0)
    model = LayerByLayerCNN(train.classes, IMAGE_SIZE).to(choose_device())
    recipe = Recipe(num_epochs, BATCH_SIZE, lr=1e-3, augmented=augmented, new_optimizer=rmsprop)
    history = fit(model, train, val, recipe, checkpoint)
    return model, len(train) / max(epoch.images_per_second for epoch in history.epochs)


def draw_here(model: nn.Module, image: Path) -> float:
    """Seconds to draw the first eight layers of `image`."""
    layers = [name for name, *_ in layer_table(model.cpu())][:DRAWN_LAYERS]
    started = time.perf_counter()
    display_image_filtered("Pet", model, layers, image, show=False)
    return time.perf_counter() - started


def convolutions_alone(num_images: int) -> float:
    """Seconds of an epoch that the four convolutions take, there and back, on this processor: its lower limit."""
    model = LayerByLayerCNN()
    shapes = {name: shape for name, _, shape, _ in layer_table(model)}
    seconds, device = 0.0, torch.device("cpu")
    dtype, memory_format = fastest_dtype(device), fastest_memory_format(device)
    for number in (1, 2, 3, 4):
        layer = model.get_submodule(f"conv2d_{number}").to(memory_format=memory_format)
        shape = shapes.get(f"max_pooling2d_{number - 1}", (3, IMAGE_SIZE, IMAGE_SIZE))
        maps = torch.rand(BATCH_SIZE, *shape, dtype=dtype).to(memory_format=memory_format)
        maps.requires_grad_(number > 1)  # nobody asks how the picture should have been
        weights = [weight.detach().to(dtype).requires_grad_() for weight in (layer.weight, layer.bias)]
        asked = [*weights, *([maps] if number > 1 else [])]
        gradient = torch.rand_like(nn.functional.conv2d(maps, *weights))
        found = []
        for _ in range(10):
            started = time.perf_counter()
            torch.autograd.grad(nn.functional.conv2d(maps, *weights), asked, gradient)
            found.append(time.perf_counter() - started)
        seconds += min(found)
    return seconds * (num_images // BATCH_SIZE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, default=3, help="to be timed")
    parser.add_argument("--images", type=int, default=450, help="drawings a class, where drawings are used")
    parser.add_argument("--accuracy-epochs", type=int, default=0, help="of Keras' recipe; 0: no accuracies")
    parser.add_argument("--our-epochs", type=int, default=130, help="of ours, as in notebook 06 for 1,050 photographs")
    args = parser.parse_args()
    if not importlib.util.find_spec("keras"):
        print("Keras is not installed, and the project does not need it: python -m pip install keras, then run again.")
        return 1
    shares = {"val_share": 0.1, "test_share": 0.2, "seed": 0}
    prepare(args.dataset, sample_images=args.images, classes=PETS, **shares)
    train, val, test = (Pictures(settings.DATASETS / part, IMAGE_SIZE) for part in ("Train", "Val", "Test"))
    image, folder = val.paths[0], Path(temporary_workspace.FOLDER.name) / "pictures"
    # Before Keras, whose threads stay awake and would hold it up.
    alone = convolutions_alone(len(train)) if choose_device().type == "cpu" else 0.0
    rows = compare(train, val, test, image, folder, args)
    print(f"\n| {len(train)} images, {IMAGE_SIZE}×{IMAGE_SIZE} | Keras | this project | ratio |")
    print("| :--- | ---: | ---: | ---: |")
    for name, theirs, ours in rows:
        ratio = f"{theirs / ours:.1f}×" if name.startswith("seconds") else ""
        form = ".2f" if name.startswith("seconds") else ".1%"
        print(f"| {name} | {theirs:{form}} | {ours:{form}} | {ratio} |")
    if alone:
        print(f"\nThe convolutions alone take {alone:.2f} s of an epoch here.")
    return 0


def compare(
    train: Pictures, val: Pictures, test: Pictures, image: Path, folder: Path, args: argparse.Namespace
) -> list[tuple[str, float, float]]:
    """A row for each measure: its name, Keras, this project."""
    # This project first: the threads of TensorFlow stay awake, and would hold it up. (Keras then has the use of
    # `keep_freed_memory` as well.)
    checkpoint = folder / "model.pt"
    _, our_plain = train_here(train, val, args.epochs, checkpoint, augmented=False)
    model, our_augmented = train_here(train, val, args.epochs, checkpoint, augmented=True)
    our_maps = min(draw_here(model, image) for _ in range(3))
    if args.accuracy_epochs:
        model, _ = train_here(train, val, args.our_epochs, checkpoint, augmented=True)
        one_version = probabilities_of(logits_of(model, test)).argmax(dim=1) == test.labels
        four_versions = evaluate(model, test).accuracy

    keras = InKeras()
    keras.keras.utils.set_random_seed(0)
    as_they_are, augmented = keras.model(), keras.model(augmented=True)
    rows = [
        ("seconds an epoch, images as they are", keras.fit(as_they_are, train, args.epochs), our_plain),
        ("seconds an epoch, augmented", keras.fit(augmented, train, args.epochs), our_augmented),
    ]
    their_maps = min(keras.draw(as_they_are, image, folder / "keras") for _ in range(3))
    files = len(list((folder / "keras").glob("*/*.png")))
    rows.append((f"seconds for {files} maps and {DRAWN_LAYERS} grids", their_maps, our_maps))
    if args.accuracy_epochs:
        fresh = keras.model(augmented=True)
        keras.fit(fresh, train, args.accuracy_epochs)
        theirs, how = keras.accuracy(fresh, test), f"{args.accuracy_epochs} and {args.our_epochs} epochs"
        rows.append((f"right of {len(test)} images, one version, {how}", theirs, one_version.float().mean().item()))
        rows.append(("the same, here with four versions", theirs, four_versions))
    return rows


if __name__ == "__main__":
    sys.exit(main())
