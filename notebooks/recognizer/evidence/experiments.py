"""Experiments: draw scenes again with one thing changed, and measure networks on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..data.neither import TO_ASK
from ..drawings import CLASSES, draw, without
from ..inputs import as_pixels
from ..network.hardware import autocast, device_of
from ..progress import progress_bar
from ..settings import Problem
from .ablation import log_odds_of
from .responses import spatial_means

BATCH = 32  # drawings in memory at the same time
MASK_SIZE = (64, 64)
# The first numbers of two sets of drawings that no network has seen: one to choose filters on, one to report on.
TO_CHOOSE, TO_REPORT = TO_ASK, TO_ASK + 500_000
Changes = Mapping[str, Any]  # arguments of `draw`: edit=without("wheel"), control=True, …
Measure = Callable[[nn.Module, Tensor, Tensor], np.ndarray]  # network, pixels, labels → n×…


class Scenes(NamedTuple):
    """Pictures of N scenes: `pixels` uint8 N×3×S×S, `labels` int64 N, `masks` uint8 N×64×64, and `matched` bool N.

    A mask says which part each square shows. `matched` is False if a control could not remove as many pixels as the
    edit.
    """

    pixels: Tensor
    labels: Tensor
    masks: Tensor
    matched: Tensor


def redraw(
    classes: Sequence[str], per_class: int, image_size: int, changes: Changes | None = None, first: int = TO_CHOOSE
) -> Scenes:
    """`per_class` drawings of each class, with `changes` as arguments for `draw`.

    The scenes do not depend on the changes. Raises `Problem` for classes that the project cannot draw.
    """
    labels = {name: label for label, name in enumerate(classes)}
    batches = [batch["scenes"] for batch in _batches(labels, per_class, image_size, {"scenes": changes or {}}, first)]
    return Scenes(*(torch.cat(parts) for parts in zip(*batches)))


def ask(
    networks: Sequence[nn.Module],
    questions: Mapping[str, Changes],
    measure: Measure,
    per_class: int,
    first: int = TO_REPORT,
    classes: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Measure each network on the same scenes, once for each of `questions`: name → float networks×N×….

    A question holds the changes for `draw`; `light`, `scene` and `yaw` may be functions of a drawing's number.
    `measure` takes a network, pixels and labels. The N scenes are sorted by class, `per_class` for each of `classes`
    (default: all classes of the networks). Values are NaN where a control could not remove enough pixels. Pictures are
    drawn in batches, and all networks are measured on a batch before the next one is drawn, so the memory does not grow
    with the number of pictures.
    """
    image_size = networks[0].image_size
    labels = {name: networks[0].classes.index(name) for name in classes or networks[0].classes}
    answers: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in networks] for name in questions}
    with progress_bar("draw and measure", len(labels) * per_class, "scenes") as progress:
        for batch in _batches(labels, per_class, image_size, questions, first):
            for name, scenes in batch.items():
                for network, batches in zip(networks, answers[name]):
                    values = np.asarray(measure(network, scenes.pixels, scenes.labels), np.float32)
                    values[~scenes.matched.numpy()] = np.nan
                    batches.append(values)
            progress.update(len(scenes.labels))
    return {
        name: np.stack([np.concatenate(batches) for batches in of_networks]) for name, of_networks in answers.items()
    }


