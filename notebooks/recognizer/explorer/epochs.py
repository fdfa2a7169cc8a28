"""The networks of saved epochs in the page: as many of them, and as precise, as fit."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from ..network.models import load_model
from ..settings import Problem
from .packing import Packed
from .program import Program

# How epochs are stored, best first: the format of their weights, and whether linear layers are included.
FORMATS = (("float16", True), ("int8", True), ("int8", False))


def saved_networks(model: nn.Module, epochs: Path | str | Sequence[Path] | None) -> dict[str, nn.Module]:
    """The networks in a folder or in a list of files: label → network.

    Files that cannot be read are left out with a message, and networks whose weights differ in shape without one.
    """
    if epochs is None:
        return {}
    files = sorted(Path(epochs).glob("epoch_*.pt")) if isinstance(epochs, str | os.PathLike) else map(Path, epochs)
    shapes = {name: weight.shape for name, weight in model.state_dict().items()}
    networks = {}
    for file in files:
        try:
            network = load_model(file)
        except Problem as problem:
            print(problem)
            continue
        if {name: weight.shape for name, weight in network.state_dict().items()} == shapes:
            digits = file.stem.rpartition("_")[2]
            networks[f"epoch {int(digits)}" if digits.isdecimal() else file.stem] = network
    return networks


def page_with_epochs(
    page_of: Callable[[Packed, list[dict]], str],
    packed: Packed,
    trained: Program,
    trained_numbers: list[dict[str, int]],
    saved: Mapping[str, tuple[Program, list[list[float]]]],
    room: int,
) -> str:
    """The page with all saved epochs in the best format in which they fit, else with as many as fit in the smallest.

    `page_of(packed, entries)` writes the page, which should have at most `room` bytes. `packed` holds the tensors of
    the `trained` network, with one dictionary of their numbers per step. `saved` maps a label to the program of an
    epoch and its probabilities for the pictures.
    """
    page = page_of(packed, [])
    for array_format, with_linear in FORMATS:
        with_epochs, entries = packed.copy(), []
        for label, (program, probabilities) in saved.items():
            numbers = _pack(with_epochs, program, trained, trained_numbers, array_format, with_linear)
            is_trained = numbers == [number for of_step in trained_numbers for number in of_step.values()]
            rounded = array_format == "int8" and not is_trained
            entry = {"label": label, "tensors": numbers, "probabilities": probabilities, "rounded": rounded}
            trial = page_of(with_epochs, [*entries, entry])
            if len(trial.encode()) > room:
                break
            entries.append(entry)
            # A page with only some of the epochs is used only in the smallest format.
            if len(entries) == len(saved) or (array_format, with_linear) == FORMATS[-1]:
                page = trial
        if len(entries) == len(saved):
            return page
    left_out = ", ".join(list(saved)[len(entries) :])
    print(f"The slider of the explorer leaves out {left_out}: the page would have more than {room / 1e6:g} MB.")
    return page


def _pack(
    packed: Packed,
    program: Program,
    trained: Program,
    trained_numbers: list[dict[str, int]],
    array_format: str,
    with_linear: bool,
) -> list[int | None]:
    """Pack the tensors of an epoch, and return their numbers in the order of the steps. None means left out."""
    packed_numbers: list[int | None] = []
    for step, trained_step, numbers in zip(program.steps, trained.steps, trained_numbers):
        for name, tensor in step.tensors.items():
            if torch.equal(tensor, trained_step.tensors[name]):  # the last saved epoch is often the trained network
                packed_numbers.append(numbers[name])
            elif not with_linear and step.kind == "linear":
                packed_numbers.append(None)
            elif tensor.ndim == 1:
                packed_numbers.append(packed.add(tensor, "float32"))
            else:
                like = numbers[name] if array_format == "int8" else None
                packed_numbers.append(packed.add(tensor, array_format, like))
    return packed_numbers
