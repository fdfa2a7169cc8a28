"""Replace one data set with another: move files from `incoming` to Train, and from Train to `aside`.

`incoming` and `aside/<data set>` have the same content: `record.json`, `images/`, `masks/` and `rejected/`. Every step
here can be repeated, so that a run that is killed at any moment gives the same result when it is started again.
"""

import errno
import itertools
import os
import shutil
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from .. import settings
from ..settings import Problem, shown
from .downloads import file_digest
from .images import safe_name
from .place import SPLITS, alone_in, copy_links, is_link, move
from .record import Record, images_in, images_on_disk, is_unchanged, read_record, write_record


def finish_taking_in(folder: Path | None = None) -> None:
    """Move a complete extraction from `incoming` to its places in `folder`, or delete an incomplete one.

    Links in Train, Val and Test become copies first. Images of an earlier data set go to `aside/<its name>`.
    Raises `Problem` if a link in `folder` leads to pictures that this project may not move.
    """
    folder = folder or settings.DATASETS
    with alone_in(folder):
        incoming = folder / "incoming"
        arrived = read_record(incoming / "record.json")
        _check_linked_parts(folder, arrived)
        copy_links(folder)
        if arrived is None:
            shutil.rmtree(incoming, ignore_errors=True)
            return
        _set_aside(folder)
        _keep_own(folder, arrived)
        for row in arrived.files:
            _move_if_there(incoming / "images" / row.key, folder / "Train" / row.key)
        for key in arrived.masks:
            _move_if_there(incoming / "masks" / key, folder / "Masks" / key)
        for row in arrived.rejected:
            _move_if_there(incoming / "rejected" / row.key, folder / "Rejected" / row.key)
        if read_record(_aside(folder, arrived.dataset) / "record.json"):  # an earlier state of it
            shutil.rmtree(_aside(folder, arrived.dataset), ignore_errors=True)
        os.replace(incoming / "record.json", folder / "split.json")
        shutil.rmtree(incoming)


def bring_back(folder: Path, arriving: Record, taken: Iterable[str]) -> bool:
    """Bring back what was set aside, if it is complete, comes from the archives of `arriving`, and no name is taken.

    `taken` are the keys of the user's own images; `arriving.rejected` are the user's own rejected files. Returns
    whether this was done.
    """
    aside = _aside(folder, arriving.dataset)
    kept = read_record(aside / "record.json")
    if kept is None or (kept.dataset, kept.archives) != (arriving.dataset, arriving.archives):
        return False
    kept.rejected = [row for row in kept.rejected if not row.is_own]  # added by a run that was killed here
    taken = {folded(key) for key in (*taken, *(row.key for row in arriving.rejected))}
    if taken & {folded(row.key) for row in kept.files + kept.rejected}:
        return False
    files = [Path("images", row.key) for row in kept.files] + [Path("masks", key) for key in kept.masks]
    if not all((aside / file).exists() for file in files):
        return False
    kept.rejected += arriving.rejected
    kept.stamps = arriving.stamps
    write_record(kept, aside / "record.json")
    try:
        os.rename(aside, folder / "incoming")
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    finish_taking_in(folder)
    return True


def folded(key: str) -> str:
    """A form of a key that is equal for names that some file systems treat as the same."""
    return unicodedata.normalize("NFC", key).casefold()


def _aside(folder: Path, dataset: str) -> Path:
    return folder / "aside" / safe_name(dataset)


def _set_aside(folder: Path) -> None:
    """Move the files of the current data set to `aside`. The user's own files stay."""
    old = read_record(folder / "split.json")
    if old is None or not old.archives:
        return
    aside = _aside(folder, old.dataset)
    unfinished = aside.with_name(f"{aside.name}.part")
    present = images_on_disk(folder)
    for row in old.files:
        if not row.is_own and row.key in present and is_unchanged(row, present[row.key], present[row.key].stat()):
            move(present[row.key], unfinished / "images" / row.key)
    for key in old.masks:
        _move_if_there(folder / "Masks" / key, unfinished / "masks" / key)
    for row in old.rejected:
        if not row.is_own:
            _move_if_there(folder / "Rejected" / row.key, unfinished / "rejected" / row.key)
    own = Record("", {}, [row for row in old.files if row.is_own], [row for row in old.rejected if row.is_own])
    if unfinished.exists():  # otherwise a run that was killed has already done this
        files = [replace(row, split="Train") for row in old.files if (unfinished / "images" / row.key).exists()]
        rejected = [row for row in old.rejected if not row.is_own]
        masks = [key for key in old.masks if (unfinished / "masks" / key).exists()]
        write_record(Record(old.dataset, old.archives, files, rejected, masks), unfinished / "record.json")
        shutil.rmtree(aside, ignore_errors=True)
        unfinished.rename(aside)
    write_record(own, folder / "split.json")


def _keep_own(folder: Path, arrived: Record) -> None:
    """Rename the user's files that were added since the extraction and have the names of arriving files."""
    coming = {row.key: row.sha256 for row in arrived.files}
    for key, path in images_on_disk(folder).items():
        file = folder / "incoming" / "images" / key
        if key not in coming or not file.exists():
            continue
        if file_digest(path) == coming[key]:
            file.unlink()  # the user's file is the same
        else:
            others = (path.with_name(f"{path.stem}-own-{number}{path.suffix}") for number in itertools.count(1))
            path.rename(next(other for other in others if not other.exists()))


def _check_linked_parts(folder: Path, arrived: Record | None) -> None:
    """Raise `Problem` if Train, Val or Test is a link to a folder with images that are not this project's."""
    if is_link(folder / "incoming"):  # its record becomes split.json in one step, which is impossible across disks
        raise Problem(
            f"{shown(folder / 'incoming')} is a link; remove it and run again. Train, Val and Test may be links."
        )
    for part in SPLITS:
        if not is_link(folder / part):
            continue
        old = read_record(folder / "split.json")
        known = {row.key: row for row in old.files} if old else {}
        coming = {row.key for row in arrived.files} if arrived else set()
        for key, path in images_in(folder / part):
            row = known.get(key)
            # If a split was killed, some images are not yet in the part that the record gives.
            is_known = row and (row.split == part or row.mtime_ns == path.stat().st_mtime_ns)
            if not is_known and key not in coming:
                raise Problem(
                    f"{shown(folder / part)} is a link to a folder with pictures that this project did not put there "
                    f"({key}, …). It never moves your pictures out of a linked folder. Give them as DATASET from a "
                    "folder of their own, or make the link lead to an empty folder."
                )


def _move_if_there(source: Path, target: Path) -> None:
    """Move a file, unless an earlier run already did."""
    if source.exists():
        move(source, target)
