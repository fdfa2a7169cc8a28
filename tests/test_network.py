"""The network, its training, and what is said about how good it is."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from recognizer import BikeCarCNN, LayerByLayerCNN, load_model, settings
from recognizer.data import prepare, prepared
from recognizer.data.dataset import Pictures
from recognizer.network import board, run_folder, trained
from recognizer.network.evaluation import (
    Evaluation,
    closer,
    evaluate,
    predict,
    save_metrics,
    wilson_interval,
)
from recognizer.network.models import layer_table, save_model
from recognizer.network.training import (
    as_good_as,
    fit,
    logits_of,
    loss_of,
    probabilities_of,
    rmsprop,
    save_epochs,
)
from recognizer.settings import Problem

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture
def parts(workspace, own_zips):
    """Train, Val, Test of tiny pictures: dark ones are bikes, bright ones cars."""
    prepare(str(own_zips), sample_images=0, val_share=0.2, test_share=0.2, seed=0)
    return [Pictures(workspace / "datasets" / part, 32) for part in ("Train", "Val", "Test")]


def train(parts, checkpoint, seed=0, num_epochs=3, **options):
    torch.manual_seed(seed)
    model = BikeCarCNN(parts[0].classes, 32)
    history = fit(model, *parts[:2], num_epochs=num_epochs, batch_size=8, seed=seed, checkpoint=checkpoint, **options)
    return model, history


# --- the model ---


def test_layers_parameters_and_shapes_by_hand():
    """Parameters by the textbook: k·k·in·out for a convolution without bias, 2·out for batch norm, in·out + out."""
    rows = {name: (shape, count) for name, _, shape, count in layer_table(BikeCarCNN(image_size=128))}
    channels, sides = (3, 16, 32, 64, 128, 128, 128, 128), (128, 64, 32, 16, 16, 8, 8)
    for i, (before, after, side) in enumerate(zip(channels, channels[1:], sides), start=1):
        assert rows[f"conv{i}"] == ((after, side, side), 9 * before * after)
        assert rows[f"bn{i}"][1] == 2 * after
        if i not in (4, 6):
            assert rows[f"pool{i}"] == ((after, side // 2, side // 2), 0)
    assert rows["fc1"] == ((128,), 128 * 4 * 4 * 128 + 128)
    assert rows["fc2"] == ((2,), 128 * 2 + 2)
    assert sum(count for _, count in rows.values()) == sum(p.numel() for p in BikeCarCNN().parameters()) < 2_000_000


def test_model_on_disk_gives_the_same_logits(tmp_path):
    torch.manual_seed(0)
    model = BikeCarCNN(["Bike", "Car", "Lorry"], 64)
    model(torch.rand(4, 3, 64, 64))  # moves the running statistics of batch norm
    save_model(model, tmp_path / "model.pt")
    torch.load(tmp_path / "model.pt", weights_only=True)  # nothing in it but tensors and plain values
    loaded = load_model(tmp_path / "model.pt")
    assert (loaded.classes, loaded.image_size, loaded.training) == (["Bike", "Car", "Lorry"], 64, False)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(loaded(images), model.eval()(images))


def test_a_model_that_cannot_be_loaded(tmp_path, workspace):
    with pytest.raises(Problem, match="run notebook 02"):
        load_model(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"something else")
    with pytest.raises(Problem, match="does not hold a model"):
        load_model(tmp_path / "model.pt")
    with pytest.raises(Problem, match="image_size=16 is too small"):
        BikeCarCNN(image_size=16)


def test_one_logit_means_the_second_class():
    logits = torch.tensor([[-2.0], [0.5]])
    assert torch.allclose(probabilities_of(logits)[:, 1], torch.sigmoid(logits[:, 0]))
    both = torch.cat([torch.zeros(2, 1), logits], dim=1)
    labels = torch.tensor([0, 1])
    assert torch.allclose(loss_of(logits, labels), nn.functional.cross_entropy(both, labels))


# --- training ---


def test_it_learns_dark_from_bright(parts, tmp_path):
    model, history = train(parts, tmp_path / "model.pt", num_epochs=12)
    assert len(history.epochs) == 12 and not history.interrupted
    assert evaluate(model, parts[2]).accuracy == 1.0
    assert [e.lr for e in history.epochs][-1] < 1e-5  # the schedule ran to its end


def test_results_depend_on_nothing_but_the_seed(parts, tmp_path):
    one, _ = train(parts, tmp_path / "1.pt", seed=1)
    torch.rand(17)  # what ran before must not matter
    two, _ = train(parts, tmp_path / "2.pt", seed=1)
    other, _ = train(parts, tmp_path / "3.pt", seed=2)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


def test_the_last_epoch_as_good_as_the_best_is_kept(parts, tmp_path, monkeypatch):
    verdicts = iter([True, False, True, False])
    monkeypatch.setattr("recognizer.network.training.as_good_as", lambda *_: next(verdicts))
    seen = []
    model, history = train(
        parts,
        tmp_path / "model.pt",
        num_epochs=4,
        after_epoch=[lambda epoch: seen.append(predict(epoch.model, parts[1]))],
    )
    assert history.best.number == 3
    kept = predict(load_model(tmp_path / "model.pt").to(memory_format=torch.channels_last), parts[1])
    for answers in (kept, predict(model, parts[1])):
        torch.testing.assert_close(answers, seen[2], atol=1e-3, rtol=0)
        assert not torch.allclose(answers, seen[3], atol=1e-3)


@pytest.mark.parametrize(
    "highest, accuracy, count, expected",
    [
        (0.9, 0.9, 100, True),
        (0.9, 0.87, 100, True),  # the standard error of 0.9 on 100 images is 0.03
        (0.9, 0.86, 100, False),
        (1.0, 0.99, 100, True),  # one image, where every single one was right
        (1.0, 0.98, 100, False),
    ],
)
def test_as_good_as_the_best_is_within_one_standard_error(highest, accuracy, count, expected):
    assert as_good_as(highest, accuracy, count) is expected


def test_the_network_is_kept_after_some_epochs(parts, tmp_path):
    (tmp_path / "epochs").mkdir()
    (tmp_path / "epochs" / "epoch_064.pt").write_bytes(b"of an earlier run")
    seen = {}
    after_epoch = [
        save_epochs(tmp_path / "epochs"),
        lambda epoch: seen.update({epoch.number: epoch.model.conv1.weight.detach().clone()}),
    ]
    train(parts, tmp_path / "model.pt", num_epochs=5, after_epoch=after_epoch)
    kept = sorted((tmp_path / "epochs").iterdir())
    assert [path.name for path in kept] == ["epoch_001.pt", "epoch_002.pt", "epoch_004.pt"]
    for path, number in zip(kept, (1, 2, 4)):
        assert torch.equal(load_model(path).conv1.weight, seen[number])


def test_interrupted_training_keeps_its_best_epoch(parts, tmp_path):
    def stop(epoch):
        if epoch.number == 2:
            raise KeyboardInterrupt

    model, history = train(parts, tmp_path / "model.pt", num_epochs=9, after_epoch=[stop])
    assert history.interrupted and len(history.epochs) == 2
    assert not model.training
    load_model(tmp_path / "model.pt")


def test_the_recipe_of_keras(parts, tmp_path, monkeypatch):
    """RMSprop and binary cross-entropy on images as they are: through the same `fit`."""

    def not_wanted(*_):
        raise AssertionError("augmented all the same")

    monkeypatch.setattr("recognizer.network.training.augment", not_wanted)
    torch.manual_seed(0)
    parts = [Pictures(settings.DATASETS / part, 46) for part in ("Train", "Val")]
    model = LayerByLayerCNN(parts[0].classes, 46)
    history = fit(
        model, *parts, num_epochs=6, lr=1e-3, batch_size=8, new_optimizer=rmsprop, augmented=False,
        checkpoint=tmp_path / "model.pt",
    )  # fmt: skip
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    loaded = load_model(tmp_path / "model.pt")
    assert isinstance(loaded, LayerByLayerCNN) and loaded.image_size == 46
    assert predict(loaded, parts[1]).shape == (len(parts[1]), 2)


def test_too_little_to_train_on(parts, tmp_path):
    with pytest.raises(Problem, match="at least 1 epoch"):
        train(parts, tmp_path / "model.pt", num_epochs=0)


def test_a_model_is_trained_where_there_is_none(workspace, own_zips, monkeypatch, capsys):
    for name, value in {"DATASET": str(own_zips), "IMAGE_SIZE": "32", "EPOCHS": "1"}.items():
        monkeypatch.setenv(name, value)
    path = trained(prepared())
    assert "There is no model for these images yet" in capsys.readouterr().out
    assert trained(prepared()) == path and "no model" not in capsys.readouterr().out
    (path.parent / "model.pt").write_bytes(b"broken")
    assert trained(prepared()) == path and load_model(path).classes == ["Bike", "Car"]
    other = run_folder(prepared(), image_size=46, num_epochs=1, batch_size=20, lr=1e-3, seed=0, recipe="layer-by-layer")
    other.mkdir()
    save_model(LayerByLayerCNN(["Bike", "Car"], 46), other / "model.pt")  # newer, but not of notebook 02
    assert trained(prepared()) == path
    monkeypatch.setenv("SEED", "1")  # other images in Train: the old model may have seen what is in Test now
    assert trained(prepared()) != path


# --- evaluation ---


class Brightness(nn.Module):
    """Two logits: how bright the left half is, and how bright the right half is."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, x):
        return self.scale * torch.stack([half.mean(dim=(1, 2, 3)) for half in x.chunk(2, dim=3)], dim=1)


