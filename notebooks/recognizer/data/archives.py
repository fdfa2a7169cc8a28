"""What is inside a folder, a zip or a tar, archives inside archives included."""

import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..settings import Problem

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    OSError,
    RuntimeError,
    NotImplementedError,
)

# What operating systems leave in archives. Left out without a word: nobody misses it.
CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")


def is_archive(path: Path) -> bool:
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The files of a folder or archive whose path inside it is `wanted`: (file name, content).

    Hidden files and clutter are passed over. Raises `Problem` for an archive that is damaged, or locked.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            inner = file.relative_to(path).as_posix()
            if file.is_file() and not _is_clutter(inner) and wanted(inner):
                yield file.name, file.read_bytes()
        return
    if not is_archive(path):
        raise Problem(f"{path.name} is neither a zip nor a tar archive; replace it and run again.")
    try:
        with path.open("rb") as file:
            yield from _unpacked(file, wanted)
    except DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise Problem(
            f"The archive {path.name} is damaged or locked ({reason}); replace it and run again."
        ) from error


def _unpacked(file: BinaryIO, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            entries = (info for info in archive.infolist() if not info.is_dir())
            yield from _read(((info.filename, partial(archive.open, info)) for info in entries), wanted)
        return
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        entries = (info for info in archive if info.isfile())
        yield from _read(((info.name, partial(archive.extractfile, info)) for info in entries), wanted)


def _read(
    entries: Iterable[tuple[str, Callable[[], BinaryIO]]], wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    for name, open_entry in entries:
        inner = PurePosixPath(name).as_posix()  # tar writes ./name
        if _is_clutter(inner):
            continue
        if inner.lower().endswith(ENDINGS):  # Caltech 101 is a tar in a zip
            with open_entry() as packed, tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(packed, unpacked)
                unpacked.seek(0)
                yield from _unpacked(unpacked, wanted)
        elif wanted(inner):
            with open_entry() as file:
                yield PurePosixPath(inner).name, file.read()


def _is_clutter(inner: str) -> bool:
    return any(part in CLUTTER or part.startswith(".") for part in PurePosixPath(inner).parts)
