"""Pictures that stay in shards: read once to describe them, then dealt to Train, Val and Test by their digests.

`datasets/shards/<name>/` holds `<shard>.json`, a record of each shard that was read; `split.json`, the record of all;
and `pictures/<Class>/`, some images to look at. `datasets/shards/current` names the data set in use, if it is one.
"""

import bisect
import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from .. import settings
from ..inputs import without_warnings
from ..progress import progress_bar
from ..settings import Problem, parameter
from .duplicates import near_copies
from .images import ImageFile, check, safe_name
from .layout import check_names
from .place import SPLITS, alone_in
from .record import Record, read_record, write_record
from .shard_members import Member, members
from .shard_source import file_stamp, is_on_server, open_shard

TO_LOOK_AT = 300  # images of each class that are kept as files
AT_ONCE = 64  # images in memory at a time while they are checked


def place_of(name: str, folder: Path | None = None) -> Path:
    """The folder for what is known of the shards of the data set `name`."""
    return (folder or settings.DATASETS) / "shards" / name


def current_shards(folder: Path | None = None) -> Record | None:
    """The record of the shards that are the data set in use, or None if its images are files in `folder`."""
    current = place_of("current", folder)
    return read_record(place_of(current.read_text("utf-8"), folder) / "split.json") if current.exists() else None


def forget_current(folder: Path) -> None:
    """From now on, the images in `folder` are the data set in use, and not shards."""
    current = place_of("current", folder)
    if current.exists():  # the folder may be one that can only be read
        current.unlink()


def read_shards(name: str, shards: dict[str, str], folder: Path | None = None) -> Record:
    """Read every shard once, and make these the data set in use. `name` and `shards` are as from `named_shards`.

    The images are compared with each other, and the smallest SHA-256 in a group of near-copies is the group's digest.
    Shards that were read before and have not changed are not read again. On a server, this is believed until training
    reads them; VERIFY=1 reads all. An image that cannot be used is left out, with a reason in the record.
    Raises `Problem` for a shard that cannot be read to its end, because a missing shard would change every result. What
    was read before is kept, so the next call continues there.
    """
    place = place_of(name, folder)
    with alone_in(folder or settings.DATASETS, doing="reading shards"):
        record = read_record(place / "split.json")
        if record is None or record.shards != shards or not _is_unchanged(record):
            record = _read_all(name, shards, place)
            write_record(record, place / "split.json")
        unfinished = place_of("current.part", folder)
        unfinished.write_text(name, "utf-8")
        unfinished.replace(place_of("current", folder))
    if record.rejected:
        first = f"{record.rejected[0].origin}: {record.rejected[0].reason}"
        print(f"{len(record.rejected):,} image(s) in the shards cannot be used and are left out, such as {first}.")
    return record


def deal_shards(record: Record, val_share: float, test_share: float, seed: int, folder: Path | None = None) -> Record:
    """The record with a part for each image, decided by the digest of its group alone (see `part_of`).

    So the shares are met on average, not exactly. Raises `Problem` if a part has no images of a class.
    """
    if not (val_share > 0 and test_share > 0 and val_share + test_share < 1):
        raise Problem(f"Shares of {val_share} for Val and {test_share} for Test leave a part empty; try 0.2 and 0.2.")
    if (record.val_share, record.test_share, record.seed) == (val_share, test_share, seed):
        return record
    files = [replace(row, split=part_of(row.group, val_share, test_share, seed)) for row in record.files]
    filled = Counter((row.class_name, row.split) for row in files)
    for class_name in record.classes:
        if empty := [part for part in SPLITS if not filled[class_name, part]]:
            rows = [row for row in files if row.class_name == class_name]
            raise Problem(
                f"The shards have {len(rows)} image(s) of {class_name}, the first in {rows[0].origin}, and none of "
                f"them is in {' and '.join(empty)}. Add images, use larger shares, or correct the class."
            )
    record = replace(record, files=files, val_share=val_share, test_share=test_share, seed=seed)
    write_record(record, place_of(record.dataset, folder) / "split.json")
    return record


def part_of(group: str, val_share: float, test_share: float, seed: int) -> str:
    """'Train', 'Val' or 'Test' for all images of the group with this digest, whatever other images there are."""
    place = int(hashlib.sha256(f"{seed} {group}".encode()).hexdigest()[:16], 16) / 16**16
    return "Test" if place < test_share else "Val" if place < test_share + val_share else "Train"


def kept_pictures(record: Record, folder: Path | None = None) -> dict[str, Path]:
    """The images of shards that are files as well: '<Class>/<name>' → path. At most 300 of each class."""
    pictures = place_of(record.dataset, folder) / "pictures"
    return {f"{path.parent.name}/{path.name}": path for path in sorted(pictures.glob("*/*"))}


