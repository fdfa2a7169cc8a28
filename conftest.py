"""Tests never touch what a reader made: they work in a folder of their own, on a small drawn sample."""

import os
import shutil
import tempfile

FOLDER = tempfile.mkdtemp(prefix="bike-car-cnn-")
os.environ |= {
    "RECOGNIZER_WORKSPACE": FOLDER,
    "DATASET": "sample",
    "SAMPLE_IMAGES": "80",
    "EPOCHS": "2",
    "TENSORBOARD": "0",
    "IMAGES_PER_CLASS": "2",
    "CONTROL_EPOCHS": "1",
    "CARDS": "1",
    "IMAGES": "16",
}
OTHERS = "SEED IMAGE_SIZE BATCH_SIZE LR LAYER_NAME SCALE VAL_SHARE TEST_SHARE CARDS_OF"
for name in OTHERS.split():
    os.environ.pop(name, None)


def pytest_unconfigure() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
