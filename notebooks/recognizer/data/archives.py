"""What is inside a folder, a zip or a tar, archives inside archives included; nothing in them is trusted."""

import errno
import lzma
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from ..settings import Problem, room_on_disk
from .place import walk

ENDINGS = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst"),  # Python reads them from 3.14 on; before that, a sentence says what to do
)
# What Python's readers raise for damaged archives; of OSError, only what does not come from the disk (see `members`).
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, NotImplementedError),
)
METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}  # ways to pack in a zip that Python may not know
AES = 99
LOCKED = 0x41  # either of two flags of a file in a zip

# What people take for a zip or tar, by how the file starts.
UNPACK = "unpack it with another program and give the folder"
KINDS = {
    rb"Rar!": f"a RAR archive; {UNPACK}",
    rb"7z\xbc\xaf": f"a 7z archive; {UNPACK}",
    rb"\x28\xb5\x2f\xfd": f"packed with Zstandard, which this Python does not read; {UNPACK}",
    rb"PK\x07\x08": f"the first part of a split one; {UNPACK}",
    rb"PK\x03\x04": f"the beginning of a zip; download the rest of it, or, if it was split, {UNPACK}",
    rb"(\xef\xbb\xbf)?\s*<": "a web page, about the file or to log in; use the address of the file itself",
    rb"version https://git-lfs": "a pointer of Git LFS; run «git lfs pull» in its repository",
}

# What operating systems leave in archives. Left out without a word: nobody misses it.
CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")

# An archive bomb is small and unpacks to more than any disk holds. Pictures are compressed already: twice the size of
# the archive is usual, and no single one needs 200 MB.
LARGEST_FILE = 200_000_000  # bytes
LARGEST_HEADER = 1_000_000  # bytes; tarfile reads long names and other notes on a file into memory
HEADERS = (b"x", b"g", b"X", b"L", b"K")  # the types of such notes
LARGEST_GROWTH = 50  # times the archive's own size …
HARMLESS = 1_000_000_000  # … beyond this many bytes
DEEPEST = 3  # archives in archives


class Member(NamedTuple):
    """One file of an archive: its path inside, and its content, or the reason why it has none."""

    inner: str
    content: bytes
    reason: str = ""


class _Entry(NamedTuple):
    """One line of an archive's own list. `size` is what the archive declares, in bytes."""

    name: str
    size: int
    is_link: bool
    open: Callable[[], BinaryIO]


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


