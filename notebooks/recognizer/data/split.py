"""Which image goes to Train, Val or Test; and the record of it, `datasets/split.json`.

The record is written before anything moves, so a run that was stopped half way is finished by the next one.
"""

import json
import os
import random
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .. import settings
from ..settings import Problem, shown
from .images import ImageFile, extract
from .sources import ClassFiles

SPLITS = ("Train", "Val", "Test")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")


@dataclass
class Record:
    """What `datasets/split.json` holds: which data set, how it was split, and every file of it.

    `splits` maps '<Class>/<file name>' to 'Train', 'Val' or 'Test'.
    """

    dataset: str
    archives: dict[str, int]
    files: list[ImageFile]
    rejected: list[ImageFile] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    val_share: float = 0.0
    test_share: float = 0.0

    @property
    def classes(self) -> list[str]:
        return sorted({key.split("/")[0] for key in self.splits})

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
    archives = {f"{source.class_name}/{source.path.name}": _size(source.path) for source in files}
    record = read_record()
    if record and (record.dataset, record.archives) == (dataset, archives) and not _missing(record):
        return record
    shutil.rmtree(_incoming(), ignore_errors=True)
    ours = {row.key for row in record.files} if record else set()
    table = extract(files, _incoming(), taken=_present().keys() - ours)
    good, bad = [row for row in table if not row.reason], [row for row in table if row.reason]
    _write_record(
        Record(dataset, archives, good, bad, {row.key: "Train" for row in good}), _incoming() / "record.json"
    )
    _take_in()
    return read_record()


def _take_in() -> None:
    """Move what was extracted completely from `incoming` to its places. Each step can be repeated."""
    arrived = read_record(_incoming() / "record.json")
    if not arrived:
        return
    old = read_record()
    moved = {row.key for row in arrived.files if not (_incoming() / "images" / row.key).exists()}
    present = _present()
    for row in old.files if old else []:
        if row.key in present and row.key not in moved:
            present[row.key].unlink()
    for row in arrived.files:
        if row.key not in moved:
            _move(_incoming() / "images" / row.key, settings.DATASETS / "Train" / row.key)
    for kind, place in (("masks", "Masks"), ("rejected", "Rejected")):
        if (_incoming() / kind).exists():
            shutil.rmtree(settings.DATASETS / place, ignore_errors=True)
            os.replace(_incoming() / kind, settings.DATASETS / place)
    os.replace(_incoming() / "record.json", settings.DATASETS / "split.json")
    shutil.rmtree(_incoming())


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
            if path.suffix.lower() in IMAGE_ENDINGS:
                key = f"{path.parent.name}/{path.name}"
                if key in found:
                    raise Problem(
                        f"{shown(path)} and {shown(found[key])} share a name; rename one of them and run again."
                    )
                found[key] = path
    return found


def _missing(record: Record) -> bool:
    present = _present()
    return any(row.key not in present for row in record.files)


def _size(path: Path) -> int:
    """Bytes of an archive, or of all files of a folder."""
    return (
        sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        if path.is_dir()
        else path.stat().st_size
    )


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
