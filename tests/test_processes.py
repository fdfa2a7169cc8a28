"""Training in several processes: the same result as in one, also after one was killed, and only one of them writes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recognizer import LayerByLayerCNN, settings
from recognizer.data import read_record
from recognizer.data.augmentation import augment
from recognizer.data.batches import batches
from recognizer.data.dataset import PixelSet
from recognizer.network import processes, train_command, trained
from recognizer.network.evaluation import evaluate
from recognizer.network.history import History
from recognizer.network.models import load_model, new_model
from recognizer.network.recipe import Recipe
from recognizer.network.runs import finished_by_make_train, finished_epochs, plan_of
from recognizer.network.training import fit
from recognizer.network.unfinished import Unfinished
from recognizer.settings import Problem

from .conftest import picture, write_zip

PROJECT = Path(__file__).resolve().parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
COMMAND = "recognizer.network.train_command"
EPOCHS, STEPS = 5, 7  # of the runs below: 28 images in batches of 4

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="on Windows nobody has tried training in several processes"),
    pytest.mark.skipif(
        not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch comes without gloo"
    ),
]


# --- The parts of a batch ---


def some_images(count: int, size: int, seed: int = 0) -> PixelSet:
    """Noise, uint8 count×3×size×size, brighter in the second class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 200, (count, 3, size, size), generator=generator)
    return PixelSet((noise + 50 * labels.view(-1, 1, 1, 1)).byte(), labels, ["Bike", "Car"], 46)


def test_the_shares_of_all_processes_make_up_each_batch():
    whole = list(batches(some_images(22, 8), 6, shuffle=torch.Generator().manual_seed(1)))
    shares = [slice(rank, None, 3) for rank in range(3)]
    parts = [
        list(batches(some_images(22, 8), 6, shuffle=torch.Generator().manual_seed(1), share=share)) for share in shares
    ]
    assert len(whole) == 3 and {len(images) for part in parts for images, _ in part} == {2}
    for number, (images, labels) in enumerate(whole):
        for part, share in zip(parts, shares):
            assert torch.equal(part[number][0], images[share]) and torch.equal(part[number][1], labels[share])


def test_a_share_is_augmented_as_it_is_in_the_whole_batch():
    images = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = augment(images.clone(), torch.Generator().manual_seed(3))
    for share in (slice(0, None, 2), slice(1, None, 2)):
        part = augment(images[share], torch.Generator().manual_seed(3), batch_size=7, share=share)
        torch.testing.assert_close(part, whole[share], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("batch_size", "advice"), [(9, "BATCH_SIZE=10"), (3, "BATCH_SIZE=4")])
def test_a_batch_that_cannot_be_shared_equally_is_a_problem(batch_size, advice):
    processes.check_shares(8, 2)
    with pytest.raises(Problem, match=f"2 processes cannot take equal parts of a batch of {batch_size} .*{advice}"):
        processes.check_shares(batch_size, 2)


def test_one_process_trains_on_any_device_and_several_do_not(monkeypatch):
    monkeypatch.setattr(processes, "choose_device", lambda: torch.device("mps"))
    processes.check_device(1)
    with pytest.raises(Problem, match="not on mps; use DEVICE=cpu"):
        processes.check_device(2)


# --- The same result as in one process ---


