"""The networks that verdicts compare: several of each kind, trained once and kept beside the run of notebook 02."""

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

PLAIN = ("studio", "wall")  # about half of the drawings have such a background, and the others one of many places
TO_CHECK = 6  # drawings of each class that are drawn again, to be sure that the files are what they seem


@dataclass(frozen=True)
class Classes:
    """The lesson of notebook 02: which class is it?"""

    image_size: int
    name: str = "classes"

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        record = read_record()
        train = Pictures(settings.DATASETS / "Train", self.image_size, DETAIL)
        return train, Pictures(settings.DATASETS / "Val", self.image_size), scenes_to_learn_from(record, train)


@dataclass(frozen=True)
class Backgrounds:
    """The same drawings with another question: is the background plain, or a place? Both classes have either."""

    image_size: int
    name: str = "backgrounds"

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        rows = {row.key: row for row in read_record().files}
        train = Pictures(settings.DATASETS / "Train", self.image_size, DETAIL)
        val = Pictures(settings.DATASETS / "Val", self.image_size)
        return *(_by_background(pictures, rows) for pictures in (train, val)), None


def _by_background(pictures: Pictures, rows: dict[str, ImageFile]) -> PixelSet:
    """Those of `pictures` that the project drew, with the label 1 where they show a place."""
    numbers = [_number(rows.get(f"{path.parent.name}/{path.name}")) for path in pictures.paths]
    drawn = [i for i, number in enumerate(numbers) if number is not None]
    _check_some(pictures, numbers, drawn)
    scenes = [set_up(pictures.paths[i].parent.name, numbers[i], 0, 32).scene_name for i in drawn]
    labels = torch.tensor([scene not in PLAIN for scene in scenes]).long()
    return PixelSet(pictures.pixels[drawn], labels, ["Plain", "Place"], pictures.image_size)


def _number(row: ImageFile | None) -> int | None:
    """Which drawing a file of the sample is, or None for a reader's own."""
    found = None if row is None or row.is_own else re.fullmatch(r"[a-z]+_(\d+)", PurePosixPath(row.origin).stem)
    return int(found[1]) - 1 if found else None


def _check_some(pictures: Pictures, numbers: Sequence[int | None], drawn: Sequence[int]) -> None:
    for i in drawn[:: max(1, len(drawn) // TO_CHECK)]:
        if draw(pictures.paths[i].parent.name, numbers[i]).jpeg != pictures.paths[i].read_bytes():
            raise Problem(
                "Some images of the sample are not what this version draws, so it cannot tell their backgrounds: "
                "empty datasets/ with make clean and run notebook 01 again."
            )


def trained_networks(path: Path, lessons: Sequence[Lesson], count: int) -> dict[str, list[nn.Module]]:
    """`count` networks for each of `lessons`, trained by the recipe of the run that left the model `path`: by name.

    Their seeds are that of the run and the next ones. They are kept in `networks/` beside `path`, so that they are
    trained once; what was interrupted goes on with the networks that are missing. Where another notebook trains there,
    its end is waited for. A file that is older than `path` belongs to an earlier run and is replaced, which is said.
    Of the lesson of notebook 02, the first network is that at `path`.
    Raises `Problem` as `train_side_by_side`, `load_model` and `alone_in` do.
    """
    recipe = recipe_of(path)
    folder = path.parent / "networks"
    wanted = {
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
            if not _is_there(file := wanted[lesson.name][k], path)
        ]

    if missing():
        with alone_in(folder, doing="networks were trained"):
            jobs = missing()  # fewer, if another notebook has just trained some
            if outdated := sum(job.path.exists() for job in jobs):
                print(f"Networks of an earlier run in {shown(folder)}/, older than model.pt, are replaced: {outdated}.")
            train_side_by_side(jobs)
    return {name: [load_model(file) for file in files] for name, files in wanted.items()}


def _is_there(file: Path, path: Path) -> bool:
    return file.exists() and file.stat().st_mtime >= path.stat().st_mtime
