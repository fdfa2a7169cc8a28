"""The notebooks as documents, and as Colab meets them: alone. (nbval runs their cells, see pytest.ini.)"""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

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
    assert max(len(cell.source.splitlines()) for cell in cells) <= 20


def test_set_up_and_address_are_the_same_everywhere():
    set_ups = {code_cells(path)[0].source for path in NOTEBOOKS}
    assert len(set_ups) == 1
    (address,) = re.findall(r'"(https://github.com/[^"]+)"', set_ups.pop())
    for path in NOTEBOOKS:
        badge = f"https://colab.research.google.com/github/{address.removeprefix('https://github.com/')}/blob/main/notebooks/{path.name}"
        assert badge in nbformat.read(path, as_version=4).cells[0].source
    assert address in (PROJECT / "README.md").read_text("utf-8")


def test_a_parameter_has_one_default():
    """But for those of the recipe of notebook 05, which is another one."""
    another_recipe = {"SAMPLE_IMAGES", "IMAGE_SIZE", "EPOCHS", "BATCH_SIZE", "LR", "SCALE"}
    defaults: dict[str, set[str]] = {}
    for path in SOURCES:
        text = "\n".join(c.source for c in code_cells(path)) if path.suffix == ".ipynb" else path.read_text("utf-8")
        for name, default in re.findall(r'parameter\("([A-Z_]+)", ([^)]+)\)', text):
            if path.stem.startswith("05") and name in another_recipe:
                continue
            if not default.startswith("record."):  # what was chosen in notebook 01
                defaults.setdefault(name, set()).add(default)
    assert {"DATASET", "EPOCHS", "LAYER_NAME", "SEED"} <= defaults.keys()
    assert not {name: found for name, found in defaults.items() if len(found) > 1}


def test_links_between_notebooks_lead_somewhere():
    for path in NOTEBOOKS:
        for target in re.findall(r"\]\((\w+\.ipynb)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_alone_on_colab(tmp_path):
    """Only notebook 03 arrives, on a machine that has the libraries and nothing of the project: it fetches the rest,
    draws the sample, trains, and shows what filters see."""
    remote = tmp_path / "remote"
    kept = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "notebooks"]
    for name in (
        subprocess.run(["git", *kept], cwd=PROJECT, capture_output=True, check=True).stdout.decode().split("\0")
    ):
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
    environment = os.environ | {"REPOSITORY": remote.as_uri(), "SAMPLE_IMAGES": "30", "EPOCHS": "1"}
    del environment["RECOGNIZER_WORKSPACE"]
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(machine)}}
    )
    client.execute(env=environment)
    project = machine / "project"
    assert len(list(project.glob("results_Bike/*/conv1/filter_*.png"))) == 2 * 16
    assert list(project.glob("logs/*/model.pt")) and (project / "datasets" / "split.json").exists()
    assert json.loads((project / "datasets" / "split.json").read_text())["dataset"] == "sample"
