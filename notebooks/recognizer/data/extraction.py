"""Extract images from archives, check them, and move them to `datasets/Train`.

Files first go to `datasets/incoming`. When all of them are there, a record is written beside them. Only then does
`taking_in` move anything. If a run is stopped at any point, the next run leads to the same result.
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from .. import settings
from ..inputs import without_warnings
from ..progress import progress_bar
from ..settings import Problem, parameter, room_on_disk
from .archives import Member, count, members
from .downloads import file_digest
from .images import OWN, ImageFile, check, safe_name
from .layout import ClassFiles
from .place import alone_in, walk
from .record import Record, images_on_disk, is_unchanged, read_record, write_record
from .taking_in import bring_back, finish_taking_in, folded

AT_ONCE = 16  # files in memory at a time while they are checked


def extract_into_train(dataset: str, files: list[ClassFiles], folder: Path | None = None) -> Record:
    """Extract `files` into `Train/<Class>/` of `folder` (default `datasets/`), in place of an earlier data set.

    The earlier data set goes to `aside/<its name>`, and comes back from there when its archives are given again. If the
    images of these archives are already in place, nothing is done. The user's own files stay where they are.
    Masks go to `Masks/<Class>/`, and files that are not images go to `Rejected/<Class>/`.
    Raises `Problem` for a broken archive, a class without images, or a full disk. The earlier files then stay.
    """
    folder = folder or settings.DATASETS
    with alone_in(folder):
        finish_taking_in(folder)
        record, present = read_record(folder / "split.json"), images_on_disk(folder)
        archives, stamps = _described(files, record)
        if record and (record.dataset, record.archives) == (dataset, archives) and _is_complete(record, present):
            if record.stamps != stamps:
                record.stamps = stamps
                write_record(record, folder / "split.json")
            record.files = [row for row in record.files if row.key in present]  # the user may have removed own images
            return record
        ours = {row.key for row in record.files if _is_ours(row, present)} if record else set()
        own = {key: path for key, path in present.items() if key not in ours}
        own_rejected = [row for row in record.rejected if row.is_own] if record else []
        arriving = Record(dataset, archives, [], own_rejected, stamps=stamps)
        if not bring_back(folder, arriving, own):
            incoming = folder / "incoming"
            try:
                with room_on_disk("extracting", folder):
                    _extract(files, arriving, incoming, own, is_recovery=record is None)
            except BaseException:
                shutil.rmtree(incoming, ignore_errors=True)
                raise
            write_record(arriving, incoming / "record.json")
            finish_taking_in(folder)
        return read_record(folder / "split.json")


def _described(files: list[ClassFiles], record: Record | None) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """`archives` and `stamps` as a record holds them. A digest in `record` is reused while the stamp is the same."""
    archives, stamps = {}, {}
    digests: dict[str, str] = {}
    if record and not parameter("VERIFY", False):
        digests = {stamp: record.archives[key]["sha256"] for key, stamp in record.stamps.items()}
    for source in files:
        key = f"{'masks/' * source.is_mask}{source.class_name}/{source.path.name}"
        stamps[key] = _stamp(source.path)
        if stamps[key] not in digests:
            digests[stamps[key]] = _digest(source.path)
        archives[key] = {"sha256": digests[stamps[key]], "address": source.address}
    return archives, stamps


@without_warnings()
def _extract(
    files: list[ClassFiles], record: Record, incoming: Path, own: Mapping[str, Path], *, is_recovery: bool
) -> None:
    """Put the files into `incoming/images/<Class>/`, `…/masks/…` or `…/rejected/…`, and add them to `record`.

    Folders inside an archive are flattened. `own` are the user's images ('<Class>/<name>' → path). If a name is taken
    by a file with other content, the start of the digest is added to it. A file that is identical to an own image
    counts as the user's. In a recovery, where the record of own images was lost, it counts as the archive's.
    """
    kept_names = {folded(key): path for key, path in own.items()}
    rejected_names = {folded(row.key): Path() for row in record.rejected}
    counts = [count(source.path, source.wants) for source in files]
    total = None if None in counts else sum(counts)
    with ThreadPoolExecutor() as pool, progress_bar("extract", total, "files") as progress:
        for source in files:
            incoming_files = members(source.path, source.wants)
            while chunk := list(itertools.islice(incoming_files, AT_ONCE)):
                progress.update(len(chunk))
                if source.is_mask:
                    masks = [mask for mask in chunk if not mask.reason]
                    record.masks += [_place_mask(source.class_name, mask, incoming) for mask in masks]
                    continue
                checked = pool.map(partial(_check, source.class_name, source.path.name), chunk)
                for (row, content), member in zip(checked, chunk):
                    if not row.reason:
                        placed = _place(row, content, incoming / "images", kept_names)
                        is_own = not is_recovery and placed.key in own
                        record.files.append(replace(placed, origin=OWN) if is_own else placed)
                    elif not member.reason:
                        record.rejected.append(_place(row, content, incoming / "rejected", rejected_names))
                    else:  # there is nothing to keep but the reason
                        record.rejected.append(row)
    for class_name in sorted({source.class_name for source in files}):
        if not any(row.class_name == class_name for row in record.files):
            raise Problem(_nothing_of(class_name, files, record))


def _check(class_name: str, archive: str, member: Member) -> tuple[ImageFile, bytes]:
    return check(class_name, f"{archive}/{member.inner}", member.content, member.reason)


def _nothing_of(class_name: str, files: list[ClassFiles], record: Record) -> str:
    archives = sorted({source.path.name for source in files if source.class_name == class_name})
    left_out = [row for row in record.rejected if row.class_name == class_name]
    why = ""
    if left_out:
        why = f" ({len(left_out)} file(s) were left out, such as {left_out[0].name}: {left_out[0].reason})"
    return f"No image of {class_name} was found in {', '.join(archives)}{why}; put some there and run again."


def _place(row: ImageFile, content: bytes, folder: Path, taken: dict[str, Path]) -> ImageFile:
    """Write one file under a name that no other file has, ignoring case; return its row with that name."""
    for name in _names(row):
        key = folded(f"{row.class_name}/{name}")
        if key not in taken or (taken[key].name == name and taken[key].read_bytes() == content):
            # The user's own file of this name and content becomes this one; a third such file gets another name.
            taken[key] = Path()
            return replace(row, name=name, mtime_ns=_write(folder / row.class_name / name, content))
    raise AssertionError("unreachable: the names never end")


def _place_mask(class_name: str, member: Member, incoming: Path) -> str:
    key = f"{class_name}/{safe_name(member.inner)}"
    path = incoming / "masks" / key
    if path.exists() and path.read_bytes() != member.content:
        raise Problem(
            f"Two masks of {class_name} are called {path.name}; give each image and its mask a name of their own."
        )
    _write(path, member.content)
    return key


def _names(row: ImageFile) -> Iterator[str]:
    """The file's own name, then names with the start of its digest and, if these are taken too, a number."""
    name = PurePosixPath(row.name)
    yield row.name
    for number in itertools.count(1):
        yield f"{name.stem}-{row.sha256[:8]}{f'-{number}' if number > 1 else ''}{name.suffix}"


