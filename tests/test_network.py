"""The network, its training, and its evaluation."""

import copy
import functools
import io
import json
import math
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm import tqdm

from recognizer import BikeCarCNN, LayerByLayerCNN, load_model, settings
from recognizer.data import prepare, prepared
from recognizer.data.batches import batches
from recognizer.data.dataset import Pictures
from recognizer.maps.activations import layer_table
from recognizer.network import board, recipe_of, run_folder, trained, usual_epochs
from recognizer.network.evaluation import (
    Evaluation,
    closer,
    evaluate,
    metrics_of,
    predict,
    save_metrics,
    wilson_interval,
)
from recognizer.network.hardware import choose_device, fastest_dtype, fastest_memory_format, room_for_pixels
from recognizer.network.models import save_model
from recognizer.network.recipe import Recipe, adamw, optimizer_and_average, rmsprop
from recognizer.network.training import (
    NEITHER,
    as_good_as,
    fit,
    logits_of,
    loss_of,
    probabilities_of,
    save_epochs,
    train_one_epoch,
    training_batches,
)
from recognizer.settings import Problem, parameter

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.fixture
def parts(workspace, own_zips):
    """Train, Val and Test with tiny pictures: dark ones are bikes, bright ones are cars."""
    prepare(str(own_zips), sample_images=0, val_share=0.2, test_share=0.2, seed=0)
    return [Pictures(workspace / "datasets" / part, 32) for part in ("Train", "Val", "Test")]


def train(parts, checkpoint, seed=0, num_epochs=3, after_epoch=()):
    torch.manual_seed(seed)
    model = BikeCarCNN(parts[0].classes, 32)
    history = fit(model, *parts[:2], Recipe(num_epochs, batch_size=8, seed=seed), checkpoint, after_epoch)
    return model, history


# --- the model ---