def falls_without(
    model: nn.Module, class_name: str, parts: Sequence[str], per_class: int, first: int = TO_REPORT
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """How far the log-odds of a class fall without each part, and in its control: part → two arrays, float n.

    n counts those of the `per_class` scenes in which the control could remove as many pixels as the edit.
    """
    questions = {"whole": {}}
    for part in parts:
        gone = {"edit": without(part)}
        questions |= {f"no {part}": gone, f"as much as the {part}": gone | {"control": True}}
    answers = ask([model], questions, log_odds, per_class, first, [class_name])
    odds = {name: of_networks[0] for name, of_networks in answers.items()}
    falls = {}
    for part in parts:
        gone, control = (odds["whole"] - odds[name] for name in (f"no {part}", f"as much as the {part}"))
        matched = ~np.isnan(control)
        falls[part] = gone[matched], control[matched]
    return falls


def versions(
    classes: Sequence[str],
    image_size: int,
    questions: Mapping[str, Changes],
    per_class: int = 1,
    first: int = TO_CHOOSE,
) -> tuple[list[np.ndarray], list[str]]:
    """The same scenes once for each of `questions`, for `figures.captioned_sheet`: images, uint8 S×S×3, and captions.

    The scenes of a question are adjacent: `per_class` of the first class, then of the next.
    """
    images, captions = [], []
    for name, changes in questions.items():
        pixels = redraw(classes, per_class, image_size, changes, first).pixels
        images += list(pixels.permute(0, 2, 3, 1).numpy())
        captions += [name] * len(pixels)
    return images, captions


def log_odds(model: nn.Module, pixels: Tensor, labels: Tensor) -> np.ndarray:
    """How confident `model` is in the true class of each of n pictures: the log-odds in nats, float n.

    They are log(p / (1 − p)) for the probability p of the true class. 0 means undecided, and 4.6 means 99 %.
    """
    device = device_of(model)
    with torch.no_grad(), autocast(device):
        logits = model(pixels.to(device).float() / 255)
    return log_odds_of(logits.float().cpu(), labels).numpy()


def responses(layer_names: Sequence[str]) -> Measure:
    """A measure for `ask`: the mean of each filter's map in each picture, n×C, layer after layer."""

    def measure(model: nn.Module, pixels: Tensor, labels: Tensor) -> np.ndarray:
        means = spatial_means(model, layer_names, pixels)
        return np.concatenate([means[name] for name in layer_names], axis=1)

    return measure


def _batches(
    labels: Mapping[str, int], per_class: int, image_size: int, questions: Mapping[str, Changes], first: int
) -> Iterator[dict[str, Scenes]]:
    """The same scenes for each of `questions`, batch by batch. Each class starts a new batch."""
    if unknown := [name for name in labels if name not in CLASSES]:
        raise Problem(
            f"The project draws {', '.join(CLASSES)}, not {', '.join(unknown)}, and this experiment needs drawings: "
            "run notebooks 01 and 02 with DATASET=sample first."
        )
    to_pixels = as_pixels(image_size)
    for name, label in labels.items():
        for start in range(first, first + per_class, BATCH):
            numbers = range(start, min(start + BATCH, first + per_class))
            # All versions of a scene are drawn in a row, so that it is set up only once (see `draw`).
            versions = zip(
                *([_drawn(name, number, changes, to_pixels) for changes in questions.values()] for number in numbers)
            )
            batch_labels = torch.full((len(numbers),), label)
            yield {question: _scenes(drawn, batch_labels) for question, drawn in zip(questions, versions)}


def _drawn(name: str, number: int, changes: Changes, to_pixels: Callable) -> tuple[Tensor, np.ndarray, bool]:
    """The pixels of a drawing, the part that each square shows, and whether its control removed enough pixels."""
    drawing = draw(name, number, **_changes_of(number, changes))
    pixels = torch.as_tensor(to_pixels(Image.fromarray(drawing.image)))
    return pixels, cv2.resize(drawing.parts, MASK_SIZE, interpolation=cv2.INTER_NEAREST_EXACT), drawing.missing == 0


def _scenes(drawn: Sequence[tuple[Tensor, np.ndarray, bool]], labels: Tensor) -> Scenes:
    pixels, masks, matched = zip(*drawn)
    return Scenes(torch.stack(pixels), labels, torch.from_numpy(np.stack(masks)), torch.tensor(matched))


def _changes_of(number: int, changes: Changes) -> dict[str, Any]:
    """The changes of one drawing. Values that are functions, except the edit, are called with its number."""
    return {name: value(number) if callable(value) and name != "edit" else value for name, value in changes.items()}
