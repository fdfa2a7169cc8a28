"""Tests of measures on networks with known answers: do the measures detect what these networks must use?

`wheels` networks must tell vehicles with wheels from the same vehicles without wheels. `sign` networks learn bikes and
cars from drawings in which 95 % of the bikes, and 5 % of the cars, have a yellow sign somewhere: a shortcut.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.stats import rankdata
from scipy.stats import t as student_t
from torch import Tensor, nn

from ..data.dataset import PixelSet
from ..data.place import alone_in
from ..drawings import PARTS, VEHICLES, without
from ..network import DETAIL
from ..network.evaluation import wilson_interval
from .average_precision import scores_of_maps
from .dissection import dissect_maps
from .experiments import TO_CHOOSE, TO_REPORT, log_odds, redraw
from .part_dependence import dependence
from .receptive_field import receptive_fields
from .responses import all_maps, spatial_means

TO_LEARN = 5_000_000  # number of the first drawing that these networks learn from
FOR_VAL = 40  # validation drawings of each label
SIGN_RADIUS = 0.09  # as a share of the side of the picture
YELLOW, RED = (250, 215, 30), (190, 30, 30)
DrawPart = Callable[[int, int, int], tuple[Tensor, Tensor]]  # size, drawings per label, offset → pixels, labels


class EditedScenes(NamedTuple):
    """The same scenes three times, uint8 N×3×S×S: with the object, without it, and with as many other pixels removed.

    The object is a wheel or a sign. `where` bool N×32×32 says where it is. `matched` bool N says whether the control
    could be made.
    """

    whole: Tensor
    gone: Tensor
    control: Tensor
    where: np.ndarray
    matched: np.ndarray


@dataclass(frozen=True)
class DrawnLesson:
    """A lesson whose drawings are in files, so that each process can map them into memory."""

    name: str
    folder: Path
    classes: tuple[str, str]
    image_size: int

    def file(self, part: str, content: str) -> Path:
        return self.folder / f"{self.name}-{part}-{content}.npy"

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        train, val = (
            PixelSet(
                torch.from_numpy(np.load(self.file(part, "pixels"), mmap_mode="c")),
                torch.from_numpy(np.load(self.file(part, "labels"))),
                list(self.classes),
                self.image_size,
            )
            for part in ("train", "val")
        )
        return train, val, None


def known_answer_lessons(folder: Path, image_size: int, fewer: int = 1) -> list[DrawnLesson]:
    """The lessons `wheels` and `sign`. Their drawings are made in `folder` if they are missing.

    `fewer` divides the number of drawings, for a quick look. If another notebook is making them, this function waits.
    Raises `Problem` as `alone_in` does.
    """
    lessons = [
        DrawnLesson("wheels", folder, ("Without", "With"), image_size),
        DrawnLesson("sign", folder, VEHICLES, image_size),
    ]
    parts = {lesson.file(part, "labels") for lesson in lessons for part in ("train", "val")}
    if not all(file.exists() for file in parts):
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, doing="drawings to learn from were saved"):
            for lesson, draw_part, per_label in zip(lessons, (_wheels, _signs), (320, 200)):
                _save_part(lesson, "train", draw_part, round(DETAIL * image_size), per_label // fewer, 0)
                _save_part(lesson, "val", draw_part, image_size, FOR_VAL // fewer, 1000)
    return lessons


def _save_part(lesson: DrawnLesson, part: str, draw_part: DrawPart, size: int, per_label: int, offset: int) -> None:
    """Draw a part of a lesson into its files, if they are missing.

    The labels are saved last, so a file of labels marks a complete part.
    """
    if lesson.file(part, "labels").exists():
        return
    for content, values in zip(("pixels", "labels"), draw_part(size, per_label, offset)):
        unfinished = lesson.file(part, content).with_suffix(".part.npy")
        np.save(unfinished, values.numpy())
        unfinished.replace(lesson.file(part, content))


def _wheels(size: int, per_label: int, offset: int) -> tuple[Tensor, Tensor]:
    """Vehicles without wheels (label 0), and the same vehicles with wheels (label 1)."""
    changes = ({"edit": without("wheel")}, {})
    sets = [redraw(VEHICLES, per_label // 2, size, change, TO_LEARN + offset).pixels for change in changes]
    return torch.cat(sets), torch.tensor([0, 1]).repeat_interleave(per_label)


def _signs(size: int, per_label: int, offset: int) -> tuple[Tensor, Tensor]:
    """Bikes and cars, with a sign in most bikes and in few cars."""
    scenes = redraw(VEHICLES, per_label, size, first=TO_LEARN + offset)
    random = np.random.default_rng(offset)
    share = np.where(scenes.labels == 0, 0.95, 0.05)
    for i in np.flatnonzero(random.random(len(share)) < share):
        scenes.pixels[i], _ = with_sign(scenes.pixels[i], random)
    return scenes.pixels, scenes.labels


def with_sign(pixels: Tensor, random: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """A picture, uint8 3×S×S, with a round yellow sign at a random place, and the mask of the sign, bool S×S."""
    size = pixels.shape[-1]
    picture = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    radius = max(2, round(SIGN_RADIUS * size))
    x, y = (int(value) for value in random.integers(radius, size - radius, 2))
    where = np.zeros((size, size), np.uint8)
    cv2.circle(where, (x, y), radius, 1, -1)
    cv2.circle(picture, (x, y), radius, RED, -1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), round(0.75 * radius), YELLOW, -1, cv2.LINE_AA)
    return torch.from_numpy(picture).permute(2, 0, 1), where > 0


def wheel_scenes(per_class: int, image_size: int, first: int) -> EditedScenes:
    """Vehicles with wheels, without wheels, and with as many other pixels removed."""
    gone = {"edit": without("wheel")}
    whole, without_wheels, control = (
        redraw(VEHICLES, per_class, image_size, change, first) for change in ({}, gone, gone | {"control": True})
    )
    where = whole.masks[:, 1::2, 1::2].numpy() == PARTS.index("wheel")
    return EditedScenes(whole.pixels, without_wheels.pixels, control.pixels, where, control.matched.numpy())


def sign_scenes(per_class: int, image_size: int, first: int) -> EditedScenes:
    """Vehicles of both classes with a sign, without it, and with the sign and a grey disc of its size elsewhere."""
    scenes = redraw(VEHICLES, per_class, image_size, first=first)
    random = np.random.default_rng(first)
    whole, control, where = [], [], []
    for picture in scenes.pixels:
        signed, sign_mask = with_sign(picture, random)
        _, disc_mask = with_sign(picture, random)
        with_disc = signed.clone()
        hidden = torch.from_numpy(disc_mask & ~sign_mask)
        with_disc[:, hidden] = signed[:, hidden].float().mean(dim=1, keepdim=True).byte()
        whole.append(signed)
        control.append(with_disc)
        where.append(cv2.resize(sign_mask.astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST_EXACT) > 0)
    matched = np.ones(len(whole), bool)
    return EditedScenes(torch.stack(whole), scenes.pixels, torch.stack(control), np.stack(where), matched)


TEST_SCENES: dict[str, Callable[[int, int, int], EditedScenes]] = {"wheels": wheel_scenes, "sign": sign_scenes}


def scores_by_measure(
    model: nn.Module, layer_names: Sequence[str], choose: EditedScenes, report: EditedScenes
) -> dict[str, float]:
    """The score that each measure gives a network for the object: measure → score.

    Measures of filters choose the best filter of `layer_names` on `choose` and report its score on `report`.
    """
    scores = [_filter_scores(model, layer_names, scenes) for scenes in (choose, report)]
    chosen = {name: int(np.nan_to_num(values, nan=-9).argmax()) for name, values in scores[0].items()}
    of_chosen = {name: float(np.nan_to_num(scores[1][name][k])) for name, k in chosen.items()}
    return {"experiment: change of the answer": answer_change(model, report)} | of_chosen


def answer_change(model: nn.Module, scenes: EditedScenes) -> float:
    """How much more the answer changes without the object than in the control: nats, the mean over pictures.

    Changes are absolute changes of the log-odds. This score is about the whole network, unlike the others. It is not
    divided by how much the answers vary, because those of an untrained network hardly vary.
    """
    first = torch.zeros(len(scenes.whole), dtype=torch.long)
    whole, gone, control = (log_odds(model, pixels, first) for pixels in (scenes.whole, scenes.gone, scenes.control))
    excess = np.abs(whole - gone) - np.abs(whole - control)
    return float(excess[scenes.matched].mean())


def _filter_scores(model: nn.Module, layer_names: Sequence[str], scenes: EditedScenes) -> dict[str, np.ndarray]:
    """The score of each filter by each measure: measure → float C."""
    side = scenes.whole.shape[-1]
    fields = receptive_fields(model, side)
    maps = all_maps(model, layer_names, scenes.whole)
    means = [
        {name: layer_maps.mean(axis=(2, 3)) for name, layer_maps in maps.items()},
        *(spatial_means(model, layer_names, pixels) for pixels in (scenes.gone, scenes.control)),
    ]
    whole, gone, control = (np.concatenate([by_layer[name] for name in layer_names], axis=1) for by_layer in means)
    where = torch.from_numpy(scenes.where).long()
    iou = [dissect_maps(maps[name], fields[name], side, where, ["background", "object"]).iou for name in layer_names]
    pixelwise = [scores_of_maps(maps[name], fields[name], side, where.numpy(), 2) for name in layer_names]
    areas = rankdata(scenes.where.sum(axis=(1, 2)))
    return {
        "experiment: dependence of a filter": dependence(
            whole[scenes.matched], gone[scenes.matched], control[scenes.matched]
        ),
        "IoU": np.concatenate([of_layer[:, 1] for of_layer in iou]),
        "average precision": np.concatenate([of_layer.precision[:, 1] for of_layer in pixelwise]),
        "correlation with its pixels": np.concatenate([of_layer.correlation[:, 1] for of_layer in pixelwise]),
        "correlation with its size": np.array([_correlation(rankdata(values), areas) for values in whole.T]),
    }


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation, or 0 if one of the two is constant."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else 0.0


def detection_counts(
    trained: Sequence[nn.Module],
    controls: Mapping[str, Sequence[nn.Module]],
    name: str,
    layer_names: Sequence[str],
    per_class: int,
) -> dict[str, dict[str, tuple[int, int]]]:
    """In how many networks each measure detects the object of the lesson `name`.

    `controls` are networks that were not trained to respond to the object, kind → networks. Each kind sets a threshold
    that an estimated 1 in 100 of its networks would exceed (see `threshold_of`). A measure detects the object in a
    network if its score is above all thresholds. A control network does not contribute to its own threshold. Returns
    measure → kind → number of networks with a detection, and number of networks. "trained" is the first kind.
    """
    size = trained[0].image_size
    choose, report = (TEST_SCENES[name](per_class, size, first) for first in (TO_CHOOSE, TO_REPORT))
    scores = {
        kind: [scores_by_measure(network, layer_names, choose, report) for network in networks]
        for kind, networks in {"trained": trained, **controls}.items()
    }
    return {
        measure: _counts_above_thresholds(
            {kind: [network_scores[measure] for network_scores in of_kind] for kind, of_kind in scores.items()}
        )
        for measure in scores["trained"][0]
    }


def _counts_above_thresholds(scores: Mapping[str, Sequence[float]]) -> dict[str, tuple[int, int]]:
    """For each kind, the number of scores above the thresholds of all kinds except "trained", and of all scores."""
    counts = {}
    for kind, of_kind in scores.items():
        above = 0
        for k, score in enumerate(of_kind):
            others = {**scores, kind: [*of_kind[:k], *of_kind[k + 1 :]]}
            thresholds = [threshold_of(values) for control, values in others.items() if control != "trained"]
            above += all(score > threshold for threshold in thresholds)
        counts[kind] = above, len(of_kind)
    return counts


def detection_rows(
    results: Mapping[str, Mapping[str, Mapping[str, tuple[int, int]]]],
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table of results of `detection_counts`: key → measure → kind → counts.

    There is one row per measure. A cell holds the number of networks with a detection, the number of networks, and the
    95 % interval of the share.
    """

    def cell(above: int, total: int) -> str:
        low, high = wilson_interval(above, total)
        return f"{above} of {total} ({low:.0%} to {high:.0%})"

    header, rows = ["measure"], {}
    for key, measures in results.items():
        for measure, kinds in measures.items():
            rows.setdefault(measure, [measure]).extend(cell(*counts) for counts in kinds.values())
        _, *controls = kinds
        header += [f"{key} found", *(f"false alarms, {kind}" for kind in controls)]
    return header, [*rows.values()]


def threshold_of(scores: Sequence[float]) -> float:
    """The value that 1 in 100 further scores of this kind would exceed, if scores are normal; ∞ for fewer than two."""
    if len(scores) < 2:
        return np.inf
    spread = np.std(scores, ddof=1) * np.sqrt(1 + 1 / len(scores))
    return float(np.mean(scores) + student_t.ppf(0.99, len(scores) - 1) * spread)