def _is_unchanged(record: Record) -> bool:
    """Whether the shards are those that `record` describes. On a server, this is believed."""
    return not parameter("VERIFY", False) and all(
        is_on_server(address) or record.stamps[shard] == file_stamp(address) for shard, address in record.shards.items()
    )


def _read_all(name: str, shards: dict[str, str], place: Path) -> Record:
    """The record of all shards, with groups of near-copies. What an earlier run has read is not read again."""
    looks = _ToLookAt(place / "pictures")
    record = Record(name, {}, [], shards=shards)
    with progress_bar("read shards", len(shards), "shards") as progress:
        for shard, address in shards.items():
            index = place / f"{safe_name(shard.replace('/', '_'))}.json"
            part = read_record(index)
            if part is None or part.shards != {shard: address} or not _is_unchanged(part):
                part = _read(shard, address, looks)
                write_record(part, index)
            else:
                looks.know(part.files)
            record.files += part.files
            record.rejected += part.rejected
            record.stamps |= part.stamps
            progress.update()
    looks.tidy()
    check_names(name, record.classes)
    record.files = _grouped(record.files)
    return record


def _grouped(files: Sequence[ImageFile]) -> list[ImageFile]:
    """The same rows, with the digest of the group of each: the smallest SHA-256 of its images."""
    numbers = near_copies([row.fingerprint for row in files])
    smallest: dict[int, str] = {}
    for number, row in zip(numbers, files):
        smallest[number] = min(smallest.get(number, row.sha256), row.sha256)
    return [replace(row, group=smallest[number]) for number, row in zip(numbers, files)]


@without_warnings()
def _read(shard: str, address: str, looks: "_ToLookAt") -> Record:
    """Read a shard to its end, and check each image."""
    file, stamp = open_shard(shard, address)
    record = Record(shard, {}, [], stamps={shard: stamp}, shards={shard: address})
    origins, keys = set(), set()
    with file, ThreadPoolExecutor() as pool:
        incoming = members(shard, file)
        while chunk := list(itertools.islice(incoming, AT_ONCE)):
            for row, content in pool.map(partial(_checked, shard), chunk):
                if not row.reason and row.origin in origins:
                    row = replace(row, reason="another file of the same path is in the shard")
                origins.add(row.origin)
                if row.reason:
                    record.rejected.append(row)
                    continue
                row = _under_free_name(row, keys)
                keys.add(row.key.casefold())
                record.files.append(row)
                looks.offer(row, content)
    if not record.files:
        why = f": {record.rejected[0].origin}: {record.rejected[0].reason}" if record.rejected else ""
        raise Problem(f"The shard {shard} has no image that can be used{why}. Correct it, or leave it out of DATASET.")
    return record


def _checked(shard: str, member: Member) -> tuple[ImageFile, bytes]:
    """The row of a member. Its name begins with that of the shard, because shards often number their files alike."""
    name = f"{shard.partition('.tar')[0].replace('/', '_')}-{PurePosixPath(member.inner).name}"
    row, content = check(member.class_name, name, member.content, member.reason)
    return replace(row, origin=f"{shard}/{member.inner}"), content


def _under_free_name(row: ImageFile, keys: set[str]) -> ImageFile:
    numbered = (replace(row, name=f"{number}-{row.name}") for number in itertools.count(2))
    return next(row for row in itertools.chain([row], numbered) if row.key.casefold() not in keys)


class _ToLookAt:
    """Keeps the images of each class with the smallest digests as files: a random choice that any order leads to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.smallest: dict[str, list[tuple[str, str]]] = defaultdict(list)  # class → digests and names

    def offer(self, row: ImageFile, content: bytes) -> None:
        """Write an image to a file, if its digest is among the smallest so far."""
        if self._choose(row):
            path = self.folder / row.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def know(self, rows: Sequence[ImageFile]) -> None:
        """Take images of an earlier run into account. The files of those that it chose are there."""
        for row in rows:
            self._choose(row)

    def _choose(self, row: ImageFile) -> bool:
        chosen, entry = self.smallest[row.class_name], (row.sha256, row.name)
        if len(chosen) == TO_LOOK_AT and entry > chosen[-1]:
            return False
        bisect.insort(chosen, entry)
        del chosen[TO_LOOK_AT:]
        return True

    def tidy(self) -> None:
        """Remove the files that others have replaced."""
        wanted = {self.folder / name / file for name, chosen in self.smallest.items() for _, file in chosen}
        for path in self.folder.glob("*/*"):
            if path not in wanted:
                path.unlink()
