"""Killed at any moment and started again, notebook 01 ends in the same state as if it had never been killed.

A child process runs the preparation and ends itself with SIGKILL at a given line: one of the package's own, or of the
standard library's where it writes, moves or deletes files.
"""

import os
import pathlib
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from recognizer.data import downloads, prepare, sources
from recognizer.data.downloads import Download

from .conftest import picture, write_zip

POINTS = 20  # a phase
PACKAGE = Path(downloads.__file__).parent
PHASES = {
    "download": ("sources.py", "downloads.py"),
    "extract": ("archives.py", "images.py", "extraction.py"),
    "split": ("split.py", "record.py", "duplicates.py"),
}
STANDARD = {
    pathlib.Path.write_bytes.__code__.co_filename,
    shutil.__file__,
}  # they belong to the phase that called


@pytest.fixture
def runs(workspace, server, tmp_path, monkeypatch):
    """(a function that runs notebook 01 once more, the folder with the state that it starts from).

    The first data set is there, with files of the reader's own: one new, one changed, one that is no image. The run
    replaces it by another, over HTTP, with masks, rejected files and names that are taken.
    """
    first = tmp_path / "first"
    bikes = {f"{i}.image.png": picture(i) for i in range(8)}
    write_zip(first / "Bike.zip", bikes | {"not.image.png": b"no image"})
    write_zip(first / "Car.zip", {f"{i}.png": picture(50 + i) for i in range(8)})
    prepare(str(first), sample_images=0, val_share=0.25, test_share=0.25, seed=0)
    train = workspace / "datasets" / "Train"
    (train / "Bike" / "own.image.png").write_bytes(picture(400))
    (train / "Car" / "bad.png").write_bytes(picture(401)[:-60])
    next((train / "Car").glob("?.png")).write_bytes(picture(402))

    bikes = {f"bikes/{i}.image.png": picture(100 + i) for i in range(8)}
    bikes |= {"bikes/own.image.png": picture(120), "bikes/not.image.png": b"no image either"}
    bikes |= {f"bikes/{i}.mask.png": picture(200 + i) for i in range(3)}
    cars = {f"cars/{i}.png": picture(150 + i) for i in range(8)} | {"cars/copy.png": picture(151)}
    archives = {"b.zip": bikes, "c.zip": cars}
    wanted = [
        Download(server.serve(name, write_zip(tmp_path / name, members).read_bytes()), None, name)
        for name, members in archives.items()
    ]
    classes, masks = {"Bike": "bikes/*.image.png", "Car": "cars/*"}, {"Bike": "bikes/*.mask.png"}
    source = sources.Source("street", "", "", tuple(wanted), classes, masks)
    monkeypatch.setitem(sources.SOURCES, "street", source)
    monkeypatch.setattr(downloads, "CHUNK", 700)
    monkeypatch.setattr(downloads, "FIRST_PAUSE", 0.01)
    state = tmp_path / "state"
    shutil.copytree(workspace, state)
    return lambda: prepare("street", sample_images=0, val_share=0.25, test_share=0.25, seed=1), state


def in_a_child(run, kill_at: int = 0, log: Path | None = None) -> int:
    """Run in a child process. Returns the signal that ended it, or 0; `log` gets the phase of each line."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] & 0x7F
    try:
        sys.stdout = open(os.devnull, "w")
        lines, phase = [], "download"
        phase_of = {str(PACKAGE / name): phase for phase, names in PHASES.items() for name in names}

        def at_line(frame, event, argument):
            nonlocal phase
            if event == "line":
                phase = phase_of.get(frame.f_code.co_filename, phase)
                lines.append(phase)
                if len(lines) == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return at_line

        def at_call(frame, event, argument):
            name = frame.f_code.co_filename
            return at_line if name in phase_of or name in STANDARD else None

        sys.settrace(at_call)
        run()
        sys.settrace(None)
        if log:
            log.write_text("\n".join(lines))
        os._exit(0)
    finally:
        os._exit(1)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has neither fork nor SIGKILL")
def test_killed_anywhere_and_run_again_it_ends_the_same(workspace, runs, server, tmp_path):
    run, state = runs

    def start_over():
        shutil.rmtree(workspace)
        shutil.copytree(state, workspace)

    assert in_a_child(run, log=tmp_path / "lines") == 0
    reference = contents(workspace)
    assert {"datasets/Rejected/Bike/not.image.png", "datasets/Rejected/Car/bad.png"} <= reference.keys()
    assert "datasets/Masks/Bike/0.mask.png" in reference and "datasets/archives/street/b.zip" in reference
    assert picture(400) in reference.values() and picture(402) in reference.values()
    assert in_a_child(run) == 0
    assert contents(workspace) == reference

    phases = (tmp_path / "lines").read_text().split("\n")
    for phase in PHASES:
        places = [number for number, name in enumerate(phases, start=1) if name == phase]
        killed = 0
        for kill_at in random.Random(phase).sample(places, POINTS):
            start_over()
            killed += in_a_child(run, kill_at) == signal.SIGKILL
            assert in_a_child(run) == 0
            assert contents(workspace) == reference, f"differs after a kill at line {kill_at}, in {phase}"
        assert killed >= POINTS - 2  # how many pieces a download comes in differs a little
    assert any("Range" in headers for _, headers in server.requests), "nothing was resumed"
