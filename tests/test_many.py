"""Feature maps of a folder in one HDF5 file: they are those of `capture`, and a run that was killed is continued."""

import copy
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from recognizer import BikeCarCNN, capture, capture_folder
from recognizer.maps import many
from recognizer.settings import Problem

from .conftest import picture

h5py = pytest.importorskip("h5py", reason="h5py is not installed")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 2)).eval()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten pictures of several sizes, two files that are none, and files that nobody would take for pictures."""
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for number in range(10):
        path = folder / ("inner" if number % 2 else ".") / f"{number}.png"
        path.write_bytes(picture(number, size=(40 + number, 30)))
    (folder / "empty.jpg").touch()
    (folder / "inner" / "cut.png").write_bytes(picture(20)[:-40])
    (folder / "labels.txt").write_text("0: a bike")
    (folder / ".hidden.png").write_bytes(picture(21))
    return folder


def small(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((32, 32)))).permute(2, 0, 1) / 255


def test_the_maps_are_those_of_capture_and_unreadable_files_are_named(model, folder, tmp_path, capsys):
    store = capture_folder(model, ["0", "4"], folder, tmp_path / "new" / "maps.h5", transform=small, batch_size=3)
    with h5py.File(store) as file:
        names, reasons = file["files"].asstr()[:], file["reasons"].asstr()[:]
        assert sorted(names) == list(names)
        assert set(names[reasons != ""]) == {"empty.jpg", "inner/cut.png"}
        assert file["done"][()] == len(names) == 12
        good = reasons == ""
        expected = capture(model, ["0", "4"], [folder / name for name in names[good]], small)
        for name, maps in expected.items():
            assert file[f"maps/{name}"].dtype == np.float32
            np.testing.assert_allclose(file[f"maps/{name}"][good], maps, atol=1e-6)
            assert np.isnan(file[f"maps/{name}"][~good]).all()
    assert "2 file(s) cannot be read and were left out" in capsys.readouterr().out


def contents(store: Path) -> dict[str, bytes]:
    with h5py.File(store) as file:
        return {name: file[name][()].tobytes() for name in ("maps/0", "maps/4", "done")} | {
            name: b"|".join(file[name][()]) for name in ("files", "reasons")
        }


# Three batches of a run that gets killed when it reaches a line for the second time. It is told the line's number.
KILLED = """
import os, signal, sys, torch
from recognizer.maps import many
from tests.test_many import small

model, folder, store, threads, line = *sys.argv[1:4], *map(int, sys.argv[4:])
seen = 0

def trace(frame, event, argument):
    global seen
    seen += event == "line" and frame.f_lineno == line
    if seen == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return trace

torch.set_num_threads(threads)
sys.settrace(lambda frame, *others: trace if frame.f_code.co_filename == many.__file__ else None)
many.capture_folder(torch.load(model, weights_only=False), ["0", "4"], folder, store, transform=small, batch_size=4)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("line", ["dataset[start:stop] = rows", 'file["done"][()] = stop', "start += len(decoded)"])
def test_killed_and_continued_the_store_has_the_same_values(model, folder, tmp_path, line):
    torch.save(model, tmp_path / "model.pt")
    lines = Path(many.__file__).read_text("utf-8").splitlines()
    (number,) = (number for number, text in enumerate(lines, 1) if line in text)
    arguments = [tmp_path / "model.pt", folder, tmp_path / "maps.h5", torch.get_num_threads(), number]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    with h5py.File(tmp_path / "maps.h5") as file:
        assert file["done"][()] < 12
    for store in ("maps.h5", "whole.h5"):
        capture_folder(model, ["0", "4"], folder, tmp_path / store, transform=small, batch_size=4)
    assert contents(tmp_path / "maps.h5") == contents(tmp_path / "whole.h5")


def test_a_run_that_is_continued_computes_only_what_is_missing(model, folder, tmp_path, monkeypatch):
    asked = []

    def counted(model, names, images, *rest):
        asked.append(len(images))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return capture(model, names, images, *rest)

    monkeypatch.setattr(many, "capture", counted)
    arguments = (model, "4", folder, tmp_path / "maps.h5")
    with pytest.raises(KeyboardInterrupt):
        capture_folder(*arguments, transform=small, batch_size=4)
    capture_folder(*arguments, transform=small, batch_size=4)
    capture_folder(*arguments, transform=small, batch_size=4)
    assert asked == [1, 4, 3, 3, 3]  # one for the shapes; the second and the third batch have a file that is no image


@pytest.mark.parametrize("changed", ["model", "layer_names", "transform", "files", "dtype"])
def test_a_store_of_other_arguments_is_refused_and_left_as_it_is(model, folder, tmp_path, changed):
    store = tmp_path / "maps.h5"
    capture_folder(model, "4", folder, store, transform=small)
    before = store.read_bytes()
    arguments = {"model": model, "layer_names": "4", "transform": small, "dtype": "float32"}
    if changed == "model":
        arguments["model"] = copy.deepcopy(model)
        with torch.no_grad():
            arguments["model"][0].weight[0] += 1e-3
    elif changed == "files":
        (folder / "another.png").write_bytes(picture(30))
    else:
        arguments[changed] = {"layer_names": "0", "transform": lambda image: small(image), "dtype": "float16"}[changed]
    with pytest.raises(Problem, match=f"was not begun with the same {changed}"):
        capture_folder(images=folder, store=store, **arguments)
    assert store.read_bytes() == before


