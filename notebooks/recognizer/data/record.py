"""`split.json` in the folder of a data set: which data set it is, how it was split, and all its files."""

import filecmp
import hashlib
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .. import settings
from ..settings import Problem, parameter, shown
from .archives import CLUTTER
from .downloads import file_digest
from .images import ImageFile, is_image_name
from .place import SPLITS, walk


@dataclass
class Record:
    """The content of `datasets/split.json`.

    `archives` maps '<Class>/<archive>' to its SHA-256 and the address that it came from, if any. `files` are the images
    in Train, Val and Test. `rejected` are the files in Rejected, with a reason. `masks` are the masks, as
    '<Class>/<name>'. `stamps` maps '<Class>/<archive>' to a text that changes with the archive's path, size and
    modification time. If the images stay in shards (see `shards`), `shards` maps the name of each shard to its path or
    address, and the images are in their order there; `stamps` then maps the name of each shard.
    """

    dataset: str
    archives: dict[str, dict[str, str]]
    files: list[ImageFile]
    rejected: list[ImageFile] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    seed: int = 0
    val_share: float = 0.0
    test_share: float = 0.0
    stamps: dict[str, str] = field(default_factory=dict)
    shards: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        return sorted({row.class_name for row in self.files})

    @property
    def name(self) -> str:
        """The data set's name and the start of a digest of the images in each part, so that other images change it."""
        contents = sorted((row.key, row.sha256, row.split) for row in self.files)
        return f"{self.dataset}-{hashlib.sha256(repr(contents).encode()).hexdigest()[:6]}"

    @property
    def is_split(self) -> bool:
        return self.val_share > 0

    def count(self, class_name: str, split: str) -> int:
        """Number of images of a class in 'Train', 'Val' or 'Test'."""
        return sum((row.class_name, row.split) == (class_name, split) for row in self.files)

    def groups(self) -> list[list[ImageFile]]:
        """The images that have near-copies, one list per group, the largest first."""
        return _several(self.files, "group")

    def copies(self) -> list[list[ImageFile]]:
        """Images with identical bytes, one list per picture, the most frequent first."""
        return _several(self.files, "sha256")


def _several(files: list[ImageFile], attribute: str) -> list[list[ImageFile]]:
    members = defaultdict(list)
    for row in files:
        members[getattr(row, attribute)].append(row)
    groups = [rows for rows in members.values() if len(rows) > 1]
    return sorted(groups, key=lambda rows: (-len(rows), rows[0].key))


def read_record(path: Path | None = None) -> Record | None:
    """The record of the data set in `datasets/`, or None if nothing was prepared yet.

    Raises `Problem` if the file is not such a record.
    """
    path = path or settings.DATASETS / "split.json"
    if not path.exists():
        return None
    try:
        # Each row becomes an ImageFile as soon as it is read, because dictionaries would take twice the memory.
        return Record(**json.loads(path.read_bytes(), object_hook=_as_row))
    except (ValueError, TypeError, KeyError) as error:
        raise Problem(
            f"{shown(path)} cannot be read; it was changed, or written by another version of this project. Delete it "
            "and run notebook 01: your images stay, and all of them are split again."
        ) from error


def _as_row(fields: dict) -> ImageFile | dict:
    return ImageFile(**fields) if "class_name" in fields else fields


def write_record(record: Record, path: Path | None = None) -> None:
    """Replace the record with `record` in one step, so that the file is always complete."""
    path = path or settings.DATASETS / "split.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_as_json(record))
    os.replace(unfinished, path)


def _as_json(record: Record) -> Iterator[str]:
    """The record as JSON, in pieces: one line per file, so that any text tool can find a file."""
    yield "{"
    for number, (name, value) in enumerate(vars(record).items()):
        yield f"{',' * (number > 0)}\n {json.dumps(name)}: "
        if name in ("files", "rejected"):
            for row_number, row in enumerate(value):
                yield f"{',' if row_number else '['}\n  {json.dumps(asdict(row), ensure_ascii=False)}"
            yield "]" if value else "[]"
        else:
            yield json.dumps(value, ensure_ascii=False)
    yield "\n}\n"


def is_unchanged(row: ImageFile, path: Path, status: os.stat_result) -> bool:
    """Whether `path`, with this `status`, holds what `row` records.

    If its size and modification time are as recorded, it counts as unchanged. Otherwise, or with VERIFY=1, its digest
    decides.
    """
    if status.st_size != row.size:
        return False
    is_believed = status.st_mtime_ns == row.mtime_ns and not parameter("VERIFY", False)
    return is_believed or file_digest(path) == row.sha256


def images_on_disk(folder: Path | None = None) -> dict[str, Path]:
    """Every image file in Train, Val and Test of `folder` (default `datasets/`): '<Class>/<name>' → its path.

    Keys are in Unicode's composed form (NFC), as in records, whatever form the disk uses. If an interrupted move left a
    file on two disks, the second one is removed.
    Raises `Problem` if two files share a name, even if it differs in upper and lower case or in its Unicode form.
    """
    folder = folder or settings.DATASETS
    paths: dict[str, Path] = {}
    first_paths: dict[str, Path] = {}
    for split in SPLITS:
        for key, path in images_in(folder / split):
            other = first_paths.setdefault(key.casefold(), path)
            if other is path:
                paths[key] = path
            elif _is_left_by_a_move(path, other):
                path.unlink()
            else:
                raise Problem(f"{shown(path)} and {shown(other)} share a name; rename one of them and run again.")
    return paths


def images_in(part: Path) -> Iterator[tuple[str, Path]]:
    """Key and path of each image file in Train, Val or Test."""
    for class_name, entry in _files_in(part):
        if is_image_name(entry.name):
            yield unicodedata.normalize("NFC", f"{class_name}/{entry.name}"), Path(entry.path)


def _is_left_by_a_move(path: Path, other: Path) -> bool:
    one, two = path.stat(), other.stat()
    is_moved = (one.st_size, one.st_mtime_ns) == (two.st_size, two.st_mtime_ns) and one.st_dev != two.st_dev
    return is_moved and filecmp.cmp(path, other, shallow=False)


def other_files(folder: Path) -> list[str]:
    """Names of files in Train, Val and Test that do not have an image's file name. They are left where they are."""
    names = [entry.name for split in SPLITS for _, entry in _files_in(folder / split)]
    return sorted(name for name in names if not is_image_name(name) and name not in CLUTTER)


def _files_in(part: Path) -> Iterator[tuple[str, os.DirEntry]]:
    """Each file in a class folder of Train, Val or Test, with the name of its class. Hidden files are left out."""
    for entry in walk(part):
        class_name, *inner = entry.path[len(str(part)) + 1 :].split(os.sep)
        if inner and entry.is_file():
            yield class_name, entry