def test_a_closer_look_is_at_the_middle():
    images = torch.zeros(1, 3, 100, 100)
    images[:, :, 10:90, 10:90] = 1
    assert closer(images).min() > 0.9999
    ramp = torch.linspace(0, 1, 100).expand(1, 3, 100, 100)
    assert closer(ramp)[0, 0, 0, [0, -1]].tolist() == pytest.approx([0.1, 0.9], abs=0.01)


def test_a_prediction_is_the_mean_of_four_looks(parts):
    model, test = Brightness(), parts[2]
    images = test.pixels.float() / 255
    middle = F.interpolate(images[:, :, 3:29, 3:29], size=(32, 32), mode="bilinear")
    looks = [images, images.flip(3), middle, middle.flip(3)]
    expected = torch.stack([model(look).softmax(dim=1) for look in looks]).mean(dim=0)
    torch.testing.assert_close(predict(model, test), expected.detach(), atol=5e-3, rtol=0)
    assert not torch.allclose(predict(model, test), logits_of(model, test).softmax(dim=1), atol=1e-3)


def test_wilson_interval_by_its_formula():
    for correct, total in [(0, 10), (7, 10), (97, 100), (390, 400), (5, 5)]:
        z, share = 1.959963984540054, correct / total
        middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
        half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
        assert wilson_interval(correct, total) == pytest.approx((middle - half, middle + half))


