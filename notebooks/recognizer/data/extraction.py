"""From archives to `datasets/Train`: extract, check, and take in; stopped at any point, the next run ends the same.

Files first go to `datasets/incoming`. When all are there, a record of them is written beside them, and only then is
anything moved or deleted: every such step is in the record and can be repeated.
"""

import hashlib
import itertools
import os
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from .. import settings
from ..progress import progress_bar
from ..settings import Problem, room_on_disk
from .archives import Member, count, members
from .downloads import file_digest
from .images import OWN, ImageFile, check, safe_name
from .record import Record, images_on_disk, read_record, write_record
from .sources import ClassFiles

AT_ONCE = 16  # files that are in memory while they are checked


def extract_into_train(dataset: str, files: list[ClassFiles]) -> Record:
    """Extract `files` into `datasets/Train/<Class>/` in place of what an earlier run had put there.

    Files of the reader's own in these folders stay. When the same archives are there already, nothing is done.
    Masks go to `datasets/Masks/<Class>/`, files that are no images to `datasets/Rejected/<Class>/`.
    Raises `Problem` for a broken archive, a class without a single image, a full disk; what was there before is then
    still there.
    """
    finish_taking_in()
    digests = {path: _digest(path) for path in {source.path for source in files}}
    archives = {
        f"{source.class_name}/{source.path.name}": {"sha256": digests[source.path], "address": source.address}
        for source in files
    }
    record, present = read_record(), images_on_disk()
    if record and (record.dataset, record.archives) == (dataset, archives) and _is_complete(record, present):
        record.files = [row for row in record.files if row.key in present]  # the reader may have removed own ones
        return record
    ours = {row.key for row in record.files if _is_ours(row, present)} if record else set()
    own = {key: path for key, path in present.items() if key not in ours}
    rejected = [row for row in record.rejected if row.is_own] if record else []
    try:
        with room_on_disk("extracting"):
            arrived = _extract(files, own, rejected, is_recovery=record is None)
    except BaseException:
        shutil.rmtree(_incoming(), ignore_errors=True)
        raise
    arrived.dataset, arrived.archives = dataset, archives
    write_record(arrived, _incoming() / "record.json")
    finish_taking_in()
    return read_record()


def _extract(files: list[ClassFiles], own: Mapping[str, Path], rejected: list[ImageFile], is_recovery: bool) -> Record:
    """Put what `files` name into `incoming/images/<Class>/`, `…/masks/…`, `…/rejected/…`, and return the record of it.

    Folders inside an archive are flattened. A file whose name is taken, be it by one of the reader's `own` ('<Class>/
    <name>' → file) of other content, gets the start of its digest added. One that is the same as the reader's own stays
    the reader's; in a recovery, where the record of what is whose was lost, it is taken for one of the archive's.
    """
    record = Record("", {}, [], list(rejected))
    kept_names = {_folded(key): path for key, path in own.items()}
    rejected_names = {_folded(row.key): Path() for row in rejected}
    counts = [count(source.path, source.wants) for source in files]
    total = None if None in counts else sum(counts)
    with ThreadPoolExecutor() as pool, progress_bar("extract", total, "files") as progress:
        for source in files:
            found = members(source.path, source.wants)
            while some := list(itertools.islice(found, AT_ONCE)):
                progress.update(len(some))
                if source.is_mask:
                    record.masks += [_place_mask(source.class_name, mask) for mask in some if not mask.reason]
                    continue
                checked = pool.map(partial(_check, source.class_name, source.path.name), some)
                for (row, content), member in zip(checked, some):
                    if not row.reason:
                        placed = _place(row, content, "images", kept_names)
                        is_own = not is_recovery and placed.key in own
                        record.files.append(replace(placed, origin=OWN) if is_own else placed)
                    elif not member.reason:
                        record.rejected.append(_place(row, content, "rejected", rejected_names))
                    else:  # there is nothing to keep but the reason
                        record.rejected.append(row)
    for class_name in sorted({source.class_name for source in files}):
        if not any(row.class_name == class_name for row in record.files):
            raise Problem(_nothing_of(class_name, files, record))
    return record


def _check(class_name: str, archive: str, member: Member) -> tuple[ImageFile, bytes]:
    return check(class_name, f"{archive}/{member.inner}", member.content, member.reason)


