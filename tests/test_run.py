"""What a user starts from a terminal: notebooks/run.py, make, and notebooks/clean.py."""

import base64
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from .conftest import picture

PROJECT = Path(__file__).resolve().parents[1]
RUN = PROJECT / "notebooks" / "run.py"

TRAINING = """
import time
try:
    print("training →", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("kept the best epoch", flush=True)
"""
STUBBORN = """
import time
while True:
    try:
        print("stubborn", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""


@pytest.fixture
def run(tmp_path, monkeypatch) -> ModuleType:
    """run.py as a module that takes notebooks from `tmp_path/notebooks`."""
    spec = importlib.util.spec_from_file_location("run", RUN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(module, "HERE", tmp_path / "notebooks")
    return module


def write_notebook(path: Path, *sources: str, tags: tuple[str, ...] = ()) -> Path:
    """A notebook with these cells, each with an output from an earlier run; the last cell has `tags`."""
    cells = [nbformat.v4.new_code_cell(source, execution_count=9) for source in sources]
    for cell in cells:
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="of an earlier run\n")]
    cells[-1].metadata["tags"] = list(tags)
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def texts(path: Path) -> list[str]:
    """The text output of each cell, or the name of its error."""
    cells = nbformat.read(path, as_version=4).cells
    return ["".join(output.get("text", output.get("ename", "")) for output in cell.outputs) for cell in cells]


@pytest.mark.parametrize(
    ("cell", "said", "left"),
    [
        ("raise ValueError('no such layer')", "ValueError: no such layer", "ValueError"),
        ("import os; os._exit(1)", "its Python process ended too early, usually because the memory was full", ""),
    ],
)
def test_a_notebook_that_stops_leaves_its_outputs_so_far(run, tmp_path, capsys, cell, said, left):
    path = write_notebook(tmp_path / "notebooks" / "7_some.ipynb", "print('first')", cell, "print('never')")
    before = path.read_bytes()
    for store in (False, True):
        assert run.run(path, store, tmp_path / "copies") == 1
        out, err = capsys.readouterr()
        assert "first" in out and f"7_some.ipynb stopped: {said}" in err and str(tmp_path / "copies") in err
        assert "Traceback" not in out + err
        assert texts(tmp_path / "copies" / "7_some.ipynb") == ["first\n", left, ""]
    assert path.read_bytes() == before


@pytest.mark.parametrize("program", ["/nowhere/python", shutil.which("false")])
def test_a_kernel_that_cannot_start_gives_one_message(run, tmp_path, capsys, monkeypatch, program):
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": [program, "{connection_file}"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    path = write_notebook(tmp_path / "notebooks" / "7_some.ipynb", "1")
    assert run.run(path, False, tmp_path / "copies") == 1
    assert "no Python process could be started" in capsys.readouterr().err


def test_store_keeps_outputs_in_the_notebook_and_gives_the_readme_its_picture(run, tmp_path, monkeypatch, capsys):
    png = base64.b64encode(picture(1)).decode()
    source = f"import base64; from IPython.display import Image; Image(base64.b64decode('{png}'))"
    path = write_notebook(tmp_path / "notebooks" / "7_some.ipynb", "print('hello')", source, tags=("shown.png",))
    monkeypatch.setattr(sys, "argv", ["run.py", "--store", "7"])
    for name in ("RECOGNIZER_WORKSPACE", "TENSORBOARD"):
        monkeypatch.setenv(name, os.environ[name])  # main changes them
    assert run.main() == 0, capsys.readouterr().err
    assert texts(path)[0] == "hello\n"
    assert (tmp_path / "shown.png").read_bytes() == picture(1)


@pytest.fixture
def started(tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """A function that starts run.py on notebook 7 in a separate process, which ends with the test.

    It runs in a project that has nothing of the package but its settings, because PyTorch takes seconds to import.
    """
    notebooks = tmp_path / "notebooks"
    (notebooks / "recognizer").mkdir(parents=True)
    (notebooks / "recognizer" / "__init__.py").touch()
    shutil.copy(PROJECT / "notebooks" / "recognizer" / "settings.py", notebooks / "recognizer")
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary"), "PYTHONIOENCODING": "cp1252"}
    with contextlib.ExitStack() as processes:

        def start(*sources: str, workspace: str = "", store: bool = False) -> subprocess.Popen:
            write_notebook(notebooks / "7_some.ipynb", *sources)
            process = subprocess.Popen(
                [sys.executable, shutil.copy(RUN, notebooks), "7", *["--store"][: int(store)]],
                env=environment | {"RECOGNIZER_WORKSPACE": workspace},
                cwd=tmp_path / "temporary",
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="cp1252",
            )
            processes.callback(process.kill)
            return processes.enter_context(process)

        yield start


def read_until(process: subprocess.Popen, wanted: str) -> None:
    for line in process.stdout:
        if wanted in line:
            return
    raise AssertionError(f"it ended without {wanted!r}: {process.stderr.read()}")


@pytest.mark.skipif(os.name == "nt", reason="a test cannot press Ctrl-C there")
def test_ctrl_c_ends_the_training_and_twice_ends_everything(started, tmp_path):
    process = started(TRAINING, STUBBORN, "print('never')", store=True)
    read_until(process, "training ?")  # a code page without arrows
    process.send_signal(signal.SIGINT)
    read_until(process, "kept the best epoch")
    for _ in range(2):
        read_until(process, "stubborn")
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "7_some.ipynb was stopped." in err and "Traceback" not in err
    assert not list((tmp_path / "temporary").iterdir())  # the folder that --store works in
    trained, stubborn, never = texts(tmp_path / "logs" / "notebooks" / "7_some.ipynb")
    assert trained == "training →\nkept the best epoch\n" and stubborn and not never
    assert "of an earlier run" in (tmp_path / "notebooks" / "7_some.ipynb").read_text("utf-8")


def test_a_closed_output_pipe_ends_it_without_an_error(started):
    process = started(STUBBORN.replace("60", "0.1"))
    read_until(process, "stubborn")
    process.stdout.close()
    assert process.wait(timeout=20) == 130
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(("workspace", "place"), [("out/here", "out/here"), ("", ".")])
def test_a_workspace_is_the_same_to_run_py_and_to_a_notebook(started, tmp_path, workspace, place):
    process = started("from recognizer import settings; print(settings.WORKSPACE)", workspace=workspace)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert str((tmp_path / place).resolve()) in out.splitlines()
    assert (tmp_path / place / "logs" / "notebooks" / "7_some.ipynb").exists()


def test_its_last_line_says_which_page_to_open(started, tmp_path):
    write = "from recognizer import settings; (settings.WORKSPACE / 'explorer.html').write_text('a page')"
    for source, is_named in ((write, True), ("print('no page')", False)):
        out, err = started(source).communicate(timeout=60)
        assert ("explorer.html in a browser" in out.splitlines()[-1]) == is_named, err
    assert (tmp_path / "explorer.html").exists()  # of the first run; the second one did not write it


def test_a_stored_notebook_contains_no_page(run, tmp_path, monkeypatch):
    source = "from recognizer.figures import framed; from pathlib import Path; framed(Path('page.html'))"
    path = write_notebook(tmp_path / "notebooks" / "7_some.ipynb", source, "print('after')")
    (tmp_path / "notebooks" / "page.html").write_text('<p title="it\'s">a page & more</p>', "utf-8")
    assert run.run(path, False, tmp_path / "copies") == 0
    copy = nbformat.read(tmp_path / "copies" / "7_some.ipynb", as_version=4)
    assert "&lt;p title=&quot;it" in copy.cells[0].outputs[0].data["text/html"]
    assert run.run(path, True, tmp_path / "copies") == 0
    assert texts(path) == ["", "after\n"]


# --- make ---


def test_the_variable_that_build_servers_set_has_no_effect(tmp_path):
    ask = "from recognizer import settings; print(settings.WORKSPACE == settings.PROJECT)"
    environment = {name: value for name, value in os.environ.items() if name != "RECOGNIZER_WORKSPACE"}
    environment["WORKSPACE"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.fixture
def made(tmp_path) -> Callable[..., dict]:
    """A function that calls make in a copy of this project whose run.py only prints what it receives."""
    folder = tmp_path / "a folder"
    (folder / "notebooks").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copyfile(PROJECT / name, folder / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "ready").touch()
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    (folder / "notebooks" / "run.py").write_text(show, "utf-8")

    def make(*arguments: str, **environment: str) -> tuple[list[str], dict[str, str]]:
        command = ["make", "-s", "-C", str(folder), "run", f"PYTHON={sys.executable}", *arguments]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
        return tuple(json.loads(done.stdout.splitlines()[-1]))

    return make


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize(
    "value", ["street", "a$b", "$$HOME $(HOME)", "two  spaces #1 ", r"C:\Users\new", "say \"hi\" 'there'"]
)
def test_make_passes_parameters_on_unchanged(made, value):
    assert made(f"DATASET={value}", "EPOCHS=3")[1].items() >= {"DATASET": value, "EPOCHS": "3"}.items()
    assert made(DATASET=value)[1]["DATASET"] == value


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_names_a_parameter_that_does_not_exist():
    """And it knows every parameter of the notebooks and of the package."""
    sources = [path.read_text("utf-8").replace('\\"', '"') for path in (PROJECT / "notebooks").rglob("*.[ip]*y*")]
    known = {name for source in sources for name in re.findall(r'parameter\(\s*"([A-Z0-9_]+)"', source)}
    assert len(known) > 25
    call = ["make", "-s", "-C", str(PROJECT), "help", "EPOCH=2", *(f"{name}=1" for name in sorted(known))]
    complaints = subprocess.run(call, capture_output=True, text=True).stderr.splitlines()
    named = [line.split(": ", 1)[1] for line in complaints if "is not a parameter" in line]
    assert named == ["EPOCH is not a parameter of this project, see docs/running.md"]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_runs_the_notebooks_that_are_named(made):
    assert made()[0] == ["01", "02", "03"]
    assert made("NOTEBOOK=04 05")[0] == ["04", "05"]


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_a_python_that_is_too_old_is_named(made, tmp_path):
    (tmp_path / "a folder" / ".venv" / "ready").unlink()
    old = "import sys; sys.version_info = (3, 9, 1); exec(sys.argv[2])"
    python = tmp_path / "old"
    python.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{old}' \"$@\"\n", "utf-8")
    python.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError) as error:
        made(f"PYTHON3={python}")
    assert "This is Python 3.9; 3.11 or newer is needed" in error.value.stderr


# --- make clean ---


def clean(folder: Path) -> subprocess.CompletedProcess:
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    script = shutil.copy(PROJECT / "notebooks" / "clean.py", folder / "notebooks")
    # Without the libraries, as before the installation, and with RECOGNIZER_WORKSPACE set to another folder.
    return subprocess.run([sys.executable, "-S", script], capture_output=True, text=True)


def test_clean_removes_links_and_not_what_they_lead_to(tmp_path):
    own, project = tmp_path / "own", tmp_path / "project"
    (own / "Bike").mkdir(parents=True)
    (own / "Bike" / "mine.png").write_bytes(picture(1))
    for name in ("datasets/Train/Bike", "datasets/Val", "logs/run", "results_Bike", "results_Cat/x"):
        (project / name).mkdir(parents=True)
    for name in (
        "datasets/.gitkeep",
        "results_Bike/.gitkeep",
        "datasets/Train/Bike/drawn.png",
        "results_Cat/x/map.png",
    ):
        (project / name).write_bytes(b"1")
    links = {
        "datasets/Test": own,
        "datasets/Val/Bike": own / "Bike",
        "datasets/Train/Bike/link.png": own / "Bike/mine.png",
    }
    for name, target in links.items():
        (project / name).symlink_to(target)
    (project / "datasets" / "dangling").symlink_to(tmp_path / "nowhere")
    (project / "results_Dog").symlink_to(own)
    (project / "explorer.html").write_bytes(b"1")
    done = clean(project)
    assert (own / "Bike" / "mine.png").read_bytes() == picture(1)
    left = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.name != "clean.py"}
    assert left - {"notebooks"} == {
        "datasets",
        "datasets/.gitkeep",
        "results_Bike",
        "results_Bike/.gitkeep",
        "results_Dog",
    }
    assert "datasets: 1 files and 4 links removed" in done.stdout
    assert "results_Dog" in done.stderr and done.returncode == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_clean_continues_if_something_cannot_be_removed(tmp_path):
    for name in ("datasets/a", "datasets/b", "logs/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    (tmp_path / "datasets" / "a").chmod(0o500)
    try:
        done = clean(tmp_path)
        assert done.returncode == 1 and "datasets/a/file stays: Permission denied." in done.stderr
        assert not (tmp_path / "datasets" / "b").exists() and not (tmp_path / "logs" / "c").exists()
    finally:
        (tmp_path / "datasets" / "a").chmod(0o700)