class _TarInfo(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # made to be overridden, says its source
        if self.type in HEADERS and self.size > LARGEST_HEADER:
            name = Path(archive.name or "An archive inside").name
            raise Problem(
                f"{name} has a header of {self.size / 1e6:,.0f} MB, as archive bombs do; nothing of it was taken. Look "
                "inside with an archive program, or use another one."
            )
        return super()._proc_member(archive)


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, packed or not, whatever it is called."""
    with path.open("rb") as file:
        return _is_tar(file) or zipfile.is_zipfile(file)


def what_instead(path: Path) -> str:
    """What a file is that is no zip or tar, and what to do about it; empty where nobody knows."""
    with path.open("rb") as file:
        start = file.read(100)
    return next((what for pattern, what in KINDS.items() if re.match(pattern, start)), "")


def _is_tar(file: BinaryIO) -> bool:
    """Whether a file is a tar. One that ends with a zip inside it looks like a zip as well, so this is asked first."""
    file.seek(0)
    try:
        tarfile.open(fileobj=file, tarinfo=_TarInfo).close()
    except tarfile.TarError:
        return False
    return True


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The files of a folder or archive whose path inside it is `wanted`; / separates folders in it, on any machine.

    In a folder, links are followed. Links in archives, and files of more than `LARGEST_FILE` bytes, come without
    content and with a reason. Hidden files and clutter are passed over. Raises `Problem` for an archive that is
    damaged, locked, a part of a split one or a bomb, and for what cannot be read.
    """
    try:
        if path.is_dir():
            yield from _in_folder(path, wanted)
            return
        if not is_archive(path):
            what = what_instead(path)
            rest = f" but {what}" if what else "; replace it and run again"
            raise Problem(f"{path.name} is neither a zip nor a tar archive{rest}.")
        with path.open("rb") as file:
            yield from _unpacked(file, wanted, _Allowance(path), depth=1)
    except Problem:
        raise
    except DAMAGE as error:
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # EINVAL: a place before the beginning
            name = Path(error.filename or path).name
            raise Problem(f"{name} cannot be read ({error.strerror}).") from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise Problem(f"The archive {path.name} is damaged or locked ({reason}); replace it and run again.") from error


def names(path: Path) -> list[str]:
    """The paths of all files inside a folder or archive, also of those in archives inside. Raises as `members` does."""
    found: list[str] = []
    list(members(path, lambda inner: bool(found.append(inner))))  # None, so that none of them is read
    return found


def count(path: Path, wanted: Callable[[str], bool]) -> int | None:
    """How many files `members` will find, where a look at the list of contents tells; None where it does not."""
    try:
        if path.is_dir():
            inside = [inner for inner, _ in _files(path)]
        else:
            with path.open("rb") as file:
                if _is_tar(file):
                    return None
                with zipfile.ZipFile(file) as archive:
                    inside = [_inner(name) for name in archive.namelist() if not name.endswith("/")]
            if any(name.lower().endswith(ENDINGS) for name in inside):
                return None
    except DAMAGE:  # what `members` will complain of
        return None
    return sum(wanted(inner) and not _is_clutter(inner) for inner in inside)


def check_whole(path: Path) -> None:
    """Read an archive to its last byte, against the checksums inside it. Raises `Problem` as `members` does."""
    for _ in members(path, lambda inner: True):
        pass


def _in_folder(folder: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    for inner, file in _files(folder):
        if wanted(inner) and not _is_clutter(inner):
            is_large = file.stat().st_size > LARGEST_FILE
            yield _too_large(inner) if is_large else Member(inner, file.read_bytes())


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The path inside the folder, and on disk, of every file below it."""
    for entry in walk(folder):
        if entry.is_file():
            yield _inner(Path(entry.path).relative_to(folder).as_posix()), Path(entry.path)


def _too_large(inner: str) -> Member:
    return Member(inner, b"", f"larger than {LARGEST_FILE // 1_000_000} MB")


def _unpacked(file: BinaryIO, wanted: Callable[[str], bool], allowance: _Allowance, depth: int) -> Iterator[Member]:
    if not _is_tar(file):
        with zipfile.ZipFile(file) as archive:
            yield from _read(_zip_entries(archive, allowance), wanted, allowance, depth)
        return
    file.seek(0)
    with tarfile.open(fileobj=file, tarinfo=_TarInfo) as archive:
        yield from _read(_tar_entries(archive, allowance), wanted, allowance, depth)
        while rest := archive.fileobj.read(1 << 20):  # the checksum of a tar.gz comes after its last file
            allowance.spend(len(rest))


def _zip_entries(archive: zipfile.ZipFile, allowance: _Allowance) -> Iterator[_Entry]:
    if any(info.volume for info in archive.infolist()):
        raise Problem(f"{allowance.name} is the last part of a split zip; {UNPACK}.")
    for info in archive.infolist():
        if not info.filename.endswith("/"):  # is_dir stumbles over files without a name
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            yield _Entry(info.filename, info.file_size, is_link, partial(_open, archive, info, allowance))


def _open(archive: zipfile.ZipFile, info: zipfile.ZipInfo, allowance: _Allowance) -> BinaryIO:
    if info.flag_bits & LOCKED or info.compress_type == AES:
        raise Problem(f"{allowance.name} is locked with a password; {UNPACK}.")
    allowance.spend(info.file_size)
    try:
        return archive.open(info)
    except NotImplementedError as error:
        method = METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise Problem(
            f"{allowance.name} is packed with {method}, which this Python does not read; {UNPACK}, or pack it again "
            "with Deflate, the usual method."
        ) from error


def _tar_entries(archive: tarfile.TarFile, allowance: _Allowance) -> Iterator[_Entry]:
    start = 0
    for info in archive:
        # All before the next file, headers included, is unpacked even if it is passed over. A sparse file takes less
        # room in the tar than it has bytes.
        allowance.spend(max(archive.offset - start, info.size))
        start = archive.offset
        if info.isfile() or info.issym() or info.islnk():
            yield _Entry(info.name, info.size, not info.isfile(), partial(archive.extractfile, info))
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end
        raise tarfile.ReadError(f"it is damaged after {archive.offset} bytes")


def _read(
    entries: Iterable[_Entry], wanted: Callable[[str], bool], allowance: _Allowance, depth: int
) -> Iterator[Member]:
    for entry in entries:
        inner = _inner(entry.name)
        is_nested = inner.lower().endswith(ENDINGS)  # Caltech 101 is a tar in a zip
        if _is_clutter(inner) or not (is_nested or wanted(inner)):
            continue
        if entry.is_link:
            yield Member(inner, b"", "a link, not a file")
        elif is_nested:
            yield from _nested(entry, wanted, allowance, depth)
        elif entry.size > LARGEST_FILE:
            yield _too_large(inner)
        else:
            with entry.open() as file:
                yield Member(inner, file.read(LARGEST_FILE))


def _nested(entry: _Entry, wanted: Callable[[str], bool], allowance: _Allowance, depth: int) -> Iterator[Member]:
    if depth == DEEPEST:
        raise Problem(
            f"{allowance.name} holds archives in archives more than {DEEPEST} deep; unpack them first and give the "
            "folder."
        )
    with tempfile.TemporaryFile() as unpacked:
        with (
            entry.open() as packed,
            room_on_disk(f"unpacking {allowance.name}", Path(tempfile.gettempdir()), needed=entry.size),
        ):
            shutil.copyfileobj(packed, unpacked)
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
