"""Functions that write curves, pictures and histograms for TensorBoard."""

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from ..settings import shown
from .evaluation import Evaluation
from .history import Epoch

_open_boards: dict[Path, SummaryWriter] = {}  # the writers of this process, by folder


def open_board(run: Path, epochs_done: int = 0) -> SummaryWriter:
    """A writer for the folder `run`. Curves of an earlier run are deleted; otherwise both would be drawn together.

    If this process still has a writer for the same folder, it is closed. Windows does not delete a file that another
    program has open; TensorBoard is then told to hide its content.
    If `epochs_done` epochs of this run are done, their curves stay.
    """
    if not shutil.which("tensorboard"):
        # %tensorboard starts the program of this name. A kernel that was started by its full path does not find it.
        os.environ.setdefault("TENSORBOARD_BINARY", str(Path(sys.executable).with_name("tensorboard")))
    if earlier := _open_boards.pop(run.resolve(), None):
        earlier.close()
    for old in run.glob("events.out.tfevents.*") if not epochs_done else ():
        try:
            old.unlink()
        except PermissionError:
            print(f"{shown(old)} is open in another program; it stays, and TensorBoard hides the curves in it.")
    shutil.rmtree(run / "hparams", ignore_errors=True)
    # Hides later steps that are in older files.
    board = SummaryWriter(run, purge_step=epochs_done + 1 if epochs_done else 0)
    _open_boards[run.resolve()] = board
    return board


def log_batch(board: SummaryWriter, name: str, images: Tensor) -> None:
    """Write a batch as the network sees it: float32 B×3×S×S in [0, 1]."""
    board.add_image(name, make_grid(images, nrow=8))


def log_graph(board: SummaryWriter, model: nn.Module) -> None:
    """Write the graph of `model`, traced in eval mode. Call this before setting hooks, because tracing calls them."""
    was_training = model.training
    example = torch.zeros(1, 3, model.image_size, model.image_size, device=next(model.parameters()).device)
    with warnings.catch_warnings():
        # SummaryWriter traces with torch.jit, which is deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        board.add_graph(model.eval(), example)
    model.train(was_training)


def log_scalars(board: SummaryWriter) -> Callable[[Epoch], None]:
    """A function that, after each epoch, writes loss and accuracy for train and val, learning rate and speed."""

    def log(epoch: Epoch) -> None:
        for name, value in {
            "loss/train": epoch.train_loss,
            "loss/val": epoch.val_loss,
            "accuracy/train": epoch.train_accuracy,
            "accuracy/val": epoch.val_accuracy,
            "training/learning rate": epoch.lr,
            "training/images per second": epoch.images_per_second,
        }.items():
            board.add_scalar(name, value, epoch.number)

    return log


def log_weights(board: SummaryWriter) -> Callable[[Epoch], None]:
    """A function that, after each epoch, writes a histogram of the weights of every convolution and linear layer."""

    def log(epoch: Epoch) -> None:
        for name, layer in epoch.model.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                board.add_histogram(f"weights/{name}", layer.weight.detach().float(), epoch.number)

    return log


def log_evaluation(board: SummaryWriter, evaluation: Evaluation, confusion_figure, epoch: int) -> None:
    """At the end, write the confusion matrix as a picture and a precision-recall curve for every class."""
    board.add_figure("test/confusion matrix", confusion_figure, epoch, close=False)
    for index, name in enumerate(evaluation.classes):
        board.add_pr_curve(f"test/{name}", evaluation.labels == index, evaluation.probabilities[:, index], epoch)


def log_hparams(board: SummaryWriter, parameters: dict, metrics: dict[str, float]) -> None:
    """Write hyperparameters and the resulting metrics. Call this last: it creates a separate run inside this one."""
    board.add_hparams(parameters, metrics, run_name="hparams")
