"""Which image goes to Train, Val or Test; and the record of it, `datasets/split.json`.

The record is written before anything moves, so a run that was stopped half way is finished by the next one.
"""

import hashlib
import json
import os
import random
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from .. import settings
from ..settings import Problem, shown
from .images import ImageFile, extract
from .sources import ClassFiles

SPLITS = ("Train", "Val", "Test")


@dataclass
class Record:
    """What `datasets/split.json` holds: which data set, how it was split, and every file of it.

    `archives` maps '<Class>/<archive>' to its SHA-256, `splits` '<Class>/<image>' to 'Train', 'Val' or 'Test'; `files`
    are the images that came out of the archives, without the reader's own, which have a place in `splits` alone.
    """

    dataset: str
    archives: dict[str, str]
    files: list[ImageFile]
    rejected: list[ImageFile] = field(default_factory=list)
    masks: list[str] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    val_share: float = 0.0
    test_share: float = 0.0

    @property
    def classes(self) -> list[str]:
        return sorted({key.split("/")[0] for key in self.splits})

    @property
    def name(self) -> str:
        """The data set's name and the start of a digest of who is in which part: other images, another name."""
        contents = sorted((row.key, row.sha256) for row in self.files)
        return f"{self.dataset}-{hashlib.sha256(repr((contents, sorted(self.splits.items()))).encode()).hexdigest()[:6]}"

    @property
    def is_split(self) -> bool:
        return self.val_share > 0

    def count(self, class_name: str, place: str) -> int:
        """Number of images of a class in 'Train', 'Val' or 'Test'."""
        return sum(key.startswith(f"{class_name}/") and where == place for key, where in self.splits.items())


def read_record(path: Path | None = None) -> Record | None:
    """The record of what lies in `datasets/`, or None where nothing was prepared yet."""
    path = path or settings.DATASETS / "split.json"
    if not path.exists():
        return None
    fields = json.loads(path.read_text("utf-8"))
    for key in ("files", "rejected"):
        fields[key] = [ImageFile(**row) for row in fields[key]]
    return Record(**fields)


def _write_record(record: Record, path: Path) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(asdict(record), indent=1, ensure_ascii=False), "utf-8")
    os.replace(unfinished, path)


def extract_into_train(dataset: str, files: list[ClassFiles]) -> Record:
    """Extract `files` into `datasets/Train/<Class>/` in place of what an earlier run had put there.

    Files of the reader's own in these folders stay. When the same archives are there already, nothing is done.
    Masks go to `datasets/Masks/<Class>/`, images that do not decode to `datasets/Rejected/<Class>/`.
    Raises `Problem` as `extract` does; what was there before is then still there.
    """
    _take_in()  # what an interrupted run had extracted completely
    archives = {f"{source.class_name}/{source.path.name}": _digest(source.path) for source in files}
    record, present = read_record(), _present()
    if (
        record
        and (record.dataset, record.archives) == (dataset, archives)
        and _known(record) <= present.keys()
    ):
        return record
    shutil.rmtree(_incoming(), ignore_errors=True)
    ours = {row.key for row in record.files if _is_unchanged(row, present)} if record else set()
    table, masks = extract(
        files, _incoming(), {key: path for key, path in present.items() if key not in ours}
    )
    good, bad = [row for row in table if not row.reason], [row for row in table if row.reason]
    record = Record(dataset, archives, good, bad, masks, splits={row.key: "Train" for row in good})
    _write_record(record, _incoming() / "record.json")
    _take_in()
    return read_record()


