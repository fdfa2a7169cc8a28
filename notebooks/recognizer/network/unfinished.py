"""`Unfinished`: the state of a training run after its last complete epoch, from which a killed run goes on."""

import pickle
from pathlib import Path

import torch
from torch import nn

from ..settings import Problem, shown
from . import processes
from .hardware import device_of
from .history import Epoch


class Unfinished:
    """The file `path` with all that the next epoch depends on; without a path, nothing is kept.

    `epochs` are the results of the epochs that are done, as `Epoch.results` gives them.
    Raises `Problem` if the file cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._state = processes.from_first(self._read)
        self.epochs: list[dict] = self._state["epochs"] if self._state else []

    def restore(
        self, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        """Give all of these the state that they had after the last of `epochs`; at the start of a run, change nothing.

        Dropout goes on with the same random numbers, too, if there are as many processes as before, on such devices.
        """
        if not self._state:
            return
        for part, name in ((model, "model"), (average, "average"), (optimizer, "optimizer")):
            part.load_state_dict(self._state[name])
        generator.set_state(self._state["generator"])
        randomness, states = _randomness_of(model), self._state["dropout"]
        is_as_before = len(states) == processes.count()
        if is_as_before and states[processes.rank()].shape == randomness.get_rng_state().shape:
            randomness.set_rng_state(states[processes.rank()])

    def save(
        self,
        epoch: Epoch,
        model: nn.Module,
        average: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        """Add `epoch` to those that are done, and replace the file in one step.

        Process 0 writes it, but all processes must call this.
        """
        self.epochs.append(epoch.results())
        if not self.path:
            return
        dropout = processes.from_all(_randomness_of(model).get_rng_state())
        if not processes.is_first():
            return
        parts = {"model": model, "average": average, "optimizer": optimizer}
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"epochs": self.epochs, "generator": generator.get_state(), "dropout": dropout}
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.path)

    def remove(self) -> None:
        """Remove the file: the run is finished."""
        if self.path and processes.is_first():
            self.path.unlink(missing_ok=True)

    def _read(self) -> dict | None:
        if not self.path or not self.path.exists():
            return None
        try:
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise Problem(f"{shown(self.path)} cannot be read. Delete it to train from the start.") from error


def _randomness_of(model: nn.Module):
    """Where dropout gets its random numbers."""
    return torch.cuda if device_of(model).type == "cuda" else torch
