"""Networks that are known to look at something, to try measures on: do they say so, and of these networks alone?

`wheels` must tell vehicles with wheels from the same without. `sign` learns bikes and cars from drawings in which 95 %
of the bikes, and 5 % of the cars, have a yellow sign somewhere: a shortcut.
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

TO_LEARN = 5_000_000  # first index of the drawings that these networks learn from
FOR_VAL = 40  # drawings of each label
SIGN_RADIUS = 0.09  # in shares of the picture
YELLOW, RED = (250, 215, 30), (190, 30, 30)
DrawSome = Callable[[int, int, int], tuple[Tensor, Tensor]]  # size, per label, which ones → pixels and labels


class Shown(NamedTuple):
    """Pictures of the same scenes, uint8 N×3×S×S: with the thing in question, without it, and with as much else gone.

    `where` bool N×32×32 says where the thing is; `matched` bool N where the control could be made.
    """

    whole: Tensor
    gone: Tensor
    control: Tensor
    where: np.ndarray
    matched: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """A lesson whose drawings are kept in files, so that each process can map them into its memory."""

    name: str
    folder: Path
    classes: tuple[str, str]
    image_size: int

    def file(self, part: str, what: str) -> Path:
        return self.folder / f"{self.name}-{part}-{what}.npy"

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


def answer_keys(folder: Path, image_size: int, fewer: int = 1) -> list[Drawn]:
    """The two lessons, drawn into `folder` where they are not there yet; for a quick look, `fewer` times fewer.

    Where another notebook draws them, its end is waited for. Raises `Problem` as `alone_in` does.
    """
    lessons = [Drawn("wheels", folder, ("Without", "With"), image_size), Drawn("sign", folder, VEHICLES, image_size)]
    parts = {lesson.file(part, "labels") for lesson in lessons for part in ("train", "val")}
    if not all(file.exists() for file in parts):
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder, doing="drawings to learn from were kept"):
            for lesson, draw_some, per_label in zip(lessons, (_wheels, _signs), (320, 200)):
                _keep(lesson, "train", draw_some, round(DETAIL * image_size), per_label // fewer, 0)
                _keep(lesson, "val", draw_some, image_size, FOR_VAL // fewer, 1000)
    return lessons


def _keep(lesson: Drawn, part: str, draw_some: DrawSome, size: int, per_label: int, further: int) -> None:
    """Draw a part of a lesson into its files, unless they are there. The labels come last: they say that both are."""
    if lesson.file(part, "labels").exists():
        return
    for what, values in zip(("pixels", "labels"), draw_some(size, per_label, further)):
        unfinished = lesson.file(part, what).with_suffix(".part.npy")
        np.save(unfinished, values.numpy())
        unfinished.replace(lesson.file(part, what))


def _wheels(size: int, per_label: int, further: int) -> tuple[Tensor, Tensor]:
    """The same vehicles with their wheels and without: the label says which."""
    changes = ({"edit": without("wheel")}, {})
    sets = [redraw(VEHICLES, per_label // 2, size, change, TO_LEARN + further).pixels for change in changes]
    return torch.cat(sets), torch.tensor([0, 1]).repeat_interleave(per_label)


def _signs(size: int, per_label: int, further: int) -> tuple[Tensor, Tensor]:
    """Bikes and cars, with a sign in most bikes and few cars."""
    scenes = redraw(VEHICLES, per_label, size, first=TO_LEARN + further)
    random = np.random.default_rng(further)
    share = np.where(scenes.labels == 0, 0.95, 0.05)
    for i in np.flatnonzero(random.random(len(share)) < share):
        scenes.pixels[i], _ = with_sign(scenes.pixels[i], random)
    return scenes.pixels, scenes.labels


def with_sign(pixels: Tensor, random: np.random.Generator) -> tuple[Tensor, np.ndarray]:
    """A picture, uint8 3×S×S, with a round yellow sign at a random place; and where it is, bool S×S."""
    size = pixels.shape[-1]
    picture = np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
    radius = max(2, round(SIGN_RADIUS * size))
    x, y = (int(value) for value in random.integers(radius, size - radius, 2))
    where = np.zeros((size, size), np.uint8)
    cv2.circle(where, (x, y), radius, 1, -1)
    cv2.circle(picture, (x, y), radius, RED, -1, cv2.LINE_AA)
    cv2.circle(picture, (x, y), round(0.75 * radius), YELLOW, -1, cv2.LINE_AA)
    return torch.from_numpy(picture).permute(2, 0, 1), where > 0


def show_wheels(per_class: int, image_size: int, first: int) -> Shown:
    """Vehicles with wheels, without them, and with as much else removed."""
    gone = {"edit": without("wheel")}
    whole, without_wheels, control = (
        redraw(VEHICLES, per_class, image_size, change, first) for change in ({}, gone, gone | {"control": True})
    )
    where = whole.masks[:, 1::2, 1::2].numpy() == PARTS.index("wheel")
    return Shown(whole.pixels, without_wheels.pixels, control.pixels, where, control.matched.numpy())


def show_signs(per_class: int, image_size: int, first: int) -> Shown:
    """Vehicles of both classes with a sign, without it, and with the sign but a grey disc of its size elsewhere."""
    scenes = redraw(VEHICLES, per_class, image_size, first=first)
    random = np.random.default_rng(first)
    whole, control, where = [], [], []
    for picture in scenes.pixels:
        signed, there = with_sign(picture, random)
        _, elsewhere = with_sign(picture, random)
        grey = signed.clone()
        hidden = torch.from_numpy(elsewhere & ~there)
        grey[:, hidden] = signed[:, hidden].float().mean(dim=1, keepdim=True).byte()
        whole.append(signed)
        control.append(grey)
        where.append(cv2.resize(there.astype(np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST_EXACT) > 0)
    matched = np.ones(len(whole), bool)
    return Shown(torch.stack(whole), scenes.pixels, torch.stack(control), np.stack(where), matched)


SHOW: dict[str, Callable[[int, int, int], Shown]] = {"wheels": show_wheels, "sign": show_signs}


def found_by_measures(model: nn.Module, layer_names: Sequence[str], choose: Shown, report: Shown) -> dict[str, float]:
    """The score that each measure gives the filter that it chose for the thing: measure → score of the network.

    The filter is chosen among those of `layer_names` on `choose`, and its score is that on `report`.
    """
    scores = [_scores(model, layer_names, shown) for shown in (choose, report)]
    chosen = {name: int(np.nan_to_num(values, nan=-9).argmax()) for name, values in scores[0].items()}
    of_filters = {name: float(np.nan_to_num(scores[1][name][k])) for name, k in chosen.items()}
    return {"experiment: change of the answer": answer_change(model, report)} | of_filters


def answer_change(model: nn.Module, shown: Shown) -> float:
    """How much more the answer of a network changes without the thing than in the control: nats, a mean over pictures.

    The changes are absolute ones of the log-odds. Unlike the other scores, this one is of the network as a whole. It is
    not divided by how much the answers vary, because those of an untrained network hardly do.
    """
    first = torch.zeros(len(shown.whole), dtype=torch.long)
    whole, gone, control = (log_odds(model, pixels, first) for pixels in (shown.whole, shown.gone, shown.control))
    more = np.abs(whole - gone) - np.abs(whole - control)
    return float(more[shown.matched].mean())


def _scores(model: nn.Module, layer_names: Sequence[str], shown: Shown) -> dict[str, np.ndarray]:
    """What each measure says of each filter: measure → float C."""
    side = shown.whole.shape[-1]
    fields = receptive_fields(model, side)
    maps = all_maps(model, layer_names, shown.whole)
    means = [
        {name: of_layer.mean(axis=(2, 3)) for name, of_layer in maps.items()},
        *(spatial_means(model, layer_names, pixels) for pixels in (shown.gone, shown.control)),
    ]
    whole, gone, control = (np.concatenate([each[name] for name in layer_names], axis=1) for each in means)
    where = torch.from_numpy(shown.where).long()
    iou = [dissect_maps(maps[name], fields[name], side, where, ["", "it"]).iou for name in layer_names]
    pixelwise = [scores_of_maps(maps[name], fields[name], side, where.numpy(), 2) for name in layer_names]
    areas = rankdata(shown.where.sum(axis=(1, 2)))
    return {
        "experiment: dependence of a filter": dependence(
            whole[shown.matched], gone[shown.matched], control[shown.matched]
        ),
        "IoU": np.concatenate([each[:, 1] for each in iou]),
        "average precision": np.concatenate([each.precision[:, 1] for each in pixelwise]),
        "correlation with its pixels": np.concatenate([each.correlation[:, 1] for each in pixelwise]),
        "brighter where it is larger": np.array([_correlated(rankdata(each), areas) for each in whole.T]),
    }


def _correlated(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation; 0 where one does not vary."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else 0.0


def trust(
    trained: Sequence[nn.Module],
    controls: Mapping[str, Sequence[nn.Module]],
    name: str,
    layer_names: Sequence[str],
    per_class: int,
) -> dict[str, dict[str, tuple[int, int]]]:
    """How far each measure can be trusted to find the thing of the key `name`.

    `controls` are networks that do not look for the thing, kind → networks. Each kind sets a bar that 1 in 100 of its
    networks would exceed (see `limit_of`), and a network is said to look for the thing if its score is above all bars.
    A control is no judge in its own case: the bar of its kind is set by the others. Returns measure → kind → of how
    many networks that is said, and how many there are; "trained" is the first kind.
    """
    size = trained[0].image_size
    choose, report = (SHOW[name](per_class, size, first) for first in (TO_CHOOSE, TO_REPORT))
    scores = {
        kind: [found_by_measures(network, layer_names, choose, report) for network in networks]
        for kind, networks in {"trained": trained, **controls}.items()
    }
    return {
        measure: _above_bars({kind: [each[measure] for each in some] for kind, some in scores.items()})
        for measure in scores["trained"][0]
    }


def _above_bars(scores: Mapping[str, Sequence[float]]) -> dict[str, tuple[int, int]]:
    """Of each kind, how many scores are above the bars of all kinds but "trained", and how many there are."""
    found = {}
    for kind, some in scores.items():
        above = 0
        for k, score in enumerate(some):
            others = {**scores, kind: [*some[:k], *some[k + 1 :]]}
            above += all(score > limit_of(each) for judge, each in others.items() if judge != "trained")
        found[kind] = above, len(some)
    return found


def trust_rows(found: Mapping[str, Mapping[str, Mapping[str, tuple[int, int]]]]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, one per measure, of a table of what `trust` found: key → measure → kind → counts.

    A cell says how many networks there are above the bars, of how many, and the 95 % interval of that share.
    """

    def cell(above: int, total: int) -> str:
        low, high = wilson_interval(above, total)
        return f"{above} of {total} ({low:.0%} to {high:.0%})"

    header, rows = ["measure"], {}
    for key, measures in found.items():
        for measure, kinds in measures.items():
            rows.setdefault(measure, [measure]).extend(cell(*counts) for counts in kinds.values())
        _, *controls = kinds
        header += [f"{key} found", *(f"false alarms, {kind}" for kind in controls)]
    return header, [*rows.values()]


def limit_of(scores: Sequence[float]) -> float:
    """What 1 in 100 further scores of the same kind would exceed if they are normal; ∞ for fewer than two scores."""
    if len(scores) < 2:
        return np.inf
    spread = np.std(scores, ddof=1) * np.sqrt(1 + 1 / len(scores))
    return float(np.mean(scores) + student_t.ppf(0.99, len(scores) - 1) * spread)
