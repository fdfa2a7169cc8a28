"""The network of notebook 05 in Keras and here, in one run: seconds an epoch, and seconds to draw eight layers of one image.

    python -m pip install keras            # computes with TensorFlow where that is installed, else with PyTorch
    python benchmarks/keras_layer_by_layer.py DATASET

DATASET is what notebook 05 takes: a name, or a folder with one zip or folder a class (relative to the project). Keras
works as in the tutorial: a generator reads, decodes and scales each image anew, and matplotlib draws the maps. It does not
augment, while here every image is augmented, so the comparison is in its favour. Of several epochs the fastest counts on
both sides. Nothing is written but a temporary folder; downloads are kept.
"""

import temporary_workspace  # noqa: F401  first: it says where the package works

# isort: split
import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

import numpy as np
import plain
import torch
from recognizer import LayerByLayerCNN, display_image_filtered, settings
from recognizer.data import prepare
from recognizer.data.drawings import PETS
from recognizer.data.loading import Pictures
from recognizer.network.hardware import choose_device
from recognizer.network.models import layer_table
from recognizer.network.training import fit, rmsprop

IMAGE_SIZE, BATCH_SIZE, DRAWN_LAYERS = 150, 20, 8


def in_keras(train: Pictures, num_epochs: int, image: Path, folder: Path) -> tuple[float, float]:
    """Seconds an epoch, and seconds to draw the first eight layers of `image`."""
    os.environ.setdefault(
        "KERAS_BACKEND", "tensorflow" if importlib.util.find_spec("tensorflow") else "torch"
    )
    import keras

    print(f"Keras {keras.__version__} with {keras.backend.backend()}")

    def pixels_of(path: Path) -> np.ndarray:
        loaded = keras.utils.load_img(path, target_size=(IMAGE_SIZE, IMAGE_SIZE))
        return keras.utils.img_to_array(loaded) / 255

    paths = train.paths

    class Batches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__(workers=os.cpu_count())
            self.order = np.random.default_rng(0).permutation(len(train))

        def __len__(self) -> int:
            return len(train) // BATCH_SIZE

        def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
            chosen = self.order[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]
            labels = train.labels.numpy()[chosen].astype(np.float32)
            return np.stack([pixels_of(paths[i]) for i in chosen]), labels[:, None]

    class Seconds(keras.callbacks.Callback):
        def on_train_begin(self, logs=None) -> None:
            self.found = []

        def on_epoch_begin(self, epoch, logs=None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None) -> None:
            self.found.append(time.perf_counter() - self.started)

    model = keras_model(keras)
    seconds = Seconds()
    model.fit(Batches(), epochs=num_epochs, callbacks=[seconds], verbose=0)

    started = time.perf_counter()
    layers = model.layers[:DRAWN_LAYERS]
    activations = keras.Model(model.inputs, [layer.output for layer in layers])
    for layer, output in zip(layers, activations.predict(pixels_of(image)[None], verbose=0)):
        plain.save_maps(output[0].transpose(2, 0, 1), folder / layer.name)
    return min(seconds.found), time.perf_counter() - started


def keras_model(keras):
    """The network of the tutorial; it would stop if ours had other layers."""
    layers = [keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))]
    for number, filters in enumerate((32, 64, 128, 128), start=1):
        layers.append(keras.layers.Conv2D(filters, 3, activation="relu", name=f"conv2d_{number}"))
        layers.append(keras.layers.MaxPooling2D(2, name=f"max_pooling2d_{number}"))
    layers.append(keras.layers.Flatten(name="flatten_1"))
    layers.append(keras.layers.Dense(512, activation="relu", name="dense_1"))
    layers.append(keras.layers.Dense(1, activation="sigmoid", name="dense_2"))
    model = keras.Sequential(layers)
    theirs = [(layer.name, layer.output.shape[1:], layer.count_params()) for layer in model.layers]
    ours = [(n, (*shape[1:], shape[0]), count) for n, _, shape, count in layer_table(LayerByLayerCNN())]
    assert theirs == ours, (theirs, ours)
    optimizer = keras.optimizers.RMSprop(learning_rate=1e-4)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["acc"])
    return model


def here(train: Pictures, val: Pictures, num_epochs: int, image: Path, folder: Path) -> tuple[float, float]:
    """The same two times, by this project's own functions; the images' pixels are in the cache by now."""
    torch.manual_seed(0)
    model = LayerByLayerCNN(train.classes, IMAGE_SIZE).to(choose_device())
    checkpoint = folder / "model.pt"
    history = fit(
        model, train, val, num_epochs=num_epochs, lr=1e-3, batch_size=BATCH_SIZE, new_optimizer=rmsprop,
        checkpoint=checkpoint,
    )  # fmt: skip
    seconds = len(train) / max(epoch.images_per_second for epoch in history.epochs)
    layers = [name for name, *_ in layer_table(model.cpu())][:DRAWN_LAYERS]
    started = time.perf_counter()
    display_image_filtered("Pet", model, layers, image, show=False)
    return seconds, time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=450, help="drawings a class, where drawings are used")
    args = parser.parse_args()
    if not importlib.util.find_spec("keras"):
        print(
            "Keras is not installed, and the project does not need it: python -m pip install keras, then run again."
        )
        return 1
    shares = {"val_share": 0.1, "test_share": 0.2, "seed": 0}
    prepare(args.dataset, sample_images=args.images, classes=PETS, **shares)
    train, val = (Pictures(settings.DATASETS / part, IMAGE_SIZE) for part in ("Train", "Val"))
    image, folder = val.paths[0], Path(temporary_workspace.FOLDER.name) / "pictures"
    # This project first: the threads of TensorFlow stay awake, and would hold it up. (Keras then has the use of
    # `keep_freed_memory` as well.)
    our_epoch, our_maps = here(train, val, args.epochs, image, folder)
    their_epoch, their_maps = in_keras(train, args.epochs, image, folder / "keras")
    print(f"\n| {len(train)} images, {IMAGE_SIZE}×{IMAGE_SIZE} | Keras | this project | ratio |")
    print("| :--- | ---: | ---: | ---: |")
    print(f"| seconds an epoch | {their_epoch:.1f} | {our_epoch:.1f} | {their_epoch / our_epoch:.1f}× |")
    files = len(list((folder / "keras").glob("*/*.png")))
    print(
        f"| seconds for {files} maps and {DRAWN_LAYERS} grids | {their_maps:.2f} | {our_maps:.2f} | {their_maps / our_maps:.1f}× |"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