def test_layers_parameters_and_shapes_by_hand():
    """Parameters by formula: k·k·in·out for a convolution without bias, 2·out for batch norm, in·out + out."""
    rows = {name: (shape, count) for name, _, shape, count in layer_table(BikeCarCNN(image_size=128))}
    channels, sides = (3, 16, 32, 64, 64, 64, 64, 128), (128, 64, 32, 16, 16, 16, 16)
    for i, (before, after, side) in enumerate(zip(channels, channels[1:], sides), start=1):
        assert rows[f"conv{i}"] == ((after, side, side), (49 if i == 1 else 9) * before * after)
        assert rows[f"bn{i}"][1] == 2 * after
        if i in (1, 2, 3, 7):
            assert rows[f"pool{i}"] == ((after, side // 2, side // 2), 0)
    assert rows["fc1"] == ((128,), 128 * 8 * 8 * 128 + 128)
    assert rows["fc2"] == ((2,), 128 * 2 + 2)
    assert sum(count for _, count in rows.values()) == sum(p.numel() for p in BikeCarCNN().parameters()) < 2_000_000


def test_model_on_disk_gives_the_same_logits(tmp_path):
    torch.manual_seed(0)
    model = BikeCarCNN(["Bike", "Car", "Lorry"], 64)
    model(torch.rand(4, 3, 64, 64))  # moves the running statistics of batch norm
    save_model(model, tmp_path / "model.pt")
    torch.load(tmp_path / "model.pt", weights_only=True)  # it holds only tensors and plain values
    loaded = load_model(tmp_path / "model.pt")
    assert (loaded.classes, loaded.image_size, loaded.training) == (["Bike", "Car", "Lorry"], 64, False)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(loaded(images), model.eval()(images))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def saved(content) -> bytes:
    """The bytes of what torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def as_saved(**changes) -> bytes:
    model = BikeCarCNN(image_size=32)
    content = {"architecture": "BikeCarCNN", "classes": model.classes, "image_size": 32, "weights": model.state_dict()}
    return saved(content | changes)


def flipped(content: bytes) -> bytes:
    """With one bit of the weights changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def array_file() -> bytes:
    file = io.BytesIO()
    np.savez(file, weights=np.zeros(3))
    return file.getvalue()


NOT_MODELS = {
    "nothing": (lambda: b"", "empty"),
    "text": (lambda: b"something else", "cut off, or no file of PyTorch"),
    "a pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", "git lfs pull"),
    "the first half": (lambda: as_saved()[:100_000], "cut off"),
    "a few bytes": (lambda: as_saved()[:3], "cut off"),
    "a changed bit": (lambda: flipped(as_saved()), "damaged"),
    "a whole object": (lambda: saved(BikeCarCNN(image_size=32)), "more than numbers and names"),
    "arrays of NumPy": (array_file, "PyTorch cannot read it"),
    "of another project": (lambda: saved({"epoch": 3, "state_dict": {}}), "another program or version"),
    "bare weights": (lambda: saved(BikeCarCNN(image_size=32).state_dict()), "another program or version"),
    "one tensor": (lambda: saved(torch.zeros(3)), "another program or version"),
    "of a later version": (lambda: as_saved(normalisation=[0.5, 0.25]), "another program or version"),
    "of an unknown network": (lambda: as_saved(architecture="BikeCarCNN2"), "another program or version"),
    "of more classes": (lambda: as_saved(classes=["Bike", "Car", "Lorry"]), "other layers"),
    "of another size": (lambda: as_saved(image_size=64), "other layers"),
}


@pytest.mark.parametrize("kind", NOT_MODELS)
def test_a_file_without_a_model_gives_a_message(kind, tmp_path):
    content, reason = NOT_MODELS[kind]
    (tmp_path / "model.pt").write_bytes(content())
    with pytest.raises(Problem, match=rf"^model\.pt does not hold a model of this version: .*{reason}"):
        load_model(tmp_path / "model.pt")


def test_a_model_that_cannot_be_loaded(tmp_path, workspace):
    with pytest.raises(Problem, match="run notebook 02"):
        load_model(tmp_path / "model.pt")
    (tmp_path / "model.pt").mkdir()
    with pytest.raises(Problem, match=r"model\.pt cannot be read: Is a directory|Permission denied"):
        load_model(tmp_path / "model.pt")
    with pytest.raises(Problem, match="image_size=15 is too small"):
        BikeCarCNN(image_size=15)


@pytest.mark.parametrize(
    "error", [MemoryError(), KeyboardInterrupt(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_errors_are_not_reported_as_a_broken_model(error, tmp_path, monkeypatch):
    save_model(BikeCarCNN(image_size=32), tmp_path / "model.pt")

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", fails)
    with pytest.raises(type(error)) as found:
        load_model(tmp_path / "model.pt")
    assert found.value is error


def test_one_logit_means_the_second_class():
    logits = torch.tensor([[-2.0], [0.5]])
    assert torch.allclose(probabilities_of(logits)[:, 1], torch.sigmoid(logits[:, 0]))
    both = torch.cat([torch.zeros(2, 1), logits], dim=1)
    labels = torch.tensor([0, 1])
    assert torch.allclose(loss_of(logits, labels), nn.functional.cross_entropy(both, labels))


def test_the_target_for_an_image_of_no_class_is_the_same_probability_for_every_class():
    """Its loss has its minimum, ln K, where all logits are equal. In the mean, it counts as one image."""
    labels = torch.tensor([1, NEITHER])
    for sure, unsure in (([[0.0, 50, 0], [3, 3, 3]], math.log(3)), ([[50.0], [0]], math.log(2))):
        logits = torch.tensor(sure)
        assert loss_of(logits, labels).item() == pytest.approx(unsure / 2)
        logits[1, 0] += 1
        assert loss_of(logits, labels).item() > unsure / 2 + 0.01


@pytest.mark.parametrize(
    ("dataset", "images", "expected"),
    [
        ("sample", 1400, 11),
        ("sample", 5000, 11),
        ("sample", 56, 40),
        ("motorbikes", 1400, 40),
        ("motorbikes", 20000, 8),
    ],
)
def test_more_images_means_fewer_epochs(dataset, images, expected):
    assert usual_epochs(SimpleNamespace(dataset=dataset), images) == expected


def test_the_recipe_of_a_run_is_read_from_its_folder_whatever_the_name_of_the_data_set():
    recipe = Recipe(3, lr=5e-5, seed=17)
    record = SimpleNamespace(name="cars-lr1-seed3")
    assert recipe_of(run_folder(record, 128, recipe) / "model.pt") == recipe
    assert recipe_of(run_folder(record, 128, recipe, "another") / "model.pt") == recipe
    with pytest.raises(Problem, match="renamed does not contain its run's recipe"):
        recipe_of(settings.LOGS / "renamed" / "model.pt")


# --- training ---


def test_images_of_no_class_must_be_as_large_as_those_of_train(parts, tmp_path):
    for neither in (torch.zeros(3, 3, 40, 40, dtype=torch.uint8), torch.zeros(0, 3, 32, 32, dtype=torch.uint8)):
        with pytest.raises(Problem, match="must be as large as those of Train"):
            fit(BikeCarCNN(parts[0].classes, 32), *parts[:2], Recipe(1), tmp_path / "model.pt", neither=neither)


def test_a_network_trained_with_images_of_no_class_is_uncertain_about_them(parts, tmp_path):
    grey = torch.full((6, 3, 32, 32), 128, dtype=torch.uint8)  # between dark bikes and bright cars
    torch.manual_seed(0)
    model = BikeCarCNN(parts[0].classes, 32)
    history = fit(model, *parts[:2], Recipe(12, batch_size=8), tmp_path / "model.pt", neither=grey)
    assert probabilities_of(model(torch.full((1, 3, 32, 32), 0.49))).max().item() < 0.75
    assert evaluate(model, parts[2]).accuracy == 1.0
    assert history.epochs[-1].train_accuracy == 1.0  # of the images that have a class


def test_it_learns_dark_from_bright(parts, tmp_path):
    model, history = train(parts, tmp_path / "model.pt", num_epochs=12)
    assert len(history.epochs) == 12 and not history.interrupted
    assert evaluate(model, parts[2]).accuracy == 1.0
    assert [e.lr for e in history.epochs][-1] < 1e-5  # the schedule ran to its end


@pytest.mark.parametrize("augmented", [True, False])
def test_it_learns_from_images_stored_larger_than_its_input(parts, workspace, tmp_path, augmented):
    larger = Pictures(workspace / "datasets" / "Train", 32, detail=1.25)
    assert larger.pixels.shape[2:] == (40, 40) and larger.image_size == parts[0].image_size == 32
    torch.manual_seed(0)
    model = BikeCarCNN(larger.classes, 32)
    fit(model, larger, parts[1], Recipe(12, batch_size=8, augmented=augmented), tmp_path / "model.pt")
    assert evaluate(model, parts[2]).accuracy == 1.0


def test_the_first_layer_has_the_strongest_weight_decay():
    """Without gradients, weights shrink by decay alone; the first parameter shrinks fastest."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    before = [weight.detach().norm() for weight in model.parameters()]
    optimizer = adamw(model.parameters(), lr=0.1)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    for _ in range(5):
        optimizer.step()
    kept = [float(weight.detach().norm() / start) for weight, start in zip(model.parameters(), before)]
    assert kept == pytest.approx([0.9**5, *[0.995**5] * 3], rel=1e-4)


def test_results_depend_only_on_the_seed(parts, tmp_path):
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
        (1.0, 0.99, 100, True),  # one image less than all correct
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
    """RMSprop and binary cross-entropy on images without augmentation, through the same `fit`."""

    def not_wanted(*_):
        raise AssertionError("augmented all the same")

    monkeypatch.setattr("recognizer.network.training.augment", not_wanted)
    torch.manual_seed(0)
    parts = [Pictures(settings.DATASETS / part, 46) for part in ("Train", "Val")]
    model = LayerByLayerCNN(parts[0].classes, 46)
    recipe = Recipe(6, batch_size=8, lr=1e-3, new_optimizer=rmsprop, augmented=False)
    history = fit(model, *parts, recipe, tmp_path / "model.pt")
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss
    loaded = load_model(tmp_path / "model.pt")
    assert isinstance(loaded, LayerByLayerCNN) and loaded.image_size == 46
    assert predict(loaded, parts[1]).shape == (len(parts[1]), 2)


def test_too_little_to_train_on(parts, tmp_path):
    with pytest.raises(Problem, match="at least 1 epoch"):
        train(parts, tmp_path / "model.pt", num_epochs=0)
    one = copy.copy(parts[0])
    one.samples = one.samples[:1]
    with pytest.raises(Problem, match="at least 2 images, not 1"):
        train([one, parts[1]], tmp_path / "model.pt")


def test_impossible_recipes():
    impossible = {
        "num_epochs": (-1, 0, 2.5, "3"),
        "batch_size": (1, 16.0),
        "lr": (0, -1e-3, float("nan"), float("inf"), 1e30),
        "seed": (-1, 10**20),
    }
    for name, values in impossible.items():
        for value in values:
            with pytest.raises(Problem, match=re.escape(f", not {name}={value!r}.")):
                Recipe(**{"num_epochs": 1} | {name: value})


def test_an_epoch_is_the_textbook_loop():
    """On a list of batches, with plain SGD. The returned values are those before each step."""
    torch.manual_seed(0)
    model, other = nn.Linear(4, 2), nn.Linear(4, 2)
    other.load_state_dict(model.state_dict())
    some = [(torch.randn(5, 4), torch.randint(0, 2, (5,))) for _ in range(3)]
    loss, accuracy = train_one_epoch(model, some, torch.optim.SGD(model.parameters(), lr=0.1))
    losses, right = [], []
    for images, labels in some:
        logits = other(images)
        found = F.cross_entropy(logits, labels)
        for weight, gradient in zip(other.parameters(), torch.autograd.grad(found, list(other.parameters()))):
            weight.data -= 0.1 * gradient
        losses.append(found.item())
        right += (logits.argmax(dim=1) == labels).tolist()
    assert (loss, accuracy) == pytest.approx((np.mean(losses), np.mean(right)))
    torch.testing.assert_close(model.weight, other.weight)


def test_each_step_moves_the_learning_rate_and_the_average():
    """As PyTorch's own `OneCycleLR` and `AveragedModel` do in the loop of its documentation."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    some = [(torch.rand(6, 3, 8, 8), torch.randint(0, 2, (6,))) for _ in range(12)]
    model(some[0][0])
    other = copy.deepcopy(model)
    recipe = Recipe(num_epochs=1, lr=0.05)
    optimizer, average = optimizer_and_average(model, recipe, total_steps=12)
    train_one_epoch(model, some, optimizer)

    def decayed(average, new, steps):
        for old, newest in zip(average, new):
            share = min(0.99, (1 + steps.item()) / (10 + steps.item()))
            old.copy_(share * old + (1 - share) * newest)

    plain = adamw(other.parameters(), recipe.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(plain, recipe.lr, total_steps=12, pct_start=2 / 12)
    averaged = torch.optim.swa_utils.AveragedModel(other, multi_avg_fn=decayed, use_buffers=True)
    for images, labels in some:
        F.cross_entropy(other(images), labels).backward()
        plain.step()
        plain.zero_grad()
        schedule.step()
        averaged.update_parameters(other)
    assert optimizer.param_groups[0]["lr"] == schedule.get_last_lr()[0]
    torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(average.state_dict(), averaged.module.state_dict())


class Reads(TorchDispatchMode):
    """Counts how often a number is read from a tensor, because a program waits for its GPU then."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_no_step_waits_for_the_gpu(parts, monkeypatch):
    found = []
    for num_steps in (1, 4):
        model, recipe = BikeCarCNN(parts[0].classes, 32), Recipe(2, batch_size=len(parts[0]) // num_steps)
        optimizer, _ = optimizer_and_average(model, recipe, total_steps=100)
        generator = torch.Generator().manual_seed(0)
        with Reads() as reads:
            for _ in range(2):
                of_epoch = training_batches(parts[0], recipe, torch.device("cpu"), generator, tqdm(disable=True))
                train_one_epoch(model, of_epoch, optimizer)
        found.append(reads.count)
    assert found[0] == found[1] == 2 * 2  # loss and accuracy of each epoch


def test_batches_are_sent_to_a_gpu_without_waiting_for_it(parts, monkeypatch):
    sent, real = [], torch.Tensor.to

    def to(tensor, *args, **options):
        if getattr(args[0], "type", None) != "cuda":
            return real(tensor, *args, **options)
        sent.append(options.get("non_blocking"))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    assert len(list(batches(parts[0], 8, device="cuda"))) == 3
    assert sent == [True] * 6  # images and labels


def test_diverged_training_gives_a_message_and_saves_nothing_of_it(parts, tmp_path):
    def spoil(epoch):
        seen.append(epoch.number)
        with torch.no_grad():
            model.fc2.bias.fill_(torch.inf)

    seen = []
    model = BikeCarCNN(parts[0].classes, 32)
    with pytest.raises(Problem, match="diverged in epoch 2: .*learning rate below 0.002"):
        fit(model, *parts[:2], Recipe(5, batch_size=8), tmp_path / "model.pt", [spoil])
    assert seen == [1]
    assert all(weight.isfinite().all() for weight in load_model(tmp_path / "model.pt").parameters())


def test_a_model_has_its_usual_forward_after_training(parts, tmp_path):
    """In training it computes in bfloat16 if that is fast. Afterwards, its user decides how it computes."""
    model, _ = train(parts, tmp_path / "model.pt")
    assert model(torch.rand(2, 3, 32, 32)).dtype == torch.float32
    torch.testing.assert_close(copy.deepcopy(model).state_dict(), load_model(tmp_path / "model.pt").state_dict())


def test_a_model_is_trained_if_there_is_none(workspace, own_zips, monkeypatch, capsys):
    for name, value in {"DATASET": str(own_zips), "IMAGE_SIZE": "32", "EPOCHS": "1"}.items():
        monkeypatch.setenv(name, value)
    path = trained(prepared())
    assert "There is no model for these images yet" in capsys.readouterr().out
    assert trained(prepared()) == path and "no model" not in capsys.readouterr().out
    other = run_folder(prepared(), 46, Recipe(1, batch_size=20, lr=1e-3), "layer-by-layer")
    assert other.name.endswith("-46px-1epochs-batch20-lr0.001-seed0-layer-by-layer")
    other.mkdir()
    save_model(LayerByLayerCNN(["Bike", "Car"], 46), other / "model.pt")  # newer, but not of notebook 02
    assert trained(prepared()) == path
    monkeypatch.setenv("SEED", "1")  # other images in Train: the old model may have seen what is in Test now
    assert trained(prepared()) != path


def test_a_model_file_that_cannot_be_read_is_never_overwritten(workspace, own_zips, monkeypatch, capsys):
    for name, value in {"DATASET": str(own_zips), "IMAGE_SIZE": "32", "EPOCHS": "1"}.items():
        monkeypatch.setenv(name, value)
    path = trained(prepared())
    good = path.read_bytes()
    path.write_bytes(b"a model of somebody's later version")
    again = trained(prepared())
    assert f"{path.parent.name}/model.pt does not hold a model" in capsys.readouterr().out
    assert again != path and path.read_bytes() == b"a model of somebody's later version"
    assert load_model(again).classes == ["Bike", "Car"] and trained(prepared()) == again
    again.write_bytes(good[:1000])
    third = trained(prepared())
    assert third not in (path, again) and again.read_bytes() == good[:1000]


def test_a_model_for_other_classes_is_skipped(workspace, own_zips, monkeypatch):
    for name, value in {"DATASET": str(own_zips), "IMAGE_SIZE": "32", "EPOCHS": "1"}.items():
        monkeypatch.setenv(name, value)
    path = run_folder(prepared(), 32, Recipe(1)) / "model.pt"
    path.parent.mkdir(parents=True)
    save_model(BikeCarCNN(["Cat", "Dog"], 32), path)
    found = trained(prepared())
    assert found != path and load_model(found).classes == ["Bike", "Car"]
    assert load_model(path).classes == ["Cat", "Dog"]


# --- parameters, and the machine ---


@pytest.mark.parametrize(
    "name, text, options, said",
    [
        ("EPOCHS", "1e3", {}, "EPOCHS='1e3' is not an integer; try EPOCHS=40."),
        ("EPOCHS", "3,5", {}, "is not an integer"),
        ("EPOCHS", '"3"', {}, "is not an integer"),
        ("EPOCHS", "-1", {"at_least": 1}, "EPOCHS=-1 is out of range: it must be at least 1."),
        ("EPOCHS", "9" * 400, {"at_least": 1, "at_most": 9}, "it must be at least 1 and at most 9."),
        ("LR", "0,002", {}, "is not a number"),
        ("LR", "nan", {}, "LR=nan is out of range: it must be finite"),
        ("LR", "-inf", {"at_most": 1}, "it must be at most 1"),
        ("LR", "1e30", {"at_most": 1}, "it must be at most 1"),
        ("TENSORBOARD", "maybe", {}, "is not yes or no"),
        ("SCALE", "foo", {"one_of": ("map", "layer")}, "SCALE='foo' is not possible; use one of map, layer."),
    ],
)
def test_values_that_a_parameter_cannot_have(name, text, options, said, monkeypatch):
    default = {"EPOCHS": 40, "LR": 2e-3, "TENSORBOARD": True, "SCALE": "map"}[name]
    monkeypatch.setenv(name, text)
    with pytest.raises(Problem, match=re.escape(said)):
        parameter(name, default, **options)


def test_values_that_a_parameter_can_have(monkeypatch):
    numbers = [(" 3 ", 40, 3), ("1_000", 40, 1000), ("1e-3", 2e-3, 0.001), ("1", 2e-3, 1.0), ("", 40, 40)]
    switches = [("On", False, True), ("off", True, False), ("NO", True, False), ("yes", False, True)]
    for text, default, value in numbers + switches:
        monkeypatch.setenv("SOME_PARAMETER", text)
        assert parameter("SOME_PARAMETER", default) == value
    monkeypatch.delenv("SOME_PARAMETER")
    with pytest.raises(Problem, match="SOME_PARAMETER=0 is out of range"):  # a user changed the notebook
        parameter("SOME_PARAMETER", 0, at_least=1)


@pytest.fixture
def only(monkeypatch):
    """A function that makes PyTorch report a number of GPUs of one kind."""

    def have(kind, count=1):
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: kind and torch.device(kind))
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)

    return have


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_a_gpu_is_used_if_there_is_one(kind, only, monkeypatch):
    only(kind, count=2)
    assert choose_device() == torch.device(kind)
    for name in ("cpu", "CPU", kind, f"{kind}:1"):
        monkeypatch.setenv("DEVICE", name)
        assert choose_device() == torch.device(name.lower())
    for name in (f"{kind}:2", "gpu", f"{kind}:", "cuda:-1", "meta"):
        monkeypatch.setenv("DEVICE", name)
        with pytest.raises(Problem, match=f"DEVICE='{name}' .*use auto or cpu, {kind}, {kind}:0, {kind}:1"):
            choose_device()


def test_without_a_gpu_there_is_only_the_cpu(only, monkeypatch):
    only(None, count=0)
    assert choose_device() == torch.device("cpu")
    for name in ("cuda", "cuda:0", "gpu", "mps"):
        monkeypatch.setenv("DEVICE", name)
        with pytest.raises(Problem, match=f"DEVICE='{name}' is not a device of this machine; use auto or cpu"):
            choose_device()


@pytest.mark.parametrize(
    "kind, dtype, memory_format, room, fused",
    [
        ("cpu", torch.bfloat16, torch.channels_last, 0, True),
        ("cuda", torch.bfloat16, torch.channels_last, 500, True),
        ("mps", torch.float32, torch.contiguous_format, 0, True),
        ("xpu", torch.bfloat16, torch.contiguous_format, 0, True),
        ("hpu", torch.float32, torch.contiguous_format, 0, False),
    ],
)
def test_settings_of_each_kind_of_device(kind, dtype, memory_format, room, fused, monkeypatch):
    device = torch.device(kind)
    for has_it in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has_it=has_it: {"avx512_bf16": has_it})
        for gpu in (torch.cuda, torch.xpu):
            monkeypatch.setattr(gpu, "is_bf16_supported", lambda including_emulation, has_it=has_it: has_it)
        assert fastest_dtype(device) == (dtype if has_it else torch.float32)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    assert fastest_memory_format(device) == memory_format and room_for_pixels(device) == room
    given = {}
    monkeypatch.setattr(torch.optim, "AdamW", lambda parameters, **options: given.update(options))
    adamw(iter([SimpleNamespace(device=device)]), 0.1)
    assert given["fused"] is fused and given["lr"] == 0.1


def test_choices_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("BFLOAT16", "no")
    monkeypatch.setenv("CHANNELS_LAST", "0")
    assert fastest_dtype(torch.device("cpu")) == torch.float32
    assert fastest_memory_format(torch.device("cpu")) == torch.contiguous_format


def test_pixels_stay_on_the_device_if_they_fit(parts):
    device = torch.device("meta")  # any device other than theirs
    pictures = parts[0]
    assert pictures.pixels_on(device, room=0) is pictures.pixels
    assert copy.copy(pictures).pixels_on(device, room=pictures.pixels.nbytes - 1) is pictures.pixels
    kept = pictures.pixels_on(device, room=pictures.pixels.nbytes)
    assert kept.device == device and pictures.pixels_on(device, room=1) is kept


# --- evaluation ---


class Brightness(nn.Module):
    """Two logits: the brightness of the left half and of the right half."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, x):
        return self.scale * torch.stack([half.mean(dim=(1, 2, 3)) for half in x.chunk(2, dim=3)], dim=1)


def test_closer_enlarges_the_centre():
    images = torch.zeros(1, 3, 100, 100)
    images[:, :, 10:90, 10:90] = 1
    assert closer(images).min() > 0.9999
    ramp = torch.linspace(0, 1, 100).expand(1, 3, 100, 100)
    assert closer(ramp)[0, 0, 0, [0, -1]].tolist() == pytest.approx([0.1, 0.9], abs=0.01)


def test_a_prediction_is_the_mean_over_four_views(parts):
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
        classes = Fixed.classes

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
    assert json.loads((tmp_path / "metrics.json").read_text("utf-8"))["confusion"] == [[1, 0], [0, 1]]


def test_metrics_hold_parameters_and_results(parts, tmp_path):
    model, history = train(parts, tmp_path / "model.pt")
    evaluation = evaluate(model, parts[2])
    recipe = Recipe(3, batch_size=8, augmented=False)
    metrics = metrics_of(evaluation, history, model, recipe, dataset="own", train_seconds=1.25)
    assert {"dataset", "seed", "parameters", "epochs", "train_seconds", "images_per_second", "val_accuracy"} < set(
        metrics
    )
    assert {"test_accuracy", "test_accuracy_low", "test_accuracy_high", "confusion"} < set(metrics)
    numbers = {"network": "BikeCarCNN", "image_size": 32, "num_epochs": 3, "batch_size": 8, "lr": 2e-3, "seed": 0}
    assert metrics["chosen"] == numbers | {"augmented": False, "optimizer": "adamw"}
    assert json.loads(json.dumps(metrics)) == metrics
    recipe = Recipe(np.int64(3), lr=np.float32(0.5), new_optimizer=functools.partial(torch.optim.SGD, momentum=0.9))
    found = json.loads(json.dumps(recipe.described()))
    assert (found["num_epochs"], found["lr"]) == (3, 0.5) and "SGD" in found["optimizer"]


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


def test_curves_of_an_earlier_run_are_hidden_if_their_file_is_in_use(tmp_path, monkeypatch, capsys):
    """Windows does not delete a file that TensorBoard, or a kernel that still runs, has open."""
    first = board.open_board(tmp_path)
    for step in range(1, 6):
        first.add_scalar("loss/train", 7.0, step)
    first.flush()

    def in_use(path, **_):
        raise PermissionError(13, "in use by another process", str(path))

    with monkeypatch.context() as windows:
        windows.setattr(Path, "unlink", in_use)
        second = board.open_board(tmp_path)
    assert first.all_writers is None  # closed; after the cell ran again, nothing else could close it
    assert "is open in another program" in capsys.readouterr().out
    for step in (1, 2):
        second.add_scalar("loss/train", 3.0, step)
    second.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/train")] == [(1, 3.0), (2, 3.0)]
    board.open_board(tmp_path).close()
    assert len(list(tmp_path.glob("events*"))) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they like")
@pytest.mark.skipif(PAGES.exists() and "[always]" in PAGES.read_text(), reason="pages are too large to count")
@pytest.mark.parametrize("kept", [True, False])
def test_freed_memory_is_used_for_the_next_batch(kept):
    """The system counts the new pages of a process; 60 MB need 15,000 of them the first time."""
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
    # Setting glibc's initial threshold explicitly keeps it from being raised by the first memory that is freed.
    environment = os.environ | {"KEEP_FREED_MEMORY": str(int(kept)), "MALLOC_MMAP_THRESHOLD_": "131072"}
    notebooks = Path(__file__).parents[1] / "notebooks"
    found = subprocess.run([sys.executable, "-c", code], cwd=notebooks, env=environment, capture_output=True, text=True)
    assert (int(found.stdout) < 100) == kept, found.stderr


def test_a_part_without_one_of_the_classes_is_refused(workspace, own_zips, parts):
    train, val, _ = parts
    other = copy.copy(val)
    other.classes = ["Car"]
    model = BikeCarCNN(train.classes, train.image_size)
    with pytest.raises(Problem, match="Train and Val have different classes: Bike, Car and Car"):
        fit(model, train, other, Recipe(num_epochs=1), workspace / "model.pt")
    with pytest.raises(Problem, match="trained for Bike, Car, but the images are of Car"):
        evaluate(model, other)


def test_a_damaged_model_file_gives_a_message_wherever_the_damage_is(tmp_path):
    path = tmp_path / "model.pt"
    save_model(BikeCarCNN(image_size=32), path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for start in [*range(0, 60, 3), *random.integers(len(whole) - 4000, len(whole) - 8, 60)]:
        damaged = bytearray(whole)
        for place in range(start, start + 8):
            damaged[place] ^= 0xA5
        path.write_bytes(damaged)
        try:
            load_model(path)  # some bytes have no meaning
        except Problem as problem:
            assert "does not hold a model of this version" in str(problem)


@pytest.mark.parametrize(
    "odd",
    [{"classes": None}, {"classes": 3}, {"image_size": "32"}, {"image_size": 7}, {"architecture": ["BikeCarCNN"]}],
)
def test_a_model_file_with_odd_values_gives_a_message(tmp_path, odd):
    path = tmp_path / "model.pt"
    save_model(BikeCarCNN(image_size=32), path)
    torch.save(torch.load(path, weights_only=True) | odd, path)
    with pytest.raises(Problem, match="does not hold a model of this version"):
        load_model(path)
