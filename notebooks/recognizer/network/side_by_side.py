"""Many networks trained at the same time, one process each, on as many cores or GPUs as there are."""

import contextlib
import os
import queue
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..data.dataset import PixelSet
from ..progress import progress_bar
from ..settings import Problem
from .hardware import choose_device
from .models import BikeCarCNN, save_model
from .recipe import Recipe
from .training import fit


class Lesson(Protocol):
    """What networks are to learn. It is sent to other processes, so it holds the way to the images, not the images."""

    name: str

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        """The images to learn from, those to validate on, and those of no class, as `fit` takes them."""


class Job(NamedTuple):
    """One network to train: what it learns, how, and the file that it is kept in."""

    lesson: Lesson
    recipe: Recipe
    path: Path


def train_side_by_side(jobs: Sequence[Job]) -> None:
    """Train a BikeCarCNN for each of `jobs` and save it to its path, once it is complete.

    On a processor every network has one core, so that its weights do not depend on how many are trained at the same
    time. On NVIDIA GPUs, each GPU trains one. Ctrl-C ends all of them: those that are complete stay, and a later call
    with the others goes on. Raises `Problem` when a process ends early, and what `fit` raises.
    """
    if not jobs:
        return
    device = choose_device()
    at_once = {"cpu": _cores(), "cuda": max(1, torch.cuda.device_count())}.get(device.type, 1)
    total = sum(job.recipe.num_epochs for job in jobs)
    with progress_bar(f"train {len(jobs)} networks", total, "epochs") as progress:
        if min(at_once, len(jobs)) == 1:
            for job in jobs:
                _train(job, lambda epoch: progress.update())
        else:
            _in_processes(jobs, min(at_once, len(jobs)), device.type == "cuda", progress.update)


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(jobs: Sequence[Job], count: int, on_gpus: bool, progress) -> None:
    # Forked processes would inherit the locks of PyTorch's threads and could wait for them for ever.
    context = get_context("spawn")
    messages = context.Queue()
    workers = [
        context.Process(target=_work, args=(jobs[k::count], messages, k if on_gpus else None), daemon=True)
        for k in range(count)
    ]
    try:
        for worker in workers:
            worker.start()
        working = count
        while working:
            try:
                message = messages.get(timeout=1)
            except queue.Empty:
                if died := [worker for worker in workers if worker.exitcode]:
                    raise Problem(
                        f"A process that trained networks ended early (code {died[0].exitcode}); perhaps memory ran "
                        "out. The complete ones are kept: run again."
                    ) from None
                continue
            if isinstance(message, Exception):
                raise message
            working -= message == "done"
            progress(message == "epoch")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(jobs: Sequence[Job], messages, gpu: int | None) -> None:
    """What one process does: a network after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    if gpu is not None:
        os.environ["DEVICE"] = f"cuda:{gpu}"
    try:
        for job in jobs:
            _train(job, lambda epoch: messages.put("epoch"))
        messages.put("done")
    except Exception as error:
        messages.put(error if isinstance(error, Problem) else Problem(f"Training {job.path.stem} failed: {error!r}"))


def _train(job: Job, after_epoch) -> None:
    with _one_thread(), open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        train, val, neither = job.lesson.load()
        torch.manual_seed(job.recipe.seed)
        model = BikeCarCNN(train.classes, train.image_size).to(choose_device())
        best = job.path.with_suffix(f".{os.getpid()}.best")
        try:
            history = fit(model, train, val, job.recipe, best, after_epoch=[after_epoch], neither=neither)
            if history.interrupted:
                raise KeyboardInterrupt
            save_model(model, job.path)
        finally:
            best.unlink(missing_ok=True)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
