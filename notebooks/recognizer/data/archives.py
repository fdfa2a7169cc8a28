"""What is inside a folder, a zip or a tar, archives inside archives included; nothing in them is trusted."""

import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from ..settings import Problem, room_on_disk

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)

# What operating systems leave in archives. Left out without a word: nobody misses it.
CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")

# An archive bomb is small and unpacks to more than any disk holds. Pictures are compressed already: twice the size of
# the archive is usual, and no single one needs 200 MB.
LARGEST_FILE = 200_000_000  # bytes
LARGEST_GROWTH = 50  # times the archive's own size …
HARMLESS = 1_000_000_000  # … beyond this many bytes
DEEPEST = 3  # archives in archives


class Member(NamedTuple):
    """One file of an archive: its path inside, and its content, or the reason why it has none."""

    inner: str
    content: bytes
    reason: str = ""


class _Entry(NamedTuple):
    """One line of an archive's own list. `size` is what the archive declares, in bytes; to pass over it costs `passing`."""

    name: str
    size: int
    is_link: bool
    open: Callable[[], BinaryIO]
    passing: int = 0


class _Allowance:
    """How many bytes may still be unpacked before the archive counts as a bomb."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.left = max(HARMLESS, LARGEST_GROWTH * path.stat().st_size)

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Problem(
                f"{self.name} unpacks to many times its own size, as archive bombs do; nothing of it was taken. "
                "Look inside with an archive program, or use another one."
            )


def is_archive(path: Path) -> bool:
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def _is_zip(file: BinaryIO) -> bool:
    """A zip is told by its end, and so a tar that ends with a zip inside it looks like one."""
    if not zipfile.is_zipfile(file):
        return False
    file.seek(0)
    return not tarfile.is_tarfile(file)


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The files of a folder or archive whose path inside it is `wanted`; / separates folders in it, on any machine.

    Links, and files of more than `LARGEST_FILE` bytes, come without content and with a reason. Hidden files and clutter
    are passed over. Raises `Problem` for an archive that is damaged, locked or a bomb, and for what cannot be read.
    """
    if path.is_dir():
        yield from _in_folder(path, wanted)
        return
    if not is_archive(path):
        raise Problem(f"{path.name} is neither a zip nor a tar archive; replace it and run again.")
    try:
        with room_on_disk(f"unpacking {path.name}"), path.open("rb") as file:
            yield from _unpacked(file, wanted, _Allowance(path), depth=1)
    except Problem:
        raise
    except DAMAGE as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise Problem(f"The archive {path.name} is damaged or locked ({reason}); replace it and run again.") from error


def count(path: Path, wanted: Callable[[str], bool]) -> int | None:
    """How many files `members` will find, where a look at the list of contents tells; None where it does not."""
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    else:
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                if not _is_zip(file):
                    return None
                names = [_inner(name) for name in archive.namelist() if not name.endswith("/")]
        except DAMAGE:  # a tar, or what `members` will complain of
            return None
        if any(name.lower().endswith(ENDINGS) for name in names):
            return None
    return sum(wanted(name) and not _is_clutter(name) for name in names)


def check_whole(path: Path) -> None:
    """Read an archive to its last byte, against the checksums inside it. Raises `Problem` as `members` does."""
    for _ in members(path, lambda inner: True):
        pass


def _in_folder(folder: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    for file in sorted(folder.rglob("*")):
        inner = file.relative_to(folder).as_posix()
        if not file.is_file() or _is_clutter(inner) or not wanted(inner):
            continue
        if file.stat().st_size > LARGEST_FILE:
            yield Member(inner, b"", f"larger than {LARGEST_FILE // 1_000_000} MB")
            continue
        try:
            content = file.read_bytes()
        except OSError as error:
            raise Problem(f"{inner} in {folder.name} cannot be read ({error.strerror}).") from error
        yield Member(inner, content)


def _unpacked(file: BinaryIO, wanted: Callable[[str], bool], allowance: _Allowance, depth: int) -> Iterator[Member]:
    if _is_zip(file):
        with zipfile.ZipFile(file) as archive:
            yield from _read(_zip_entries(archive), wanted, allowance, depth)
        return
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        yield from _read(_tar_entries(archive), wanted, allowance, depth)
        while rest := archive.fileobj.read(1 << 20):  # the checksum of a tar.gz comes after its last file
            allowance.spend(len(rest))


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        if not info.is_dir():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            yield _Entry(info.filename, info.file_size, is_link, lambda info=info: archive.open(info))


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    for info in archive:
        if info.isfile() or info.issym() or info.islnk():
            # A compressed tar is unpacked to the end of what is passed over, too.
            yield _Entry(
                info.name,
                info.size,
                not info.isfile(),
                lambda info=info: archive.extractfile(info),
                info.size,
            )


def _read(
    entries: Iterable[_Entry], wanted: Callable[[str], bool], allowance: _Allowance, depth: int
) -> Iterator[Member]:
    for entry in entries:
        inner = _inner(entry.name)
        is_nested = inner.lower().endswith(ENDINGS)  # Caltech 101 is a tar in a zip
        if _is_clutter(inner) or not (is_nested or wanted(inner)):
            allowance.spend(entry.passing)
            continue
        if entry.is_link:
            yield Member(inner, b"", "a link, not a file")
        elif is_nested:
            yield from _nested(entry, wanted, allowance, depth)
        elif entry.size > LARGEST_FILE:
            allowance.spend(entry.passing)
            yield Member(inner, b"", f"larger than {LARGEST_FILE // 1_000_000} MB")
        else:
            allowance.spend(entry.size)
            with entry.open() as file:
                yield Member(inner, file.read(LARGEST_FILE))


def _nested(entry: _Entry, wanted: Callable[[str], bool], allowance: _Allowance, depth: int) -> Iterator[Member]:
    if depth == DEEPEST:
        raise Problem(
            f"{allowance.name} holds archives in archives more than {DEEPEST} deep; unpack them first and give the folder."
        )
    with entry.open() as packed, tempfile.TemporaryFile() as unpacked:
        while chunk := packed.read(1 << 20):
            allowance.spend(len(chunk))
            unpacked.write(chunk)
        unpacked.seek(0)
        yield from _unpacked(unpacked, wanted, allowance, depth + 1)


def _inner(name: str) -> str:
    """A path inside an archive as text of one kind: tar writes ./name, old Windows programs write folder\\name.

    Bytes that are no text in any known encoding, which Python reads as half characters, become question marks.
    """
    return PurePosixPath(name.replace("\\", "/")).as_posix().encode("utf-8", "replace").decode("utf-8")


def _is_clutter(inner: str) -> bool:
    return any(
        part in CLUTTER or (part.startswith(".") and part not in (".", "..")) for part in PurePosixPath(inner).parts
    )
