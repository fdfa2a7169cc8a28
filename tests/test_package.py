"""The package by itself: it asks for what it imports, and once installed it works without this project around it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from .conftest import picture
from .test_notebooks import code_cells

PROJECT = Path(__file__).resolve().parents[1]
ASKED_FOR = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = ASKED_FOR["optional-dependencies"]

# What a machine of Google Colab had in June 2026. Its IPython is pinned; another one breaks its own package.
COLAB = {
    "torch": (2, 11),
    "torchvision": (0, 26),
    "tensorboard": (2, 20),
    "numpy": (2, 0),
    "pillow": (11, 3),
    "opencv-python-headless": (4, 13),
    "matplotlib": (3, 10),
    "scipy": (1, 16),
    "scikit-learn": (1, 6),
    "requests": (2, 32),
    "urllib3": (2, 5),
    "filelock": (3, 29),
    "tqdm": (4, 67),
    "ipython": (7, 34),
}


def name_of(requirement: str) -> str:
    return re.match(r"[\w-]+", requirement)[0]


def imported(source: str) -> set[str]:
    """The top-level modules that a piece of Python imports, but for the standard library and its own package."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"recognizer"}


def test_requirements_are_those_of_the_package_each_with_its_reason():
    lines = [
        line for line in (PROJECT / "requirements.txt").read_text("utf-8").splitlines() if not line.startswith("#")
    ]
    requirements, reasons = zip(*(line.split("#") for line in lines))
    wanted = ASKED_FOR["dependencies"] + EXTRAS["notebooks"] + EXTRAS["tests"]
    assert sorted(requirement.strip() for requirement in requirements) == sorted(wanted)
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", requirement) for requirement in wanted)
    assert all(len(reason.strip()) > 5 for reason in reasons)


@pytest.mark.parametrize(
    ("pattern", "extras"),
    [
        ("notebooks/recognizer/**/*.py", ("shards", "many")),
        ("notebooks/*.py", ("notebooks",)),
        ("notebooks/*.ipynb", ()),
        ("tests/*.py", ("notebooks", "tests")),
        ("conftest.py", ("tests",)),
        ("benchmarks/*.py", ("benchmarks",)),
    ],
)
def test_what_is_imported_is_asked_for(pattern, extras):
    asked_for = {name_of(one) for one in sum((EXTRAS[extra] for extra in extras), ASKED_FOR["dependencies"])}
    distributions = {"faiss": ["faiss-cpu"]} | packages_distributions()  # it may not be installed
    files = list(PROJECT.glob(pattern))
    assert files
    for path in files:
        source = path.read_text("utf-8")
        if path.suffix == ".ipynb":
            source = "\n".join(cell.source for cell in code_cells(path))
        for module in imported(source) - {neighbour.stem for neighbour in path.parent.glob("*.py")}:
            names = {name.replace("_", "-").lower() for name in distributions.get(module, [module])}
            assert asked_for & names, f"{path.name} imports {module}"


def test_colab_has_all_that_the_package_asks_for():
    for requirement in ASKED_FOR["dependencies"]:
        name, least = requirement.split(">=")
        assert tuple(int(part) for part in least.split(".")) <= COLAB[name], requirement


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (found,) = folder.glob("recognizer-*.whl")
    return found


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = PROJECT / "notebooks" / "recognizer"
    files = [*package.rglob("*.py"), *(package / "explorer" / "web").iterdir()]
    assert held == {f"recognizer/{path.relative_to(package).as_posix()}" for path in files}


def test_installed_elsewhere_it_needs_neither_jupyter_nor_this_folder(wheel, tmp_path):
    """`import recognizer` and maps of a network of torchvision, in a folder that has nothing to do with the project."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    work = tmp_path / "work"
    work.mkdir()
    (work / "my_car.png").write_bytes(picture(1, size=(80, 60)))
    extras = [name_of(one) for one in EXTRAS["notebooks"] + EXTRAS["tests"]]
    code = f"""
import sys
for name in {extras}:
    sys.modules[name.replace("-", "_")] = None
import torchvision
from recognizer import display_image_filtered
import recognizer.data, recognizer.evidence, recognizer.network
display_image_filtered("Car", torchvision.models.resnet18(), "layer1.0.conv1", "my_car.png")
"""
    environment = {name: value for name, value in os.environ.items() if name != "RECOGNIZER_WORKSPACE"}
    environment["PYTHONPATH"] = str(tmp_path / "site")
    done = subprocess.run([sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(work.glob("results_Car/my_car*/layer1.0.conv1/filter_*.png"))) == 64
    assert {path.name for path in work.iterdir()} == {"my_car.png", "results_Car"}
