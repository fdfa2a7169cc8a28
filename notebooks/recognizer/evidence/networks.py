"""The networks that verdicts compare: several of each kind, trained once and kept with the run of notebook 02."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor, nn

from .. import settings
from ..data.dataset import Pictures, PixelSet
from ..data.neither import scenes_to_learn_from
from ..data.place import alone_in
from ..data.record import ImageFile, read_record
from ..drawings import draw
from ..drawings.stage import set_up
from ..network import DETAIL, recipe_of
from ..network.models import load_model
from ..network.side_by_side import Job, Lesson, train_side_by_side
from ..settings import Problem, shown

PLAIN = ("studio", "wall")  # the background of about half of the drawings; the others show one of many places
TO_CHECK = 6  # drawings that are drawn again, to check that the files are unchanged


@dataclass(frozen=True)
class Classes:
    """The lesson of notebook 02: to which class does a picture belong?"""

    image_size: int
    name: str = "classes"

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        record = read_record()
        train = Pictures(settings.DATASETS / "Train", self.image_size, DETAIL)
        return train, Pictures(settings.DATASETS / "Val", self.image_size), scenes_to_learn_from(record, train)


@dataclass(frozen=True)
class Backgrounds:
    """The same drawings with other labels: is the background plain, or a place? Both classes have both backgrounds."""

    image_size: int
    name: str = "backgrounds"

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        rows = {row.key: row for row in read_record().files}
        train = Pictures(settings.DATASETS / "Train", self.image_size, DETAIL)
        val = Pictures(settings.DATASETS / "Val", self.image_size)
        return *(_by_background(pictures, rows) for pictures in (train, val)), None


def _by_background(pictures: Pictures, rows: dict[str, ImageFile]) -> PixelSet:
    """Those of `pictures` that the project drew. The label is 1 if the background is a place."""
    numbers = [_number(rows.get(f"{path.parent.name}/{path.name}")) for path in pictures.paths]
    drawn = [i for i, number in enumerate(numbers) if number is not None]
    _check_some(pictures, numbers, drawn)
    scenes = [set_up(pictures.paths[i].parent.name, numbers[i], 0, 32).scene_name for i in drawn]
    labels = torch.tensor([scene not in PLAIN for scene in scenes]).long()
    return PixelSet(pictures.pixels[drawn], labels, ["Plain", "Place"], pictures.image_size)


def _number(row: ImageFile | None) -> int | None:
    """The number of the drawing in a file of the sample, or None for a reader's own picture."""
    match = None if row is None or row.is_own else re.fullmatch(r"[a-z]+_(\d+)", PurePosixPath(row.origin).stem)
    return int(match[1]) - 1 if match else None


def _check_some(pictures: Pictures, numbers: Sequence[int | None], drawn: Sequence[int]) -> None:
    for i in drawn[:: max(1, len(drawn) // TO_CHECK)]:
        if draw(pictures.paths[i].parent.name, numbers[i]).jpeg != pictures.paths[i].read_bytes():
            raise Problem(
                "Some images of the sample differ from what this version draws, so their backgrounds are unknown: "
                "empty datasets/ with make clean and run notebook 01 again."
            )


def trained_networks(path: Path, lessons: Sequence[Lesson], count: int) -> dict[str, list[nn.Module]]:
    """`count` networks for each of `lessons`: name of the lesson → networks.

    They are trained with the recipe of the run that saved the model `path`. Their seeds are the seed of that run and
    the following numbers. The networks are saved in `networks/` beside `path`, so each is trained only once. After an
    interruption, only the missing networks are trained. If another notebook is training there, this function waits. A
    file older than `path` belongs to an earlier run; it is replaced, and a printed line says so. For the lesson of
    notebook 02, the first network is the one at `path`.
    Raises `Problem` as `train_side_by_side`, `load_model` and `alone_in` do.
    """
    recipe = recipe_of(path)
    folder = path.parent / "networks"
    files_of = {
        lesson.name: [
            path if lesson.name == "classes" and k == 0 else folder / f"{lesson.name}-seed{k}.pt" for k in range(count)
        ]
        for lesson in lessons
    }

    def missing() -> list[Job]:
        return [
            Job(lesson, replace(recipe, seed=recipe.seed + k), file)
            for k in range(count)
            for lesson in lessons
            if not _is_current(file := files_of[lesson.name][k], path)
        ]

    if missing():
        with alone_in(folder, doing="networks were trained"):
            jobs = missing()  # fewer, if another notebook has trained some meanwhile
            if outdated := sum(job.path.exists() for job in jobs):
                print(f"Networks of an earlier run in {shown(folder)}/, older than model.pt, are replaced: {outdated}.")
            train_side_by_side(jobs)
    return {name: [load_model(file) for file in files] for name, files in files_of.items()}


def _is_current(file: Path, path: Path) -> bool:
    return file.exists() and file.stat().st_mtime >= path.stat().st_mtime