def _take_in() -> None:
    """Move what was extracted completely from `incoming` to its places. Each step can be repeated."""
    arrived, old = read_record(_incoming() / "record.json"), read_record()
    if not arrived:
        return
    present = _present()
    waiting = {row.key for row in arrived.files if (_incoming() / "images" / row.key).exists()}
    outdated: set[str] = set()
    if old:
        outdated = {row.key for row in old.files if _is_unchanged(row, present)} - _known(arrived)
    # Where the name of one that waits is taken, it is by the same content: see `extract`.
    for key in (outdated | waiting) & present.keys():
        present[key].unlink()
    for key in sorted(waiting):
        _move(_incoming() / "images" / key, settings.DATASETS / "Train" / key)
    _exchange("masks", old.masks if old else [], arrived.masks)
    _exchange(
        "rejected", [row.key for row in old.rejected] if old else [], [row.key for row in arrived.rejected]
    )
    os.replace(_incoming() / "record.json", settings.DATASETS / "split.json")
    shutil.rmtree(_incoming())


def _exchange(kind: str, old: list[str], new: list[str]) -> None:
    for key in set(old) - set(new):
        (settings.DATASETS / kind.capitalize() / key).unlink(missing_ok=True)
    for key in new:
        if (_incoming() / kind / key).exists():
            _move(_incoming() / kind / key, settings.DATASETS / kind.capitalize() / key)


def _known(record: Record) -> set[str]:
    return {row.key for row in record.files}


def _is_unchanged(row: ImageFile, present: dict[str, Path]) -> bool:
    """Whether the file is still the one that was put there; one that the reader changed is the reader's."""
    return row.key in present and _digest(present[row.key]) == row.sha256


def split_images(val_share: float = 0.2, test_share: float = 0.2, seed: int = 0) -> Record:
    """Move a random share of each class from Train to Val and Test, or undo and redo an earlier split.

    The choice depends on `seed` and the files' names alone. Images of the reader's own take part.
    Raises `Problem` when a class has too few images for all three, or two of them share a name.
    """
    record, present = read_record(), _present()
    plan: dict[str, str] = {}
    for class_name in sorted({key.split("/")[0] for key in present}):
        keys = sorted(key for key in present if key.startswith(f"{class_name}/"))
        shuffled = random.Random(f"{seed} {class_name}").sample(keys, len(keys))
        plan |= dict(zip(shuffled, _places(class_name, len(keys), val_share, test_share)))
    record.splits = dict(sorted(plan.items()))
    record.seed, record.val_share, record.test_share = seed, val_share, test_share
    _write_record(record, settings.DATASETS / "split.json")
    for key, place in record.splits.items():
        if present[key] != settings.DATASETS / place / key:
            _move(present[key], settings.DATASETS / place / key)
    return record


def _places(class_name: str, count: int, val_share: float, test_share: float) -> list[str]:
    """'Train', 'Val' or 'Test' for each of `count` images: shares rounded, the rest to Train."""
    if not (0 < val_share and 0 < test_share and val_share + test_share < 1):
        raise Problem(
            f"Shares of {val_share} for Val and {test_share} for Test leave a part empty; try 0.2 and 0.2."
        )
    val, test = round(count * val_share), round(count * test_share)
    if min(val, test, count - val - test) < 1:
        raise Problem(
            f"{class_name} has {count} image(s), too few for Train, Val and Test; add images of {class_name}."
        )
    return ["Val"] * val + ["Test"] * test + ["Train"] * (count - val - test)


def _incoming() -> Path:
    return settings.DATASETS / "incoming"


def _present() -> dict[str, Path]:
    """Every image in Train, Val and Test: '<Class>/<name>' → where it lies."""
    found: dict[str, Path] = {}
    for place in SPLITS:
        for path in sorted((settings.DATASETS / place).glob("[!.]*/[!.]*")):
            if path.suffix.lower() in IMG_EXTENSIONS:
                key = f"{path.parent.name}/{path.name}"
                if key in found:
                    raise Problem(
                        f"{shown(path)} and {shown(found[key])} share a name; rename one of them and run again."
                    )
                found[key] = path
    return found


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files of a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    inner = sorted(file for file in path.rglob("*") if file.is_file())
    listing = [(file.relative_to(path).as_posix(), _digest(file)) for file in inner]
    return hashlib.sha256(repr(listing).encode()).hexdigest()


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
