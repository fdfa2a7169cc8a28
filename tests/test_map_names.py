"""Names of classes, layers and images in any script: files never collide or leave their folder; text is readable."""

import errno
import io

import matplotlib.pyplot
import numpy as np
import pytest
from PIL import Image, ImageDraw
from torch import nn

from recognizer import display_image_filtered, figures
from recognizer.maps import files, fonts
from recognizer.maps.files import file_name
from recognizer.settings import Problem

from .conftest import picture


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "a bike (1).png"
    path.write_bytes(picture(1))
    return path


# --- names of files and folders ---


def test_layers_with_any_names_get_separate_files_in_the_folder_of_the_image(workspace, image_file):
    class Named(nn.Module):
        def __init__(self, names):
            super().__init__()
            for name in names:
                self.add_module(name, nn.Conv2d(3, 3, 1))
            self.image_size = 8

        def forward(self, images):
            for layer in self.children():
                images = layer(images)
            return images

    names = [
        "conv",
        "Conv",
        "cOnv",
        "/etc/x",
        "\\",
        "a:b",
        "a b",
        "a_b",
        "c#2",
        "c",
        "x" * 300,
        "é",
        "e\u0301",
        "all_layers",
    ]
    names += ["自行车" * 40, "*?", "~", "-"]
    grids = display_image_filtered("Bike", Named(names), names, image_file)
    folder = grids[0].parent
    assert {grid.parent for grid in grids} == {folder} and folder.parent == workspace / "results_Bike"
    assert len({str(grid).casefold() for grid in grids}) == len(names) == len(list(folder.glob("*.png")))
    assert all(len(list(grid.with_suffix("").iterdir())) == 3 for grid in grids)
    assert grids[0].name == "conv.png" and grids[7].name == "a_b.png"
    model = Named(["c", "c#2"])
    model.forward = lambda images: model.c(model.c(images))
    with pytest.raises(Problem, match="'c' runs several times, and another layer is called 'c#2'"):
        display_image_filtered("Bike", model, "c", image_file)


@pytest.mark.parametrize("name", ["..", ".", "a/../..", "layer.png", ""])
def test_no_layer_name_leads_out_of_the_folder(name):
    """`add_module` refuses these names, but other code may create them."""
    result = file_name(name, [name])
    assert result not in (".", "..") and "/" not in result
    assert not result.startswith(".") and not result.endswith(".png")


def test_name_image_must_be_a_folder_name(workspace, image_file):
    model = nn.Sequential(nn.Conv2d(3, 1, 1))
    for name in ("../Bike", "Bike?", "", "a\0b", None):
        with pytest.raises(Problem, match="cannot be part of a folder's name"):
            display_image_filtered(name, model, "0", image_file)
    with pytest.raises(Problem, match="File name too long"):
        display_image_filtered("x" * 300, model, "0", image_file)


def test_a_file_in_place_of_the_results_folder_raises_a_clear_error(workspace, image_file):
    workspace.mkdir()
    (workspace / "results_Bike").write_text("mine")
    with pytest.raises(Problem, match="cannot be written to results_Bike"):
        display_image_filtered("Bike", nn.Sequential(nn.Conv2d(3, 1, 1)), "0", image_file)
    assert (workspace / "results_Bike").read_text() == "mine"


def test_a_read_only_disk_raises_a_clear_error(workspace, image_file, monkeypatch):
    def refuse(path, rgb):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(files, "save_png", refuse)
    with pytest.raises(Problem, match="Read-only file system") as raised:
        display_image_filtered("Bike", nn.Sequential(nn.Conv2d(3, 1, 1)), "0", image_file)
    assert str(workspace) not in str(raised.value)


# --- characters ---


@pytest.fixture
def installed(monkeypatch):
    """The list of installed font files. It is empty until a test adds some."""
    files = []
    monkeypatch.setattr(fonts, "_installed", lambda: iter(files))
    monkeypatch.setattr(fonts, "_files", {})
    monkeypatch.setattr(fonts, "_recommended", set())
    monkeypatch.setitem(matplotlib.rcParams, "font.family", ["sans-serif"])
    return files


@pytest.mark.parametrize(
    ("name", "shown", "font"),
    [
        ("自行车", "U+81EA-U+884C-U+8F66", "Noto Sans CJK"),
        ("バイク, 90 %", "ba-i-ku, 90 %", "Noto Sans CJK"),
        ("오토바이", "o-to-ba-i", "Noto Sans CJK"),
        ("Bike🚲", "Bike bicycle", "Symbola"),
        ("हद", "ha-da", "Noto font"),
    ],
)
def test_characters_without_a_font_are_transcribed_and_one_message_says_so(installed, capsys, name, shown, font):
    assert fonts.readable(name) == shown
    assert fonts.readable(name) == shown
    assert capsys.readouterr().out.count(font) == 1


def test_characters_of_the_default_font_stay(installed, capsys):
    for name in ("Bike", "Vélo", "Ποδήλατο", "велосипед", "دراجة", "two\nlines"):
        assert fonts.readable(name) == name
    assert fonts.readable("a\tb\0c") == "a b c"
    assert not capsys.readouterr().out


def test_an_installed_font_draws_characters_that_the_default_font_lacks(installed, capsys):
    """STIX comes with matplotlib and has circled letters; DejaVu Sans does not."""
    before = np.asarray(drawn("Ⓐ"))
    installed += ["no such font", f"{fonts.FONTS}/cmr10.ttf", f"{fonts.FONTS}/STIXGeneral.ttf"]
    fonts._files.clear()
    capsys.readouterr()
    assert fonts.readable("Ⓐ bike") == "Ⓐ bike"
    assert (np.asarray(drawn("Ⓐ")) != before).any()
    assert not capsys.readouterr().out


def drawn(text: str) -> Image.Image:
    sheet = Image.new("RGB", (60, 20), "white")
    fonts.draw_text(ImageDraw.Draw(sheet), (0, 0), text, "black", 13)
    return sheet


def test_the_middle_of_text_that_is_too_wide_is_cut_out():
    sheet = Image.new("RGB", (400, 20), "white")
    fonts.draw_text(ImageDraw.Draw(sheet), (0, 0), "layer" * 100, "black", 13, width=200)
    columns = np.flatnonzero((np.asarray(sheet) < 255).any(axis=(0, 2)))
    assert 150 < columns.max() <= 200


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("font", [None, "STIXGeneral.ttf"])
def test_figures_draw_class_names_in_any_script(installed, capsys, caplog, font):
    installed += [f"{fonts.FONTS}/{font}"] if font else []
    names = ["Ⓐ $5 and $6", "A|B"]
    figure = figures.confusion_figure(np.array([[3, 1], [0, 4]]), names, "Ⓐ: bold")
    figure.savefig(io.BytesIO())
    assert not caplog.records
    assert ("pictures show" in capsys.readouterr().out) == (font is None)
    matplotlib.pyplot.close(figure)
    row = figures.table(["class", "images"], [(names[1], 3)]).data.splitlines()[-1]
    assert row == "| A\\|B | 3 |"
