"""Tests never touch what a reader made: they work in a folder of their own, on a small drawn sample."""

import importlib.util
import os
import shutil
import signal
import sys
import tempfile

import pytest

if importlib.util.find_spec("recognizer") is None:
    install = f"{sys.executable} -m pip install --no-deps -e ."
    pytest.exit(f"This Python does not have the package of this folder: run `make setup`, or here `{install}`.", 4)

# What a shell starts in the background ignores Ctrl-C, and so would all processes that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FOLDER = tempfile.mkdtemp(prefix="bike-car-cnn-")
os.environ |= {
    "RECOGNIZER_WORKSPACE": FOLDER,
    "DATASET": "sample",
    "SAMPLE_IMAGES": "80",
    "EPOCHS": "2",
    "TENSORBOARD": "0",
    "IMAGES_PER_CLASS": "2",
    "CARDS": "1",
    "IMAGES": "16",
    "PICTURES": "32",
    "SCENES": "6",
    "NETWORKS": "1",
}
OTHERS = "SEED IMAGE_SIZE BATCH_SIZE LR LAYER_NAME SCALE VAL_SHARE TEST_SHARE CARDS_OF RECOGNIZER_ARCHIVES REPOSITORY"
BETS = "BET_PART BET_WHEELS_ALONE BET_TRIANGLES BET_BRIGHTEST"
for name in (OTHERS + " " + BETS).split():
    os.environ.pop(name, None)


def pytest_unconfigure() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
