"""`make train`: what notebooks 01 and 02 do up to the saved results, in any number of processes.

    PROCESSES=2 python -m recognizer.network.train_command

This starts torchrun, which starts the processes. torchrun can also be called directly, for example on several machines:

    python -m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 3 -m recognizer.network.train_command

The parameters are those of notebooks 01 and 02, as environment variables. If a process dies, torchrun starts all of
them again, and they go on after the last complete epoch.
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist

from .. import figures
from ..data import prepared
from ..data.augmentation import augment
from ..data.batches import batches
from ..data.dataset import Pictures
from ..data.neither import scenes_to_learn_from
from ..data.parts import load_part
from ..settings import Problem, parameter, shown
from . import board, processes
from .evaluation import Evaluation, evaluate, metrics_of, save_metrics
from .history import Epoch, History, save_history
from .runs import HISTORY, Plan, finished_epochs, plan_of, starting_network
from .side_by_side import cores
from .training import fit, save_epochs
from .unfinished import Unfinished

RESTARTS = 3
# Those of notebooks 01 and 02, which decide the folder of the run.
PARAMETERS = ("DATASET", "SAMPLE_IMAGES", "VAL_SHARE", "TEST_SHARE", "SEED", "NETWORK", "PRETRAINED", "IMAGE_SIZE")
PARAMETERS += ("EPOCHS", "BATCH_SIZE", "LR")


def main() -> None:
    """Train in this process if torchrun started it. Otherwise let torchrun start PROCESSES processes that do so."""
    try:
        if dist.is_torchelastic_launched():
            train()
        else:
            launch(parameter("PROCESSES", 1, at_least=1, at_most=4096))
    except Problem as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)  # as a program that Ctrl-C ended


def launch(num_processes: int) -> None:
    """Prepare the images, check the parameters, and train in so many processes on this machine.

    Raises `Problem` if the parameters do not fit, or if the processes have died too often.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    plan, _ = the_plan()
    os.environ.pop("VERIFY", None)  # the images are verified now, so that not each process reads all of them again
    processes.check_shares(min(plan.recipe.batch_size, len(plan.train)), num_processes)
    processes.check_device(num_processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // num_processes)))
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # waiting threads then leave the processor to other programs
    arguments = ["--standalone", f"--nproc-per-node={num_processes}", f"--max-restarts={RESTARTS}"]
    try:
        torchrun.run(torchrun.parse_args([*arguments, "-m", __spec__.name]))
    except SignalException as error:
        if not finished_epochs(plan.run):
            raise KeyboardInterrupt from error
    except ChildFailedError as error:
        raise Problem(
            "Training failed, see above. Complete epochs are kept: `make train` with the same parameters goes on."
        ) from error
    chosen = " ".join(f"{name}={shlex.quote(os.environ[name])}" for name in PARAMETERS if name in os.environ)
    print(f"The network is in {shown(plan.run)}/model.pt.")
    print(f"To go on with it in notebook 02: make run NOTEBOOK=02 {chosen}".strip())


def the_plan() -> tuple[Plan, Pictures]:
    """What notebook 02 does with the images, and the test images."""
    record = prepared(or_shards=True)
    plan = plan_of(record, parameter("NETWORK", "BikeCarCNN"))
    return plan, load_part(record, "Test", plan.train.image_size)


def train() -> None:
    """What each process does. Only the first one prints and writes."""
    with processes.joined(), _quiet_unless(processes.is_first()):
        plan, test = processes.in_turns(the_plan)
        model = processes.in_turns(lambda: starting_network(plan))
        unfinished = Unfinished(plan.run / "unfinished.pt")
        writer, after_epoch = _writing(plan, model, unfinished) if processes.is_first() else (None, [])
        neither = scenes_to_learn_from(plan.record, plan.train)
        checkpoint = plan.run / "model.pt"
        history = fit(model, plan.train, plan.val, plan.recipe, checkpoint, after_epoch, neither, unfinished)
        if processes.is_first():
            save_history(plan.run / HISTORY, history)
        evaluation = evaluate(model, test)
        if processes.is_first():
            _write_results(writer, plan, model, history, evaluation)
        unfinished.remove()


def _writing(plan: Plan, model: torch.nn.Module, unfinished: Unfinished) -> tuple:
    """The board of the run, and what is written after each epoch."""
    done = len(unfinished.epochs)
    if done:
        print(f"This run goes on after epoch {done} of {plan.recipe.num_epochs}.")
    (plan.run / HISTORY).unlink(missing_ok=True)  # this is an earlier run's
    writer = board.open_board(plan.run, done)
    if not done:
        seed, size = plan.recipe.seed, plan.train.image_size
        images, _ = next(batches(plan.train, plan.recipe.batch_size, shuffle=torch.Generator().manual_seed(seed)))
        board.log_batch(writer, "batch/augmented", augment(images, torch.Generator().manual_seed(seed), size))
        board.log_graph(writer, model)
    print(f"processes: {processes.count()}, logging to {shown(plan.run)}")
    after_epoch: list[Callable[[Epoch], None]] = [board.log_scalars(writer), board.log_weights(writer)]
    return writer, [*after_epoch, save_epochs(plan.run / "epochs")]


def _write_results(writer, plan: Plan, model, history: History, evaluation: Evaluation) -> None:
    low, high = evaluation.interval()
    print(f"epochs: {len(history.epochs)}{', interrupted' if history.interrupted else ''}")
    print(f"Test accuracy on {len(evaluation.labels)} images: {evaluation.accuracy:.1%} ({low:.1%} to {high:.1%})")
    metrics = metrics_of(
        evaluation, history, model, plan.recipe, dataset=plan.record.dataset, train_seconds=history.seconds
    ) | {"processes": processes.count()}
    save_metrics(plan.run / "metrics.json", metrics)
    title = f"{len(evaluation.labels)} test images"
    confusion = figures.confusion_figure(evaluation.confusion, evaluation.classes, title)
    board.log_evaluation(writer, evaluation, confusion, history.best.number)
    plt.close(confusion)
    outcome = {"test/accuracy": evaluation.accuracy, "val/accuracy": history.best.val_accuracy}
    board.log_hparams(writer, metrics["chosen"], outcome)
    writer.close()


@contextlib.contextmanager
def _quiet_unless(is_first: bool):
    if is_first:
        yield
        return
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        yield


if __name__ == "__main__":
    main()
