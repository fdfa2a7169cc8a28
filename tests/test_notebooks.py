"""The notebooks as documents, and as Colab meets them: alone. (nbval runs their cells, see pyproject.toml.)"""

import ast
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))
SOURCES = [*NOTEBOOKS, *(PROJECT / "notebooks" / "recognizer").rglob("*.py")]


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_of_one_clean_run(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert not [o for o in outputs if any("widget" in kind for kind in o.get("data", {}))]
    assert path.stat().st_size < 2_000_000
    assert any("image/png" in o.get("data", {}) for o in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_a_machine_is_stored(path):
    text = re.sub(r'"image/\w+": "[^"]*"', "", path.read_text("utf-8"))
    for leak in (PROJECT.as_posix(), Path.home().as_posix() + "/", platform.node()):
        assert not re.search(rf"(?<!\w){re.escape(leak)}(?!\w)", text), leak


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_one_parameter_cell_and_small_cells(path):
    cells = code_cells(path)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    assert max(len(cell.source.splitlines()) for cell in cells[1:]) <= 10  # after the set-up cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_opens_with_a_question_and_closes_with_three_things(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    assert re.search(r"^\*\*[^*]+\?\*\*", texts[0], re.MULTILINE)
    end = "\n".join(texts).partition("## Three things to remember\n")[2].partition("### Exercises\n")
    assert [line[:2] for line in end[0].splitlines() if line] == ["1.", "2.", "3."] and end[2].strip()


def test_set_up_and_address_are_the_same_everywhere():
    set_ups = {code_cells(path)[0].source for path in NOTEBOOKS}
    assert len(set_ups) == 1
    (address,) = re.findall(r'"(https://github.com/[^"]+)"', set_ups.pop())
    for path in NOTEBOOKS:
        badge = f"https://colab.research.google.com/github/{address.removeprefix('https://github.com/')}/blob/main/notebooks/{path.name}"
        assert badge in nbformat.read(path, as_version=4).cells[0].source
    assert address in (PROJECT / "README.md").read_text("utf-8")


def test_a_parameter_has_one_default_and_one_range():
    """But for those of the recipe of notebook 06, which is another one."""
    another_recipe = {"SAMPLE_IMAGES", "IMAGE_SIZE", "EPOCHS", "BATCH_SIZE", "LR", "SCALE"}
    call = re.compile(r'\bparameter\("([A-Z_]+)", ([^,()]+)((?:[^()]|\([^()]*\))*)\)')
    defaults, ranges = {}, {}
    for path in SOURCES:
        text = "\n".join(c.source for c in code_cells(path)) if path.suffix == ".ipynb" else path.read_text("utf-8")
        for name, default, limits in call.findall(text):
            if path.stem.startswith("06") and name in another_recipe:
                continue
            if not default.startswith("record."):  # what was chosen in notebook 01
                defaults.setdefault(name, set()).add(default)
            ranges.setdefault(name, set()).add(limits)
    assert {"DATASET", "EPOCHS", "LAYER_NAME", "SEED"} <= defaults.keys()
    assert not {name: found for each in (defaults, ranges) for name, found in each.items() if len(found) > 1}
    assert all("at_least" in limits for limits in ranges["SEED"] | ranges["EPOCHS"] | ranges["IMAGE_SIZE"])


def test_every_number_has_a_lower_limit():
    """Without one, a negative number of images is found out somewhere deep in the package."""
    call = re.compile(r'\bparameter\("([A-Z_]+)", ([^,()]+)((?:[^()]|\([^()]*\))*)\)')
    limits = {}
    for path in SOURCES:
        text = "\n".join(c.source for c in code_cells(path)) if path.suffix == ".ipynb" else path.read_text("utf-8")
        for name, default, options in call.findall(text):
            if default.startswith("record.") or re.fullmatch(r"-?[\d.e_-]+", default):
                limits.setdefault(name, []).append(options)
    assert {"IMAGES_PER_CLASS", "LR", "SEED", "CARDS"} <= limits.keys()
    assert not [name for name, found in limits.items() if not all("at_least" in options for options in found)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_text_of_a_notebook_repeats_a_measured_figure(path):
    """They stand in benchmarks/README.md alone: two copies of a number disagree one day."""
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    figures = re.compile(r"\d+\.\d+ ?%|\d\.\d points|\b\d+ of [\d,]+ Test images")
    assert not [found for text in texts for found in figures.findall(text)]


def test_links_between_notebooks_lead_somewhere():
    for path in NOTEBOOKS:
        for target in re.findall(r"\]\((\w+\.ipynb)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_headings_that_the_teaching_plan_quotes_exist():
    plan = (PROJECT / "docs" / "teaching.md").read_text("utf-8")
    quotes = re.findall(r"\b(0[1-6]), (\*[^*]+\*(?:(?:,| and| to) \*[^*]+\*)*)", plan)
    assert len(quotes) > 20
    headings = {path.stem[:2]: re.findall(r'"##+ (.+?)(?:\\n)?"', path.read_text("utf-8")) for path in NOTEBOOKS}
    for number, quoted in quotes:
        assert set(re.findall(r"\*([^*]+)\*", quoted)) <= set(headings[number]), number


def test_every_cell_is_plain_python():
    """Magics are not: jupytext turns them into comments, and a body of comments alone is an error."""
    for path in NOTEBOOKS:
        for cell in code_cells(path):
            ast.parse(cell.source, path.name)


@pytest.fixture
def set_up(monkeypatch):
    """A function that runs the set-up cell where the package is missing; returns what it says, or ""."""
    source = code_cells(NOTEBOOKS[0])[0].source
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    def run() -> str:
        try:
            exec(source, {"__name__": "__main__"})
        except Exception as problem:
            assert problem._render_traceback_() == [str(problem)]  # IPython shows this alone
            return str(problem)
        return ""

    return run


@pytest.mark.parametrize(("before", "after"), [(None, "1000"), ("7", "7")])
def test_waiting_threads_leave_the_processor_to_others_unless_told_otherwise(set_up, monkeypatch, before, after):
    monkeypatch.setenv("GOMP_SPINCOUNT", before or "")
    if before is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    set_up()
    assert os.environ["GOMP_SPINCOUNT"] == after


def test_where_the_package_is_missing_the_set_up_says_what_to_run(set_up):
    assert "`pip install -e .` or `make setup`" in set_up()


def test_on_colab_a_copy_without_an_owner_says_what_to_do(set_up, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    assert "OWNER" in set_up()
    monkeypatch.setenv("REPOSITORY", (PROJECT / "not-there").as_uri())
    assert re.fullmatch(r"Installing file:///.+ failed: .*not-there.* repository", set_up())


@pytest.fixture(scope="module")
def colab(tmp_path_factory) -> Path:
    """An environment like Colab's: its libraries are there, the package is not. The kernel "colab" runs in it."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    # Python does not follow the .pth files in this folder, and so does not find the package that they lead to.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    kernel = folder / "share" / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    start = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": start, "display_name": "Colab", "language": "python"}))
    return folder


def test_alone_on_colab(colab, tmp_path, monkeypatch):
    """Only notebook 03 arrives, on a machine that has the libraries and nothing of the project: it installs the package
    and nothing else, draws the sample, trains, and shows what filters see."""
    remote = tmp_path / "remote"
    kept = [
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
        "notebooks",
        "*.toml",
        "README.md",
        "LICENSE",
    ]
    listed = subprocess.run(["git", *kept], cwd=PROJECT, capture_output=True, check=True).stdout.decode()
    for name in listed.split("\0"):
        if name and (PROJECT / name).exists():
            (remote / name).parent.mkdir(parents=True, exist_ok=True)
            (remote / name).write_bytes((PROJECT / name).read_bytes())
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], cwd=remote, check=True)

    machine = tmp_path / "content"
    machine.mkdir()
    (machine / "colab.py").write_text(
        "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    )
    notebook = nbformat.read(PROJECT / "notebooks" / "03_feature_maps.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("import colab"))
    monkeypatch.setenv("JUPYTER_PATH", str(colab / "share" / "jupyter"))
    # What is missing cannot be had from anywhere; hatchling, which builds the package, is among the libraries here.
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_CONFIG_FILE": os.devnull}
    environment = os.environ | offline | {"REPOSITORY": remote.as_uri(), "SAMPLE_IMAGES": "30", "EPOCHS": "1"}
    del environment["RECOGNIZER_WORKSPACE"]
    client = NotebookClient(notebook, timeout=240, kernel_name="colab", resources={"metadata": {"path": str(machine)}})
    client.execute(env=environment)
    assert len(list(machine.glob("results_Bike/*/conv1/filter_*.png"))) == 2 * 16
    assert list(machine.glob("logs/*/model.pt"))
    assert json.loads((machine / "datasets" / "split.json").read_text())["dataset"] == "sample"
    (packages,) = colab.rglob("libraries.pth")
    arrived = {path.name.partition("-")[0] for path in packages.parent.iterdir()}
    assert arrived == {"libraries.pth", "recognizer"}