def sgd(parameters, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


CASES = {  # about 20 steps each, the images of no class included where there are some
    "as they are": (Recipe(2, 10, lr=0.05, augmented=False, new_optimizer=sgd), False),
    "augmented": (Recipe(2, 10, lr=0.05, new_optimizer=sgd), False),
    "with some of no class": (Recipe(2, 10, lr=0.05, new_optimizer=sgd), True),
    "with 3 of no class per batch": (Recipe(3, 16, lr=0.05, new_optimizer=sgd), True),
}


def fitted(name: str, folder: Path, after_epoch=()) -> tuple[torch.nn.Module, list[float]]:
    """A network without batch norm after training, and its losses and accuracies on Train and Val."""
    recipe, with_neither = CASES[name]
    torch.manual_seed(0)
    model = LayerByLayerCNN(["Bike", "Car"], 46)
    train, val = some_images(100, 58), some_images(13, 46, seed=1)
    neither = some_images(6, 58, seed=2).pixels if with_neither else None
    history = fit(model, train, val, recipe, folder / f"{name}.pt", after_epoch, neither)
    results = [(e.train_loss, e.val_loss, e.train_accuracy, e.val_accuracy) for e in history.epochs]
    results.append((evaluate(model, some_images(21, 46, seed=3)).accuracy, history.interrupted))
    return model, results


def in_one_of_two(rank: int, port: int, folder: Path) -> None:
    """What each of two processes does; the first one leaves what it found in `folder`."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(rank)  # torchrun counts differently on each machine
    torch.set_num_threads(1)
    with processes.joined():
        own = folder / str(rank)
        own.mkdir()
        for name in CASES:
            model, results = fitted(name, own)
            torch.save((model.state_dict(), results), own / f"{name}.result")

        def ctrl_c(epoch) -> None:
            if processes.rank() == 1:
                os.kill(os.getpid(), signal.SIGINT)

        results = fitted("as they are", own, [ctrl_c])[1]
        (own / "interrupted.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def of_two(tmp_path_factory) -> Path:
    """The folder with what two processes found."""
    folder = tmp_path_factory.mktemp("two")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BFLOAT16", "0")
        torch.multiprocessing.spawn(in_one_of_two, (port, folder), nprocs=2)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_halves_of_a_batch_teach_what_the_whole_batch_does(name, of_two, tmp_path, monkeypatch):
    monkeypatch.setenv("BFLOAT16", "0")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model, expected = fitted(name, tmp_path)
    finally:
        torch.set_num_threads(threads)
    (weights, results), (others, _) = (torch.load(of_two / str(rank) / f"{name}.result") for rank in (0, 1))
    torch.manual_seed(0)
    start = LayerByLayerCNN(["Bike", "Car"], 46).state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(weights[key], others[key])  # both processes have the same network
        moved = (value - start[key]).abs().max()
        assert moved > 1e-4
        assert (weights[key] - value).abs().max() < 1e-4 * moved, key  # float32 has 7 digits; measured: at most 2e-5
    assert [value for epoch in results for value in epoch] == pytest.approx(
        [value for epoch in expected for value in epoch], abs=1e-5
    )


def test_ctrl_c_in_one_process_ends_all_at_the_same_step(of_two):
    for rank in range(2):
        *epochs, (accuracy, interrupted) = json.loads((of_two / str(rank) / "interrupted.json").read_text())
        assert len(epochs) == 1 and interrupted


def test_only_the_first_process_saves(of_two):
    assert len(list((of_two / "0").glob("*.pt"))) == len(CASES)
    assert not list((of_two / "1").glob("*.pt"))


# --- make train ---


def environment(folder: Path, **parameters: str | int) -> dict[str, str]:
    """For a small training run with the images in `folder`."""
    own = {"DATASET": folder / "own", "RECOGNIZER_WORKSPACE": folder / "workspace", "IMAGE_SIZE": 32}
    own |= {"BATCH_SIZE": 4, "EPOCHS": EPOCHS, "OMP_NUM_THREADS": 1, "DEVICE": "cpu"}
    paths = os.pathsep.join([str(PROJECT / "notebooks"), str(PROJECT)])
    return os.environ | {"PYTHONPATH": paths} | {name: str(value) for name, value in (own | parameters).items()}


def start(command: list[str], folder: Path, **parameters: str | int) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, env=environment(folder, **parameters), capture_output=True, text=True, encoding="utf-8", timeout=300
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(("Bike", "Car")):
        members = {f"{name}/{i}.png": picture(100 * number + i, (32, 32), bright=bool(number)) for i in range(20)}
        write_zip(folder / "own" / f"{name}.zip", members)
    return folder


@pytest.fixture(scope="module")
def run(pictures) -> Path:
    """The folder of a run of `make train` in two processes."""
    done = start([sys.executable, "-m", COMMAND], pictures, PROCESSES=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Test accuracy") == 1
    (run,) = (pictures / "workspace" / "logs").iterdir()
    return run


@pytest.fixture
def in_its_workspace(run, pictures, monkeypatch):
    """This process works where `run` is, with the same parameters."""
    for name, value in environment(pictures).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(settings, "WORKSPACE", pictures / "workspace")
    monkeypatch.setattr(settings, "DATASETS", pictures / "workspace" / "datasets")
    monkeypatch.setattr(settings, "LOGS", pictures / "workspace" / "logs")


def scalars(run: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    return [(event.step, event.value) for event in events.Scalars("loss/val")]


def test_one_process_writes_all_files_of_a_run(run):
    names = {path.name.split(".tfevents")[0] for path in run.iterdir()}
    assert names == {"epochs", "events.out", "history.json", "hparams", "metrics.json", "model.pt"}
    assert len(list(run.glob("events.*"))) == 1
    assert [step for step, _ in scalars(run)] == list(range(1, EPOCHS + 1))
    assert [path.name for path in sorted((run / "epochs").iterdir())] == [f"epoch_00{n}.pt" for n in (1, 2, 4)]
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    assert metrics["processes"] == 2 and metrics["epochs"] == EPOCHS


def test_notebook_02_finds_the_run(run, in_its_workspace, capsys):
    record = read_record()
    plan = plan_of(record, "BikeCarCNN")
    assert plan.run == run and trained(record) == run / "model.pt"
    model = new_model("BikeCarCNN", plan.train.classes, 32)
    history = finished_by_make_train(run, model)
    assert "make train has finished this run" in capsys.readouterr().out
    assert finished_epochs(run) == len(history.epochs) == EPOCHS and not history.interrupted
    kept = load_model(run / "model.pt")
    assert all(torch.equal(mine, its) for mine, its in zip(model.parameters(), kept.parameters()))
    assert history.seconds > 0 and history.best.val_accuracy <= 1
    assert finished_by_make_train(run.parent / "another run", model) is None


def test_a_killed_process_does_not_change_the_result(run, pictures):
    parameters = {"RECOGNIZER_WORKSPACE": pictures / "killed"}
    command = [*TORCHRUN, "--nproc-per-node=2", "--max-restarts=1", "-m", "tests.dying_process"]
    done = start(command, pictures, **parameters)
    assert done.returncode == 0, done.stderr
    assert "This run goes on after epoch 2 of 5." in done.stdout  # it died in step 17, with 7 steps per epoch
    killed = pictures / "killed" / "logs" / run.name
    expected, found = load_model(run / "model.pt").state_dict(), load_model(killed / "model.pt").state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert scalars(killed) == scalars(run)
    confusions = [json.loads((folder / "metrics.json").read_text("utf-8"))["confusion"] for folder in (run, killed)]
    assert confusions[0] == confusions[1]
    assert not list(killed.glob("*.part")) and not (killed / "unfinished.pt").exists()


def test_ctrl_c_keeps_the_best_epoch_and_one_process_suffices(pictures):
    many = environment(pictures, EPOCHS=3000, PROCESSES=1)
    command = subprocess.Popen(
        [sys.executable, "-m", COMMAND], env=many, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    logs = pictures / "workspace" / "logs"
    while not list(logs.glob("*3000epochs*/epochs/epoch_002.pt")):
        assert command.poll() is None, command.communicate()[0]
        time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    said = command.communicate(timeout=60)[0]
    assert command.returncode == 0, said
    (run,) = logs.glob("*3000epochs*")
    assert ", interrupted" in said and "Traceback" not in said
    assert json.loads((run / "metrics.json").read_text("utf-8"))["interrupted"]
    assert 2 <= finished_epochs(run) < 3000


def test_a_run_that_began_on_a_gpu_goes_on_without_it(tmp_path):
    """There, the state of the random numbers has 16 bytes."""
    pictures, file = some_images(8, 46), tmp_path / "unfinished.pt"

    def after(num_epochs: int) -> History:
        torch.manual_seed(0)
        model = LayerByLayerCNN(["Bike", "Car"], 46)
        recipe = Recipe(num_epochs, 4)
        return fit(model, pictures, pictures, recipe, tmp_path / "model.pt", unfinished=Unfinished(file))

    after(1)
    torch.save(torch.load(file) | {"dropout": [torch.zeros(16, dtype=torch.uint8)]}, file)
    assert [epoch.number for epoch in after(2).epochs] == [1, 2]


def test_wrong_parameters_end_the_command_with_one_sentence(in_its_workspace, monkeypatch):
    monkeypatch.setenv("PROCESSES", "2")
    monkeypatch.setenv("BATCH_SIZE", "5")
    with pytest.raises(SystemExit, match="^2 processes cannot take equal parts of a batch of 5 images. .*$"):
        train_command.main()