def test_a_picture_that_changed_is_noticed_even_if_its_size_is_the_same(model, folder, tmp_path):
    for number in (1, 2):
        (folder / "0.png").unlink(missing_ok=True)
        Image.new("RGB", (40, 30), (100 * number, 0, 0)).save(folder / "0.bmp")
        if number == 1:
            capture_folder(model, "4", folder, tmp_path / "maps.h5", transform=small)
    with pytest.raises(Problem, match="was not begun with the same files"):
        capture_folder(model, "4", folder, tmp_path / "maps.h5", transform=small)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_a_file_name_that_is_not_unicode_does_not_stop_the_others(model, folder, tmp_path):
    (folder / os.fsdecode(b"\xff.png")).write_bytes(picture(30))
    store = capture_folder(model, "4", folder, tmp_path / "maps.h5", transform=small)
    with h5py.File(store) as file:
        assert "?.png" in list(file["files"].asstr())
        assert not np.isnan(file["maps/4"][list(file["files"].asstr()).index("?.png")]).any()


def test_two_programs_that_begin_the_same_store_at_once(model, folder, tmp_path):
    fcntl = pytest.importorskip("fcntl", reason="this system locks files in another way")
    with (tmp_path / "maps.h5.part").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # as HDF5 does
        with pytest.raises(Problem, match="Another program has maps.h5 open"):
            capture_folder(model, "4", folder, tmp_path / "maps.h5", transform=small)


def test_lists_of_files_and_float16(model, folder, tmp_path):
    files = [folder / "2.png", folder / "gone.png", folder / "0.png"]
    store = capture_folder(model, "0", files, tmp_path / "maps.h5", transform=small, dtype="float16")
    with h5py.File(store) as file:
        assert list(file["files"].asstr()) == [str(path) for path in files]
        assert list(file["reasons"].asstr()) == ["", "there is no such file", ""]
        expected = capture(model, "0", [files[0], files[2]], small)["0"]
        np.testing.assert_array_equal(file["maps/0"][[0, 2]], expected.astype(np.float16))


def test_what_cannot_be_done_is_said_in_one_sentence(model, folder, tmp_path, monkeypatch):
    store = tmp_path / "maps.h5"
    with pytest.raises(Problem, match="no folder nowhere"):
        capture_folder(model, "0", "nowhere", store)
    with pytest.raises(Problem, match="There are no images"):
        capture_folder(model, "0", [], store)
    with pytest.raises(Problem, match="None of the 1 files can be read as an image; the first: empty file"):
        capture_folder(model, "0", [folder / "empty.jpg"], store, transform=small)
    with pytest.raises(Problem, match="There is no layer '9'"):
        capture_folder(model, "9", folder, store, transform=small)
    with pytest.raises(Problem, match="dtype='int8' is not possible"):
        capture_folder(model, "0", folder, store, transform=small, dtype="int8")
    with pytest.raises(Problem, match="batch_size=0 is not possible"):
        capture_folder(model, "0", folder, store, transform=small, batch_size=0)
    large = nn.Sequential(nn.Conv2d(3, 1, 1))
    nn.init.constant_(large[0].weight, 1e6)
    with pytest.raises(Problem, match="float16 cannot hold"):
        capture_folder(large, "0", folder, tmp_path / "large.h5", transform=small, dtype="float16")
    with pytest.raises(Problem, match="makes all images equally large"):
        capture_folder(model, "0", folder, tmp_path / "sizes.h5", transform=as_large_as_it_is, batch_size=1)
    assert not store.exists()
    store.write_text("my notes")
    with pytest.raises(Problem, match="cannot be opened as an HDF5 file"):
        capture_folder(model, "0", folder, store, transform=small)
    assert store.read_text() == "my notes"
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(Problem, match="pip install h5py"):
        capture_folder(model, "0", folder, store, transform=small)


def as_large_as_it_is(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def test_without_space_nothing_is_begun(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1000))
    with pytest.raises(Problem, match="There is no room for writing feature maps of 12 images"):
        capture_folder(model, "0", folder, tmp_path / "maps.h5", transform=small)
    assert not (tmp_path / "maps.h5").exists()


def test_a_network_of_the_project_needs_no_transform(folder, tmp_path):
    torch.manual_seed(0)
    network = BikeCarCNN(image_size=32)
    store = capture_folder(network, "relu1", [folder / "0.png"], tmp_path / "maps.h5")
    with h5py.File(store) as file:
        np.testing.assert_allclose(file["maps/relu1"], capture(network, "relu1", folder / "0.png")["relu1"], atol=1e-6)
