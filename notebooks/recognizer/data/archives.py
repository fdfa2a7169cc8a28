"""Read what is in a folder, a zip or a tar, including archives inside archives. Their content is not trusted."""

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
    *(".tar.zst", ".tzst"),  # Python reads these from 3.14 on; older versions raise a `Problem`
)
# What Python raises for damaged archives. An OSError counts only if the disk did not cause it (see `members`).
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, NotImplementedError),
)
METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}  # compression methods that Python may not support
AES = 99
LOCKED = 0x41  # two flags, either of which marks an encrypted file in a zip

# Files that people mistake for a zip or tar, recognized by their first bytes.
UNPACK = "unpack it with another program and use the folder"
KINDS = {
    rb"Rar!": f"a RAR archive; {UNPACK}",
    rb"7z\xbc\xaf": f"a 7z archive; {UNPACK}",
    rb"\x28\xb5\x2f\xfd": f"compressed with Zstandard, which this Python cannot read; {UNPACK}",
    rb"PK\x07\x08": f"the first part of a split archive; {UNPACK}",
    rb"PK\x03\x04": f"only the beginning of a zip; download it again, or, if it was split, {UNPACK}",
    rb"(\xef\xbb\xbf)?\s*<": "a web page, about the file or for a login; use the address of the file itself",
    rb"version https://git-lfs": "a Git LFS pointer; run «git lfs pull» in its repository",
}

# Files that operating systems leave in archives. They are skipped without a message.
CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")

# An archive bomb is small but unpacks to more than any disk holds. Images are already compressed, so an archive usually
# unpacks to about twice its size, and no single image needs 200 MB.
LARGEST_FILE = 200_000_000  # bytes
LARGEST_HEADER = 1_000_000  # bytes; tarfile reads such metadata, for example long names, into memory
HEADERS = (b"x", b"g", b"X", b"L", b"K")  # the tar types of such metadata
LARGEST_GROWTH = 50  # times the archive's own size …
HARMLESS = 1_000_000_000  # … beyond this many bytes
DEEPEST = 3  # archives in archives


class Member(NamedTuple):
    """One file of an archive: its path inside the archive, and its content or the reason why it has none."""

    inner: str
    content: bytes
    reason: str = ""


class _Entry(NamedTuple):
    """One entry in an archive's list of contents. `size` is the declared size in bytes."""

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
                f"{self.name} unpacks to many times its own size, as archive bombs do, so nothing was extracted. "
                "Check it with an archive program, or use another archive."
            )


class GuardedTarInfo(tarfile.TarInfo):
    """The header of a file in a tar. Huge ones, which tarfile would read into memory, raise `Problem`."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # its source says that it may be overridden
        if self.type in HEADERS and self.size > LARGEST_HEADER:
            name = Path(archive.name or "An archive inside").name
            raise Problem(
                f"{name} has a header of {self.size / 1e6:,.0f} MB, as archive bombs do, so nothing was extracted. "
                "Check it with an archive program, or use another archive."
            )
        return super()._proc_member(archive)


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, compressed or not, whatever its name."""
    with path.open("rb") as file:
        return _is_tar(file) or zipfile.is_zipfile(file)


def what_instead(path: Path) -> str:
    """What a file is if it is neither a zip nor a tar, and what to do about it. Empty if unknown."""
    with path.open("rb") as file:
        start = file.read(100)
    return next((what for pattern, what in KINDS.items() if re.match(pattern, start)), "")


def _is_tar(file: BinaryIO) -> bool:
    """Whether a file is a tar. Check this first, because a tar that ends with a zip looks like a zip as well."""
    file.seek(0)
    try:
        tarfile.open(fileobj=file, tarinfo=GuardedTarInfo).close()
    except tarfile.TarError:
        return False
    return True


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The files of a folder or archive whose path inside it is `wanted`. Such paths use / on every system.

    Links in a folder are followed. Links in archives, and files larger than `LARGEST_FILE` bytes, have a reason instead
    of content. Hidden files and clutter are skipped. Raises `Problem` for an archive that is damaged, locked, a bomb or
    part of a split archive, and for anything that cannot be read.
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
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # EINVAL: a position before the start of the file
            name = Path(error.filename or path).name
            raise Problem(f"{name} cannot be read ({error.strerror}); check it and run again.") from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise Problem(f"The archive {path.name} is damaged or locked ({reason}); replace it and run again.") from error


def names(path: Path) -> list[str]:
    """The paths of all files in a folder or archive, including archives inside it. Raises as `members` does."""
    paths: list[str] = []
    list(members(path, lambda inner: bool(paths.append(inner))))  # append returns None, so no file is read
    return paths