def test_confusion_precision_recall_and_mistakes_by_hand(parts):
    labels = np.array([0, 0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55], [0.99, 0.01]], dtype=np.float32)

    class Fixed(nn.Module):
        classes = ["Bike", "Car"]

        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return torch.from_numpy(probabilities).log()

    class Five(Pictures):
        def __init__(self):
            self.pixels, self.labels = torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.from_numpy(labels)
            self.samples = [None] * 5

    found = evaluate(Fixed(), Five())
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.confusion.tolist() == [[2, 1], [1, 1]]
    assert found.by_class() == [("Bike", pytest.approx(2 / 3), pytest.approx(2 / 3), 3), ("Car", 0.5, 0.5, 2)]
    assert found.worst_mistakes(5) == [4, 1]


def test_metrics_can_be_read_back(tmp_path):
    save_metrics(tmp_path / "metrics.json", {"test_accuracy": 0.5, "confusion": [[1, 0], [0, 1]]})
    assert json.loads((tmp_path / "metrics.json").read_text())["confusion"] == [[1, 0], [0, 1]]


# --- TensorBoard ---


def test_what_the_board_shows(parts, tmp_path):
    for _ in range(2):  # a second run in the same folder replaces the first
        torch.manual_seed(0)
        writer = board.open_board(tmp_path / "run")
        model = BikeCarCNN(parts[0].classes, 32)
        board.log_batch(writer, "batch/augmented", torch.rand(8, 3, 32, 32))
        board.log_graph(writer, model)
        _, history = train(
            parts,
            tmp_path / "run" / "model.pt",
            after_epoch=[board.log_scalars(writer), board.log_weights(writer)],
        )
        found = Evaluation(
            parts[2].classes,
            np.eye(2, dtype=np.float32),
            np.array([0, 1]),
            np.array([0, 1]),
            np.eye(2, dtype=int),
        )
        board.log_evaluation(writer, found, Figure(), history.best.number)
        board.log_hparams(writer, {"lr": 0.1}, {"test/accuracy": 1.0})
        writer.close()
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()
    for part in ("train", "val"):
        logged = events.Scalars(f"loss/{part}")
        assert [e.step for e in logged] == [1, 2, 3]
        assert [e.value for e in logged] == pytest.approx([getattr(e, f"{part}_loss") for e in history.epochs])
    assert {"accuracy/train", "accuracy/val", "training/learning rate"} <= set(tags["scalars"])
    assert {"weights/conv1", "weights/fc2"} <= set(tags["histograms"])
    assert {"batch/augmented", "test/confusion matrix"} <= set(tags["images"]) and tags["graph"]
    assert {"test/Bike", "test/Car"} <= set(tags["tensors"])
    assert len(list((tmp_path / "run" / "hparams").iterdir())) == 1
    assert not model.conv1._forward_hooks


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they like")
@pytest.mark.skipif(PAGES.exists() and "[always]" in PAGES.read_text(), reason="pages are too large to count")
@pytest.mark.parametrize("kept", [True, False])
def test_freed_memory_serves_the_next_batch(kept):
    """The system counts the new pages that a process asks for; 60 MB take 15,000 of them the first time."""
    code = """
import resource, torch
from recognizer.network.hardware import keep_freed_memory
keep_freed_memory()
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(5_000_000) for _ in range(3)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    # The threshold that glibc starts with, said aloud: it is then not raised by what happens to be freed first.
    environment = os.environ | {"KEEP_FREED_MEMORY": str(int(kept)), "MALLOC_MMAP_THRESHOLD_": "131072"}
    notebooks = Path(__file__).parents[1] / "notebooks"
    found = subprocess.run([sys.executable, "-c", code], cwd=notebooks, env=environment, capture_output=True, text=True)
    assert (int(found.stdout) < 100) == kept, found.stderr
