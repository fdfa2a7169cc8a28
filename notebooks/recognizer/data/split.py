"""Assign every image to Train, Val or Test: a seeded share of each class, with near-copies always together."""

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from .. import settings
from ..inputs import without_warnings
from ..settings import Problem, shown
from .duplicates import near_copies
from .images import OWN, ImageFile, check
from .place import SPLITS, alone_in, move
from .record import Record, images_on_disk, is_unchanged, other_files, read_record, write_record
from .shards import current_shards, deal_shards
from .taking_in import finish_taking_in


def split_images(val_share: float = 0.1, test_share: float = 0.2, seed: int = 0, folder: Path | None = None) -> Record:
    """Move a share of each class from Train to Val and Test of `folder` (default `datasets/`). Redo an earlier split.

    The split depends only on `seed`, the shares, and the files' names and pictures. The user's own images take part;
    those that do not decode move to `Rejected/`. Unchanged images are not checked again.
    If the data set in use is in shards, nothing moves (see `deal_shards`).
    Raises `Problem` if a class has too few images for three parts, if there is only one class, or if two images share a
    name.
    """
    folder = folder or settings.DATASETS
    with alone_in(folder):
        if shards := current_shards(folder):
            return deal_shards(shards, val_share, test_share, seed, folder)
        finish_taking_in(folder)
        before, present = read_record(folder / "split.json"), images_on_disk(folder)
        if before is None or not present:
            raise Problem(f"There are no images in {shown(folder)}/ yet; run notebook 01 first.")
        rows = _described(before, present)
        unreadable = {row.key: _under_free_name(row, before) for row in rows if row.reason}
        files = _grouped([row for row in rows if not row.reason], before)
        rejected = before.rejected + [row for row in unreadable.values() if row not in before.rejected]
        record = replace(before, files=files, rejected=rejected, seed=seed, val_share=val_share, test_share=test_share)
        if record != before or not before.is_split:
            record.files = deal(files, val_share, test_share, seed)
        if record != before:
            write_record(record, folder / "split.json")
        move_to_parts(record, present, folder)
        for key, row in unreadable.items():
            move(present[key], folder / "Rejected" / row.key)
        _tell_of_own(record, unreadable.values(), folder)
        return record


@without_warnings()
def move_to_parts(record: Record, present: dict[str, Path], folder: Path) -> None:
    """Move each image from its path in `present` (see `images_on_disk`) to its part of `folder` in `record`."""
    for row in record.files:
        target = os.path.join(folder, row.split, *row.key.split("/"))
        if target != str(present[row.key]):
            move(present[row.key], Path(target))


def _described(record: Record, present: dict[str, Path]) -> list[ImageFile]:
    """A row for each image on disk: known images as recorded, the user's own images after a check."""
    known = {row.key: row for row in record.files}
    rows = []
    for key, path in sorted(present.items()):
        status = os.stat(path)
        row = known.get(key)
        if row is None or not is_unchanged(row, path, status):
            class_name, name = key.split("/")
            row, _ = check(class_name, name, path.read_bytes())
            row = replace(row, name=name, origin=OWN)
        rows.append(row if row.mtime_ns == status.st_mtime_ns else replace(row, mtime_ns=status.st_mtime_ns))
    return rows


def _under_free_name(row: ImageFile, record: Record) -> ImageFile:
    """The same row, with the start of its digest in its name if another rejected file has that name."""
    if all(other.key != row.key or other.sha256 == row.sha256 for other in record.rejected):
        return row
    name = Path(row.name)
    return replace(row, name=f"{name.stem}-{row.sha256[:8]}{name.suffix}")


def _tell_of_own(record: Record, unreadable: Iterable[ImageFile], folder: Path) -> None:
    own = [row.key for row in record.files if row.is_own]
    if own:
        names = ", ".join(own[:5]) + " …" * (len(own) > 5)
        print(f"{len(own)} image(s) of your own stay and take part in the split: {names}.")
    if others := other_files(folder):
        names = ", ".join(others[:5]) + " …" * (len(others) > 5)
        print(f"{len(others)} file(s) in {shown(folder)}/ do not have an image's file name and were not used: {names}.")
    for row in unreadable:
        print(f"Your own {row.key} was moved to {shown(folder)}/Rejected/: {row.reason}.")


def _grouped(rows: list[ImageFile], before: Record) -> list[ImageFile]:
    """The same rows, sorted by key, with the key of the first near-copy of each row as its group.

    If these are exactly the images of an earlier record, its groups are reused, and nothing is compared.
    """
    rows = sorted(rows, key=lambda row: row.key)
    if {(row.key, row.sha256) for row in rows} == {(row.key, row.sha256) for row in before.files if row.group}:
        return rows
    first: dict[int, str] = {}
    numbers = near_copies([row.fingerprint for row in rows])
    return [replace(row, group=first.setdefault(number, row.key)) for row, number in zip(rows, numbers)]


def deal(rows: Sequence[ImageFile], val_share: float, test_share: float, seed: int) -> list[ImageFile]:
    """The same rows with their `split`: the same rounded shares of each class, and groups are never divided.

    The groups are shuffled with `seed` and then sorted, larger ones first. Each group goes to the part that has room
    for it and is emptiest in proportion. Raises `Problem` if a part would have no images of a class.
    """
    if not (val_share > 0 and test_share > 0 and val_share + test_share < 1):
        raise Problem(f"Shares of {val_share} for Val and {test_share} for Test leave a part empty; try 0.2 and 0.2.")
    sizes = Counter(row.class_name for row in rows)
    if len(sizes) < 2:
        raise Problem(
            f"There are images of {', '.join(sizes) or 'no class'} only, but a classifier needs two classes; add "
            "images of another class."
        )
    room = {
        (class_name, split): count
        for class_name, size in sizes.items()
        for split, count in zip(SPLITS, _shares(size, val_share, test_share))
    }
    full = dict(room)
    members = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.key):
        members[row.group].append(row)
    groups = list(members.values())
    random.Random(seed).shuffle(groups)
    assigned = []
    for group in sorted(groups, key=len, reverse=True):
        needed = Counter(row.class_name for row in group)
        fitting = [split for split in SPLITS if all(room[name, split] >= n for name, n in needed.items())]
        emptiest = max(
            fitting or ["Train"],
            key=lambda split: sum(room[name, split] / max(full[name, split], 1) for name in needed),
        )
        for name, n in needed.items():
            room[name, emptiest] -= n
        assigned += [replace(row, split=emptiest) for row in group]
    _check_parts(assigned, sizes)
    return sorted(assigned, key=lambda row: row.key)


def _shares(size: int, val_share: float, test_share: float) -> tuple[int, int, int]:
    val, test = round(size * val_share), round(size * test_share)
    return size - val - test, val, test


def _check_parts(rows: list[ImageFile], sizes: Counter) -> None:
    filled = Counter((row.class_name, row.split) for row in rows)
    for class_name, size in sorted(sizes.items()):
        empty = [split for split in SPLITS if not filled[class_name, split]]
        if empty:
            groups = len({row.group for row in rows if row.class_name == class_name})
            pictures = f" ({groups} different picture(s))" if groups < size else ""
            raise Problem(
                f"{class_name} has {size} image(s){pictures}, too few for these shares of Train, Val and Test: none "
                f"would be in {' and '.join(empty)}. Add images of {class_name}, or use larger shares."
            )
