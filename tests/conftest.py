"""What several tests need: a workspace of their own, tiny pictures made on the spot, and other processes."""

import io
import multiprocessing
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer import settings

from .server import Server, running


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    """An empty folder in which this test's datasets, logs and results are made."""
    folder = tmp_path / "workspace"
    monkeypatch.setattr(settings, "WORKSPACE", folder)
    monkeypatch.setattr(settings, "DATASETS", folder / "datasets")
    monkeypatch.setattr(settings, "LOGS", folder / "logs")
    monkeypatch.setattr(settings, "ARCHIVES", folder / "datasets" / "archives")
    return folder


def picture(number: int, size: tuple[int, int] = (12, 10), bright: bool = False) -> bytes:
    """A tiny PNG, different for each number."""
    pixels = np.random.default_rng(number).integers(0, 100, (size[1], size[0], 3)) + 150 * bright
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def own_zips(tmp_path) -> Path:
    """A folder with Bike.zip and Car.zip: twenty images each, two files that are none, and clutter."""
    bikes = {f"Bike/bike_{i}.png": picture(i) for i in range(20)}
    broken = {
        "Bike/empty.jpg": b"",
        "Bike/page.jpg": b"<html>not here</html>",
        "Bike/cut.png": picture(99)[:-40],
    }
    clutter = {"__MACOSX/Bike/._bike_1.png": b"x", "Bike/Thumbs.db": b"x", "Bike/.DS_Store": b"x"}
    write_zip(tmp_path / "own" / "Bike.zip", bikes | broken | clutter)
    write_zip(tmp_path / "own" / "Car.zip", {f"Car/car_{i}.png": picture(100 + i, bright=True) for i in range(20)})
    return tmp_path / "own"


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


class Started:
    """A function that runs in a process of its own; `said` is what it has printed so far."""

    def __init__(self, log: Path, function: Callable[..., None], *arguments) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("this system cannot fork")
        self.log = log
        self.log.touch()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=self._run, args=(function, *arguments), daemon=True)
        self.process.start()

    def _run(self, function, *arguments) -> None:
        sys.stdout = self.log.open("w", buffering=1, encoding="utf-8")
        function(*arguments)

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    def wait_for(self, text: str) -> None:
        while text not in self.said:
            assert self.process.is_alive(), self.said
            time.sleep(0.01)

    def end(self) -> str:
        """Wait for its end, and return what it has said."""
        self.process.join(60)
        assert self.process.exitcode == 0, self.said
        return self.said
