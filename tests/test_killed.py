"""Killed at any moment and started again, notebook 01 ends in the same state as if it had never been killed.

A child process runs the preparation and ends itself with SIGKILL at a given line: one of the package's own, or of the
standard library's where it writes, moves or deletes files.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from recognizer.data import downloads, extraction, prepare, sources
from recognizer.data.downloads import Download

from .conftest import picture, write_zip

POINTS = 14  # a phase; half as many where most of the lines are the same as in the first test
PACKAGE = Path(downloads.__file__).parent
PHASES = {
    "download": ("sources.py", "downloads.py"),
    "extract": ("archives.py", "images.py", "extraction.py"),
    "take in": ("taking_in.py", "place.py"),
    "split": ("split.py", "record.py", "duplicates.py"),
}
STANDARD = {
    pathlib.Path.write_bytes.__code__.co_filename,
    shutil.__file__,
}  # they belong to the phase that called


SHARES = {"val_share": 0.25, "test_share": 0.25}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has neither fork nor SIGKILL")


@pytest.fixture
def run(workspace, server, tmp_path, monkeypatch):
    """A function that runs notebook 01 once more.

    The first data set is there, with files of the reader's own: one new, one changed, one that is no image. The run
    replaces it by another, over HTTP, with masks, rejected files and names that are taken.
    """
    first = tmp_path / "first"
    bikes = {f"{i}.image.png": picture(i) for i in range(8)}
    write_zip(first / "Bike.zip", bikes | {"not.image.png": b"no image"})
    write_zip(first / "Car.zip", {f"{i}.png": picture(50 + i) for i in range(8)})
    prepare(str(first), sample_images=0, **SHARES, seed=0)
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
    return lambda: prepare("street", sample_images=0, **SHARES, seed=1)


@pytest.fixture
def other_disk(tmp_path):
    """An empty folder on another disk."""
    memory = Path("/dev/shm")
    if not memory.exists() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this system has no second disk at hand")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def in_a_child(run, kill_at: int = 0, log: Path | None = None) -> int:
    """Run in a child process. Returns the signal that ended it, or 0; `log` gets the phase of each line."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the run failed"
        return status & 0x7F
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
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
    """Every file below `folder`, links followed; records without the times of files, which differ from run to run."""
    files = [Path(top, name) for top, _, names in os.walk(folder, followlinks=True) for name in names]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    for name in [name for name in found if name.endswith(".json")]:
        record = json.loads(found[name])
        for row in record["files"] + record["rejected"]:
            del row["mtime_ns"]
        del record["stamps"]
        found[name] = json.dumps(record).encode()
    return found


def kill_and_run_again(run, folders: list[Path], phases: dict[str, int], tmp_path: Path) -> dict[str, bytes]:
    """Kill `run` at that many lines of each phase, and let it run again each time, always from the present state.

    `folders` are those that it changes. Returns what is in the first one when the run was not killed; it must be the
    same when it was.
    """

    def start_over():
        for number, folder in enumerate(folders):
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / f"state {number}", folder, symlinks=True)

    for number, folder in enumerate(folders):
        shutil.copytree(folder, tmp_path / f"state {number}", symlinks=True)
    assert in_a_child(run, log=tmp_path / "lines") == 0
    reference = contents(folders[0])
    assert in_a_child(run) == 0
    assert contents(folders[0]) == reference

    lines = (tmp_path / "lines").read_text().split("\n")
    for phase, points in phases.items():
        places = [number for number, name in enumerate(lines, start=1) if name == phase]
        killed = 0
        for kill_at in random.Random(phase).sample(places, points):
            start_over()
            killed += in_a_child(run, kill_at) == signal.SIGKILL
            assert in_a_child(run) == 0
            assert contents(folders[0]) == reference, f"differs after a kill at line {kill_at}, in {phase}"
        assert killed >= points - 2  # how many pieces a download comes in differs a little
    return reference


def test_killed_anywhere_and_run_again_it_ends_the_same(workspace, run, server, tmp_path):
    reference = kill_and_run_again(run, [workspace], dict.fromkeys(PHASES, POINTS), tmp_path)
    assert {"datasets/Rejected/Bike/not.image.png", "datasets/Rejected/Car/bad.png"} <= reference.keys()
    assert "datasets/Masks/Bike/0.mask.png" in reference and "datasets/archives/street/b.zip" in reference
    assert picture(400) in reference.values() and picture(402) in reference.values()
    aside = {name for name in reference if name.startswith("datasets/aside/first/")}
    assert len(aside) == 17  # the record, the rejected file, and 15 of 16 images: the reader changed one
    assert any("Range" in headers for _, headers in server.requests), "nothing was resumed"


def test_killed_while_an_earlier_data_set_comes_back(workspace, run, tmp_path, monkeypatch):
    before = {path.name: path.read_bytes() for path in (workspace / "datasets").glob("T*/*/*")}
    run()
    monkeypatch.setattr(extraction, "_extract", None)  # nothing is to be extracted again
    reference = kill_and_run_again(
        lambda: prepare(str(tmp_path / "first"), sample_images=0, **SHARES, seed=0),
        [workspace],
        {"take in": POINTS // 2, "split": POINTS // 2},
        tmp_path,
    )
    assert before.keys() <= {name.rpartition("/")[2] for name in reference}
    assert any(name.startswith("datasets/aside/street/images/") for name in reference)


def test_killed_while_images_move_to_another_disk_and_links_become_copies(workspace, other_disk, tmp_path):
    write_zip(tmp_path / "own" / "Bike.zip", {f"{i}.png": picture(i) for i in range(8)})
    write_zip(tmp_path / "own" / "Car.zip", {f"{i}.png": picture(50 + i) for i in range(8)})
    mine = {f"{number}.png": picture(100 + number) for number in (20, 21, 22)}
    for name, content in mine.items():
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    (workspace / "datasets" / "Val" / "Car").mkdir(parents=True)
    (workspace / "datasets" / "Val" / "Bike").symlink_to(tmp_path / "mine")
    (workspace / "datasets" / "Val" / "Car" / "23.png").symlink_to(tmp_path / "mine" / "20.png")
    (workspace / "datasets" / "Train").symlink_to(other_disk)
    reference = kill_and_run_again(
        lambda: prepare(str(tmp_path / "own"), sample_images=0, **SHARES, seed=0),
        [workspace, other_disk],
        {"take in": POINTS // 2, "split": POINTS // 2},
        tmp_path,
    )
    assert sum(name.endswith(".png") for name in reference) == 20
    assert len(list(other_disk.glob("*/*.png"))) == 10
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == mine
