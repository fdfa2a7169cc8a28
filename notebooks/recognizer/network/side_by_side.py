"""Train many networks at the same time, each in its own process, on all available cores or GPUs."""

import contextlib
import glob
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
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

MOST = 60  # processes at once: Windows cannot wait for more than 63


class Lesson(Protocol):
    """What networks learn. It is sent to other processes, so it says how to load the images and does not hold them."""

    name: str

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        """The images for training, those for validation, and those of no class, as `fit` takes them."""


class Job(NamedTuple):
    """One network to train: what it learns, how, and the file to save it to."""

    lesson: Lesson
    recipe: Recipe
    path: Path


def train_side_by_side(jobs: Sequence[Job]) -> None:
    """Train a BikeCarCNN for each of `jobs` and save it to its path once it is complete.

    On a CPU, every network uses one core, so that its weights do not depend on how many are trained at the same time.
    On NVIDIA GPUs, each GPU trains one network. Ctrl-C ends all processes and raises `KeyboardInterrupt`. Complete
    networks are kept, and a later call can train the others. If this process is killed, the others end after their
    current epoch. No other call may train the same jobs meanwhile.
    Raises `Problem` if a process ends early, and what `fit` raises.
    """
    if not jobs:
        return
    device = choose_device()
    at_once = {"cpu": cores(), "cuda": max(1, torch.cuda.device_count())}.get(device.type, 1)
    count = min(at_once, len(jobs), MOST)
    total = sum(job.recipe.num_epochs for job in jobs)
    with _no_leftovers(jobs), progress_bar(f"train {len(jobs)} networks", total, "epochs") as progress:
        if count == 1:
            for job in jobs:
                _train(job, lambda epoch: progress.update())
        else:
            _in_processes(jobs, count, device.type == "cuda", progress.update)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _no_leftovers(jobs: Sequence[Job]) -> Iterator[None]:
    """Remove unfinished files of killed processes: before the block those of earlier calls, after it our own."""

    def remove() -> None:
        for job, ending in itertools.product(jobs, ("best", "part")):  # those of `_train` and of `save_model`
            for file in job.path.parent.glob(f"{glob.escape(job.path.stem)}.*.{ending}"):
                # On Windows, a process whose notebook was killed may still write this file. It then removes it itself.
                with contextlib.suppress(PermissionError):
                    file.unlink(missing_ok=True)

    remove()
    try:
        yield
    finally:
        remove()


def _in_processes(jobs: Sequence[Job], count: int, on_gpus: bool, after_epoch: Callable[[], object]) -> None:
    # Forked processes would inherit the locks of PyTorch's threads and could wait for them forever.
    context = get_context("spawn")
    workers = {}  # receiving end of a pipe → its process
    try:
        for k in range(count):
            # One pipe per process: writing to it fails once this process is dead. A shared queue would not notice.
            receiver, sender = context.Pipe(duplex=False)
            arguments = jobs[k::count], sender, k if on_gpus else None
            workers[receiver] = context.Process(target=_work, args=arguments, daemon=True)
            with _out_of_reach_of_ctrl_c():
                workers[receiver].start()
            sender.close()  # the process has its own copy; the pipe closes when the process ends
        working = set(workers)
        while working:
            for receiver in wait(working, timeout=1):
                try:
                    message = receiver.recv()
                except EOFError:
                    working.remove(receiver)
                    workers[receiver].join()
                    continue
                if isinstance(message, Exception):
                    raise message
                after_epoch()
            if failed := [worker for worker in workers.values() if worker.exitcode]:
                raise Problem(
                    f"A training process ended early (code {failed[0].exitcode}), perhaps because memory ran out. "
                    "Complete networks are kept: run again."
                )
    finally:
        started = [worker for worker in workers.values() if worker.pid]
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.join()
        for receiver in workers:
            receiver.close()


@contextlib.contextmanager
def _out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C, which reaches all processes of a terminal or notebook, from those that are started in this block.

    Each of them would print a traceback, and this process ends them anyway. Blocking the signal, unlike ignoring it,
    works in any thread, and no Ctrl-C is lost. Windows cannot block signals, so there only `_work` ignores it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # otherwise the first process starts it, which unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(jobs: Sequence[Job], messages: Connection, gpu: int | None) -> None:
    """What one process does: train one network after another. It sends True after each epoch, and any error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def send(message: bool | Problem) -> None:
        try:
            messages.send(message)
        except OSError:
            sys.exit()  # the process that started this one is dead

    if gpu is not None:
        os.environ["DEVICE"] = f"cuda:{gpu}"
    try:
        for job in jobs:
            _train(job, lambda epoch: send(True))
    except Exception as error:
        send(error if isinstance(error, Problem) else Problem(f"Training {job.path.stem} failed: {error!r}"))


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
