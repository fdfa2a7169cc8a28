"""Networks for verdicts: trained once, side by side, continued where they were stopped."""

import os
import time

import numpy as np
import pytest
import torch

from recognizer import BikeCarCNN, load_model, settings
from recognizer.data import prepare
from recognizer.data.dataset import PixelSet
from recognizer.drawings import draw
from recognizer.evidence.networks import PLAIN, Backgrounds, Classes, trained_networks
from recognizer.evidence.part_dependence import dependence
from recognizer.network import run_folder, side_by_side
from recognizer.network.models import save_model
from recognizer.network.recipe import Recipe
from recognizer.settings import Problem


class Sides:
    """A lesson that needs no files: is the left half brighter, or the right one?"""

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


@pytest.fixture
def run(workspace):
    """A run of notebook 02, as far as verdicts need it."""
    path = run_folder(type("Record", (), {"name": "own-123456"}), 32, Recipe(2, seed=5)) / "model.pt"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_model(BikeCarCNN(["Bike", "Car"], 32), path)
    os.utime(path, (time.time() - 60,) * 2)
    return path


def weights(model):
    return torch.cat([value.flatten().float() for value in model.state_dict().values()])


def test_side_by_side_gives_the_weights_of_one_after_the_other(run, monkeypatch):
    together = trained_networks(run, [Sides()], 2)["sides"]
    files = sorted((run.parent / "networks").iterdir())
    assert [file.name for file in files] == ["sides-seed0.pt", "sides-seed1.pt"]
    for file in files:
        file.unlink()
    monkeypatch.setattr(side_by_side, "_cores", lambda: 1)
    alone = trained_networks(run, [Sides()], 2)["sides"]
    for one, other in zip(together, alone):
        assert torch.equal(weights(one), weights(other))
    assert not torch.equal(weights(alone[0]), weights(alone[1]))
    assert alone[0].classes == ["Left", "Right"]


def test_what_is_there_is_kept_and_what_is_older_than_the_model_is_not(run, monkeypatch):
    monkeypatch.setattr(side_by_side, "_cores", lambda: 1)
    trained_networks(run, [Sides()], 1)
    first, second = (run.parent / "networks" / f"sides-seed{k}.pt" for k in range(2))
    before = first.stat().st_mtime_ns
    trained_networks(run, [Sides()], 2)  # goes on with the second
    assert first.stat().st_mtime_ns == before and second.exists()
    os.utime(first, (0, 0))
    trained_networks(run, [Sides()], 2)
    assert first.stat().st_mtime_ns > before


def test_ctrl_c_keeps_what_is_complete_and_leaves_nothing_half_done(run, monkeypatch):
    monkeypatch.setattr(side_by_side, "_cores", lambda: 1)
    fitted, fit = [], side_by_side.fit

    def interrupted(*args, **options):
        fitted.append(1)
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return fit(*args, **options)

    monkeypatch.setattr(side_by_side, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained_networks(run, [Sides()], 3)
    assert [file.name for file in (run.parent / "networks").iterdir()] == ["sides-seed0.pt"]


@pytest.mark.parametrize(("lesson", "sentence"), [(Fails(), "nothing to learn"), (Dies(), "ended early .code 7.")])
def test_what_goes_wrong_in_another_process_is_one_sentence_here(run, monkeypatch, lesson, sentence):
    monkeypatch.setattr(side_by_side, "_cores", lambda: 2)
    with pytest.raises(Problem, match=sentence):
        trained_networks(run, [lesson], 2)


def test_the_first_network_of_the_classes_is_that_of_notebook_02(run):
    (found,) = trained_networks(run, [Classes(32)], 1)["classes"]
    assert torch.equal(weights(found), weights(load_model(run)))


def test_backgrounds_are_those_of_the_drawings_and_not_the_classes(workspace):
    shares = {"val_share": 0.1, "test_share": 0.2}
    prepare("sample", sample_images=40, seed=0, **shares)
    own = settings.DATASETS / "Train" / "Bike" / "bike_0999.jpg"
    own.write_bytes(draw("Car", 50).jpeg)
    prepare("sample", sample_images=40, seed=0, **shares)  # a reader's own image takes part from now on
    train, val, neither = Backgrounds(32).load()
    assert neither is None and train.classes == val.classes == ["Plain", "Place"]
    assert len(train) + len(val) < 80 * 0.9 and 0.3 < train.labels.float().mean() < 0.7
    names = [path.name for path in sorted((settings.DATASETS / "Train").glob("*/*")) if path != own]
    expected = [draw(name.split("_")[0].capitalize(), int(name[-8:-4]) - 1).scene not in PLAIN for name in names]
    assert train.labels.tolist() == expected


def test_a_wheel_filter_depends_on_wheels_and_a_silhouette_does_not():
    """Filters that count pixels of the masks, in which wheels and as much of the rest are taken away."""
    random = np.random.default_rng(0)
    wheels, rest = random.uniform(50, 90, (2, 40))
    rest += 50
    whole = np.stack([wheels, wheels + rest, rest, np.ones(40)], axis=1)
    gone = np.stack([0 * wheels, rest, rest, np.ones(40)], axis=1)
    control = np.stack([wheels, rest, rest - wheels, np.ones(40)], axis=1)
    found = dependence(whole, gone, control)
    np.testing.assert_allclose(found[:3], [1, 0, -1], atol=1e-9)
    assert np.isnan(found[3])
    control[7] = np.nan  # a scene whose control could not be drawn
    np.testing.assert_allclose(dependence(whole, gone, control)[:3], [1, 0, -1], atol=1e-9)