def _nothing_of(class_name: str, files: list[ClassFiles], record: Record) -> str:
    where = sorted({source.path.name for source in files if source.class_name == class_name})
    left_out = [row for row in record.rejected if row.class_name == class_name]
    why = f" ({len(left_out)} file(s) were left out: {left_out[0].name}: {left_out[0].reason})" if left_out else ""
    return f"No image of {class_name} was found in {', '.join(where)}{why}; put images of {class_name} there and run again."


def _place(row: ImageFile, content: bytes, kind: str, taken: dict[str, Path]) -> ImageFile:
    """Write one file under a name that no other has, up to upper and lower case; return its row with that name."""
    for name in _names(row):
        key = _folded(f"{row.class_name}/{name}")
        if key not in taken or (taken[key].name == name and taken[key].read_bytes() == content):
            # The reader's own file of this name and content becomes this one; a third such file gets another name.
            taken[key] = Path()
            _write(_incoming() / kind / row.class_name / name, content)
            return replace(row, name=name)
    raise AssertionError("unreachable: there is no end to the names")


def _place_mask(class_name: str, member: Member) -> str:
    key = f"{class_name}/{safe_name(member.inner)}"
    path = _incoming() / "masks" / key
    if path.exists() and path.read_bytes() != member.content:
        raise Problem(
            f"Two masks of {class_name} are called {path.name}; give each image, and its mask, a name of its own."
        )
    _write(path, member.content)
    return key


def _names(row: ImageFile) -> Iterator[str]:
    """The file's own name, then ones with the start of its digest and, should that not do, a number."""
    name = PurePosixPath(row.name)
    yield row.name
    for number in itertools.count(1):
        yield f"{name.stem}-{row.sha256[:8]}{f'-{number}' if number > 1 else ''}{name.suffix}"


def _folded(key: str) -> str:
    """Two names are one where this is the same: some file systems make no difference between them."""
    return unicodedata.normalize("NFC", key).casefold()


def finish_taking_in() -> None:
    """Move what was extracted completely from `incoming` to its places; throw away what was not."""
    if not (_incoming() / "record.json").exists():
        shutil.rmtree(_incoming(), ignore_errors=True)
        return
    arrived, old = read_record(_incoming() / "record.json"), read_record()
    present = images_on_disk()
    coming = {row.key: row for row in arrived.files}
    ours = {row.key for row in old.files if _is_ours(row, present)} if old else set()
    for key, path in present.items():
        if (_incoming() / "images" / key).exists():
            if key in ours or file_digest(path) == coming[key].sha256:
                path.unlink()
            else:  # the reader put it there after the extraction
                _set_aside(path)
        elif key in ours and key not in coming:
            path.unlink()
    for key in coming:
        _move("images", key, "Train")
    _exchange("masks", "Masks", old.masks if old else [], arrived.masks)
    _exchange(
        "rejected",
        "Rejected",
        [row.key for row in old.rejected] if old else [],
        [row.key for row in arrived.rejected],
    )
    os.replace(_incoming() / "record.json", settings.DATASETS / "split.json")
    shutil.rmtree(_incoming())


def _exchange(kind: str, place: str, old: list[str], new: list[str]) -> None:
    for key in set(old) - set(new):
        (settings.DATASETS / place / key).unlink(missing_ok=True)
    for key in new:
        _move(kind, key, place)


def _move(kind: str, key: str, place: str) -> None:
    """From `incoming` to its place, unless an earlier run did that."""
    if (_incoming() / kind / key).exists():
        (settings.DATASETS / place / key).parent.mkdir(parents=True, exist_ok=True)
        os.replace(_incoming() / kind / key, settings.DATASETS / place / key)


def _set_aside(path: Path) -> None:
    for number in itertools.count(1):
        other = path.with_name(f"{path.stem}-own-{number}{path.suffix}")
        if not other.exists():
            path.rename(other)
            return


def _is_complete(record: Record, present: Mapping[str, Path]) -> bool:
    return all(row.is_own or row.key in present for row in record.files)


def _is_ours(row: ImageFile, present: Mapping[str, Path]) -> bool:
    """Whether the file is still the one that was put there; one that the reader changed is the reader's."""
    return not row.is_own and row.key in present and file_digest(present[row.key]) == row.sha256


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files of a folder."""
    if path.is_file():
        return file_digest(path)
    inner = sorted(file for file in path.rglob("*") if file.is_file())
    listing = [f"{file.relative_to(path).as_posix()} {file_digest(file)}" for file in inner]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def _incoming() -> Path:
    return settings.DATASETS / "incoming"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