def count(path: Path, wanted: Callable[[str], bool]) -> int | None:
    """How many files `members` will yield, or None if the list of contents does not tell."""
    try:
        if path.is_dir():
            paths = [inner for inner, _ in _files(path)]
        else:
            with path.open("rb") as file:
                if _is_tar(file):
                    return None
                with zipfile.ZipFile(file) as archive:
                    paths = [inner_path(name) for name in archive.namelist() if not name.endswith("/")]
            if any(name.lower().endswith(ENDINGS) for name in paths):
                return None
    except DAMAGE:  # `members` reports it
        return None
    return sum(wanted(inner) and not _is_clutter(inner) for inner in paths)


def check_whole(path: Path) -> None:
    """Read an archive to its last byte and compare it with its own checksums. Raises `Problem` as `members` does."""
    for _ in members(path, lambda inner: True):
        pass


def _in_folder(folder: Path, wanted: Callable[[str], bool]) -> Iterator[Member]:
    for inner, file in _files(folder):
        if wanted(inner) and not _is_clutter(inner):
            is_large = file.stat().st_size > LARGEST_FILE
            yield _too_large(inner) if is_large else Member(inner, file.read_bytes())


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The path inside the folder, and the path on disk, of every file below it."""
    for entry in walk(folder):
        if entry.is_file():
            yield inner_path(Path(entry.path).relative_to(folder).as_posix()), Path(entry.path)


def _too_large(inner: str) -> Member:
    return Member(inner, b"", f"larger than {LARGEST_FILE // 1_000_000} MB")


def _unpacked(file: BinaryIO, wanted: Callable[[str], bool], allowance: _Allowance, depth: int) -> Iterator[Member]:
    if not _is_tar(file):
        with zipfile.ZipFile(file) as archive:
            yield from _read(_zip_entries(archive, allowance), wanted, allowance, depth)
        return
    file.seek(0)
    with tarfile.open(fileobj=file, tarinfo=GuardedTarInfo) as archive:
        yield from _read(_tar_entries(archive, allowance), wanted, allowance, depth)
        while rest := archive.fileobj.read(1 << 20):  # the checksum of a tar.gz comes after its last file
            allowance.spend(len(rest))


def _zip_entries(archive: zipfile.ZipFile, allowance: _Allowance) -> Iterator[_Entry]:
    if any(info.volume for info in archive.infolist()):
        raise Problem(f"{allowance.name} is the last part of a split zip; {UNPACK}.")
    for info in archive.infolist():
        if not info.filename.endswith("/"):  # is_dir fails for files without a name
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
            f"{allowance.name} is compressed with {method}, which this Python cannot read; {UNPACK}, or compress it "
            "again with Deflate, the usual method."
        ) from error


def _tar_entries(archive: tarfile.TarFile, allowance: _Allowance) -> Iterator[_Entry]:
    start = 0
    for info in archive:
        # Everything before the next file, including headers, is unpacked even if it is skipped. A sparse file takes up
        # less space in the tar than its size.
        allowance.spend(max(archive.offset - start, info.size))
        start = archive.offset
        if info.isfile() or info.issym() or info.islnk():
            yield _Entry(info.name, info.size, not info.isfile(), partial(archive.extractfile, info))
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile treats a damaged header as the end
        raise tarfile.ReadError(f"it is damaged after {archive.offset} bytes")


def _read(
    entries: Iterable[_Entry], wanted: Callable[[str], bool], allowance: _Allowance, depth: int
) -> Iterator[Member]:
    for entry in entries:
        inner = inner_path(entry.name)
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
            f"{allowance.name} contains archives nested more than {DEEPEST} deep; unpack them first and use the folder."
        )
    with tempfile.TemporaryFile() as unpacked:
        with (
            entry.open() as packed,
            room_on_disk(f"unpacking {allowance.name}", Path(tempfile.gettempdir()), needed=entry.size),
        ):
            shutil.copyfileobj(packed, unpacked)
        yield from _unpacked(unpacked, wanted, allowance, depth + 1)


def inner_path(name: str) -> str:
    """A path inside an archive in one common form: tar writes ./name, and old Windows programs write folder\\name.

    Python reads bytes that are not text in a known encoding as surrogates. These become question marks.
    """
    return PurePosixPath(name.replace("\\", "/")).as_posix().encode("utf-8", "replace").decode("utf-8")


def _is_clutter(inner: str) -> bool:
    return any(
        part in CLUTTER or (part.startswith(".") and part not in (".", "..")) for part in PurePosixPath(inner).parts
    )