def _is_complete(record: Record, present: Mapping[str, Path]) -> bool:
    return all(row.is_own or row.key in present for row in record.files)


def _is_ours(row: ImageFile, present: Mapping[str, Path]) -> bool:
    """Whether the file is still the one that was put there. A file that the user changed is the user's own."""
    return not row.is_own and row.key in present and is_unchanged(row, present[row.key], present[row.key].stat())


def _stamp(path: Path) -> str:
    """A text that changes with the path, size or modification time of a file, or of any file in a folder."""
    text = os.path.realpath(path)
    for file in _inner_files(path):
        status = file.stat()
        text += f"\n{file.relative_to(path).as_posix()} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files in a folder."""
    try:
        digests = {file.relative_to(path).as_posix(): file_digest(file) for file in _inner_files(path)}
    except OSError as error:
        name = Path(error.filename).name
        raise Problem(f"{name} in {path.name} cannot be read ({error.strerror}); check it and run again.") from error
    if path.is_file():
        return digests["."]
    listing = [f"{name} {digest}" for name, digest in digests.items()]
    return hashlib.sha256("\n".join(listing).encode("utf-8", "surrogateescape")).hexdigest()


def _inner_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [Path(entry.path) for entry in walk(path) if entry.is_file()]


def _write(path: Path, content: bytes) -> int:
    """Write a file, and return its modification time in nanoseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path.stat().st_mtime_ns
