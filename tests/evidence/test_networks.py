"""Networks for verdicts: they are trained once, side by side, and training continues after an interruption."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from recognizer import BikeCarCNN, load_model, settings
from recognizer.data import prepare
from recognizer.data.dataset import PixelSet
from recognizer.data.place import alone_in
from recognizer.drawings import draw
from recognizer.evidence.networks import PLAIN, Backgrounds, Classes, trained_networks
from recognizer.evidence.part_dependence import dependence
from recognizer.network import run_folder, side_by_side
from recognizer.network.models import save_model
from recognizer.network.recipe import Recipe
from recognizer.settings import Problem

from ..conftest import Started


class Sides:
    """A lesson without files: is the left or the right half of the image brighter?"""

    name = "sides"

    def load(self):
        pixels = torch.randint(0, 100, (24, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
        labels = torch.arange(24) % 2
        pixels[labels == 0, :, :, :16] += 100
        pixels[labels == 1, :, :, 16:] += 100
        images = PixelSet(pixels, labels, ["Left", "Right"], 32)
        return images, images, None


class Fails(Sides):
    name = "fails"

    def load(self):
        raise Problem("There is nothing to learn.")


class Dies(Sides):
    name = "dies"

    def load(self):
        os._exit(7)


def run_of(num_epochs: int) -> Path:
    """The part of a run of notebook 02 that verdicts need."""
    path = run_folder(type("Record", (), {"name": "own-123456"}), 32, Recipe(num_epochs, seed=5)) / "model.pt"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_model(BikeCarCNN(["Bike", "Car"], 32), path)
    os.utime(path, (time.time() - 60,) * 2)
    return path


@pytest.fixture
def run(workspace):
    return run_of(num_epochs=2)


def weights(model):
    return torch.cat([value.flatten().float() for value in model.state_dict().values()])


def test_training_side_by_side_and_one_by_one_give_the_same_weights(run, monkeypatch):
    together = trained_networks(run, [Sides()], 2)["sides"]
    files = sorted((run.parent / "networks").glob("[!.]*"))
    assert [file.name for file in files] == ["sides-seed0.pt", "sides-seed1.pt"]
    for file in files:
        file.unlink()
    monkeypatch.setattr(side_by_side, "cores", lambda: 1)
    alone = trained_networks(run, [Sides()], 2)["sides"]
    for one, other in zip(together, alone):
        assert torch.equal(weights(one), weights(other))
    assert not torch.equal(weights(alone[0]), weights(alone[1]))
    assert alone[0].classes == ["Left", "Right"]


def test_existing_networks_are_kept_unless_they_are_older_than_the_model(run, monkeypatch, capsys):
    monkeypatch.setattr(side_by_side, "cores", lambda: 1)
    trained_networks(run, [Sides()], 1)
    first, second = (run.parent / "networks" / f"sides-seed{k}.pt" for k in range(2))
    before = first.stat().st_mtime_ns
    trained_networks(run, [Sides()], 2)  # trains the second
    assert first.stat().st_mtime_ns == before and second.exists()
    assert "earlier run" not in capsys.readouterr().out
    os.utime(first, (0, 0))
    trained_networks(run, [Sides()], 2)
    assert first.stat().st_mtime_ns > before
    folder = f"logs/{run.parent.name}/networks"
    assert (
        f"Networks of an earlier run in {folder}/, older than model.pt, are replaced: 1.\n" in capsys.readouterr().out
    )


def test_a_second_notebook_waits_and_trains_only_the_missing_networks(run, tmp_path, monkeypatch, capsys):
    folder, go_on = run.parent / "networks", tmp_path / "go on"

    def first():
        with alone_in(folder):
            print("held")
            while not go_on.exists():
                time.sleep(0.01)
            save_model(load_model(run), folder / "sides-seed0.pt")

    calls, fit = [], side_by_side.fit
    monkeypatch.setattr(side_by_side, "fit", lambda *args, **options: calls.append(1) or fit(*args, **options))
    monkeypatch.setattr(side_by_side, "cores", lambda: 1)
    other = Started(tmp_path / "first", first)
    other.wait_for("held")
    second = threading.Thread(target=trained_networks, args=(run, [Sides()], 2))
    second.start()
    printed = ""
    while f"Another notebook is at work in logs/{run.parent.name}/networks/" not in printed:
        assert second.is_alive(), printed
        printed += capsys.readouterr().out
        time.sleep(0.01)
    go_on.touch()
    second.join(60)
    other.end()
    assert len(calls) == 1 and torch.equal(weights(load_model(folder / "sides-seed0.pt")), weights(load_model(run)))
    assert (folder / "sides-seed1.pt").exists()


class Notebook:
    """A process that trains two networks at a time for a very long time, in its own process group like a kernel."""

    def __init__(self, log: Path) -> None:
        if not hasattr(os, "fork"):
            pytest.skip("this system cannot fork")
        path = run_of(num_epochs=100_000)
        self.folder, self.log = path.parent / "networks", log
        self.number = os.fork()
        if self.number:
            return
        try:
            os.setsid()
            for descriptor in (1, 2):  # with the error messages of its workers
                os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
            side_by_side.cores = lambda: 2
            trained_networks(path, [Sides()], 2)
        except KeyboardInterrupt:
            os.write(1, b"interrupted")
        finally:
            os._exit(0)

    def workers(self) -> int:
        """The number of worker processes."""
        ps = subprocess.run(["ps", "-A", "-ww", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
        rows = [row.split(maxsplit=2) for row in ps.stdout.splitlines()]
        ours = [args for group, state, *args in rows if int(group) == self.number and not state.startswith("Z")]
        return sum("spawn_main" in args[0] for args in ours)

    def wait_until(self, is_so) -> None:
        ends = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(0.05)

    def are_training(self) -> bool:
        return len(list(self.folder.glob("*.best"))) == 2

    def are_importing(self) -> bool:
        """Half a second after the start of the workers, before they handle signals."""
        return self.workers() == 2 and not time.sleep(0.5)

    def has_ended(self) -> bool:
        return os.waitpid(self.number, os.WNOHANG)[0] == self.number


@pytest.fixture
def notebook(workspace, tmp_path):
    started = Notebook(tmp_path / "log")
    yield started
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.number, signal.SIGKILL)


def test_a_killed_notebook_leaves_no_process_no_partial_network_and_no_lock(notebook, capsys):
    notebook.wait_until(notebook.are_training)
    os.kill(notebook.number, signal.SIGKILL)
    notebook.wait_until(notebook.has_ended)
    with alone_in(notebook.folder):
        assert "Another notebook" not in capsys.readouterr().out
    notebook.wait_until(lambda: not notebook.workers())
    assert not list(notebook.folder.glob("[!.]*")) and not notebook.log.read_text()


@pytest.mark.parametrize("when", [Notebook.are_importing, Notebook.are_training])
def test_ctrl_c_ends_all_processes_without_error_messages(notebook, when):
    notebook.wait_until(lambda: when(notebook))
    os.killpg(notebook.number, signal.SIGINT)
    notebook.wait_until(notebook.has_ended)
    assert notebook.log.read_text() == "interrupted"
    assert not notebook.workers() and not list(notebook.folder.glob("[!.]*"))


def test_files_of_killed_processes_are_removed(run, monkeypatch):
    monkeypatch.setattr(side_by_side, "cores", lambda: 1)
    folder = run.parent / "networks"
    folder.mkdir()
    leftovers, kept = (
        ("sides-seed0.77.best", "sides-seed0.77.77.part", "sides-seed0.77.part"),
        "wheels-train-pixels.npy",
    )
    for name in (*leftovers, kept):
        (folder / name).write_bytes(b"half")
    trained_networks(run, [Sides()], 1)
    assert sorted(file.name for file in folder.glob("[!.]*")) == ["sides-seed0.pt", kept]


def test_ctrl_c_keeps_complete_networks_and_removes_partial_ones(run, monkeypatch):
    monkeypatch.setattr(side_by_side, "cores", lambda: 1)
    calls, fit = [], side_by_side.fit

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit(*args, **options)

    monkeypatch.setattr(side_by_side, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained_networks(run, [Sides()], 3)
    assert [file.name for file in (run.parent / "networks").glob("[!.]*")] == ["sides-seed0.pt"]


@pytest.mark.parametrize(("lesson", "sentence"), [(Fails(), "nothing to learn"), (Dies(), "ended early .code 7.")])
def test_an_error_in_a_worker_process_is_one_sentence(run, monkeypatch, lesson, sentence):
    monkeypatch.setattr(side_by_side, "cores", lambda: 2)
    with pytest.raises(Problem, match=sentence):
        trained_networks(run, [lesson], 2)


def test_the_first_classes_network_is_the_model_of_notebook_02(run):
    (network,) = trained_networks(run, [Classes(32)], 1)["classes"]
    assert torch.equal(weights(network), weights(load_model(run)))


def test_background_labels_follow_the_drawings_and_leave_out_own_images(workspace):
    shares = {"val_share": 0.1, "test_share": 0.2}
    prepare("sample", sample_images=40, seed=0, **shares)
    own = settings.DATASETS / "Train" / "Bike" / "bike_0999.jpg"
    own.write_bytes(draw("Car", 50).jpeg)
    prepare("sample", sample_images=40, seed=0, **shares)  # from now on, the split includes a reader's own image
    train, val, neither = Backgrounds(32).load()
    assert neither is None and train.classes == val.classes == ["Plain", "Place"]
    assert len(train) + len(val) < 80 * 0.9 and 0.3 < train.labels.float().mean() < 0.7
    names = [path.name for path in sorted((settings.DATASETS / "Train").glob("*/*")) if path != own]
    expected = [draw(name.split("_")[0].capitalize(), int(name[-8:-4]) - 1).scene not in PLAIN for name in names]
    assert train.labels.tolist() == expected


def test_dependence_of_wheel_silhouette_and_body_filters():
    """The filters count mask pixels: wheels, all parts, all parts except wheels, and a constant."""
    random = np.random.default_rng(0)
    wheels, rest = random.uniform(50, 90, (2, 40))
    rest += 50
    whole = np.stack([wheels, wheels + rest, rest, np.ones(40)], axis=1)
    gone = np.stack([0 * wheels, rest, rest, np.ones(40)], axis=1)
    control = np.stack([wheels, rest, rest - wheels, np.ones(40)], axis=1)
    scores = dependence(whole, gone, control)
    np.testing.assert_allclose(scores[:3], [1, 0, -1], atol=1e-9)
    assert np.isnan(scores[3])
    control[7] = np.nan  # a scene whose control could not be drawn
    np.testing.assert_allclose(dependence(whole, gone, control)[:3], [1, 0, -1], atol=1e-9)
