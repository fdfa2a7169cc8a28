"""From archives to images on disk: extract, check, and say what was left out and why."""

import hashlib
import io
import shutil
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from PIL import Image

from ..inputs import open_rgb
from ..progress import progress_bar
from ..settings import Problem
from .sources import ARCHIVE_ENDINGS, ClassFiles

# What archives carry besides pictures. Left out without a word: nobody misses it.
CLUTTER = (
    "__MACOSX/*",
    "*/__MACOSX/*",
    ".*",
    "*/.*",
    "Thumbs.db",
    "*/Thumbs.db",
    "desktop.ini",
    "*/desktop.ini",
)


@dataclass(frozen=True)
class ImageFile:
    """One file that arrived. `reason` says why it was left out; it is empty for an image that counts.

    `width` and `height` are in pixels as stored, `mode` and `format` are Pillow's names ('RGB', 'P', …; 'JPEG', …).
    """

    class_name: str
    name: str
    sha256: str
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        return f"{self.class_name}/{self.name}"


def extract(files: list[ClassFiles], folder: Path, taken: Container[str] = ()) -> list[ImageFile]:
    """Copy what `files` name below `folder`: `images/<Class>/`, `masks/<Class>/`, `rejected/<Class>/`.

    An image counts when it decodes completely; what does not is kept under `rejected` with its reason in the table
    returned. Folders inside an archive are flattened; where a file's name is then not its own in its class, or is
    among `taken` ('<Class>/<name>'), it gets the start of its digest added. Shows a progress bar.
    Raises `Problem` for a broken archive, or a class without a single image.
    """
    table: list[ImageFile] = []
    for kind in ("images", "masks", "rejected"):
        (folder / kind).mkdir(parents=True)
    with progress_bar("extract", None, "files") as progress:
        for source in files:
            for inner_path, read in _members(source.path):
                if any(fnmatch(inner_path, clutter) for clutter in CLUTTER) or not fnmatch(
                    inner_path, source.pattern
                ):
                    continue
                name, content = PurePosixPath(inner_path).name, read()
                if source.is_mask:
                    _write(folder / "masks" / source.class_name / name, content)
                else:
                    row = check(source.class_name, name, content)
                    target = folder / ("rejected" if row.reason else "images") / source.class_name / name
                    if target.exists() or f"{source.class_name}/{name}" in taken:
                        target = target.with_stem(f"{target.stem}-{row.sha256[:8]}")
                    _write(target, content)
                    table.append(replace(row, name=target.name))
                progress.update()
    for class_name in sorted({source.class_name for source in files}):
        if not any(row.class_name == class_name and not row.reason for row in table):
            raise Problem(
                f"No image of {class_name} was found in {files[0].path.name} and what lies beside it."
            )
    return table


def check(class_name: str, name: str, content: bytes) -> ImageFile:
    """Decode `content` completely and describe it; `reason` says in a few words why it does not count."""
    row = ImageFile(class_name, name, hashlib.sha256(content).hexdigest())
    if not content:
        return replace(row, reason="empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                row = replace(
                    row, width=image.width, height=image.height, mode=image.mode, format=image.format
                )
            open_rgb(io.BytesIO(content))
    except Image.UnidentifiedImageError:
        return replace(row, reason="not an image")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return replace(row, reason="absurdly large when decoded")
    except (
        Exception
    ) as error:  # decoders raise OSError, SyntaxError, struct.error, …; here all mean one thing
        return replace(row, reason=f"does not decode completely: {error}")
    return row


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The files of a folder or an archive, as (path inside, function that reads it)."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                yield file.relative_to(path).as_posix(), file.read_bytes
        return
    try:
        with path.open("rb") as file:
            yield from _archive_members(file, path.name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise Problem(f"The archive {path.name} is broken ({error}); delete it and run again.") from error


def _archive_members(file: BinaryIO, name: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """As `_members`, from an open archive; archives inside it are opened too (Caltech 101 is a tar in a zip)."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            files = (info for info in archive.infolist() if not info.is_dir())
            yield from _with_nested((info.filename, partial(archive.open, info)) for info in files)
        return
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        files = (info for info in archive if info.isfile())
        yield from _with_nested((info.name, partial(archive.extractfile, info)) for info in files)


def _with_nested(
    entries: Iterable[tuple[str, Callable[[], BinaryIO]]],
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for name, open_entry in entries:
        if name.lower().endswith(ARCHIVE_ENDINGS):
            with open_entry() as packed, tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(packed, unpacked)
                unpacked.seek(0)
                yield from _archive_members(unpacked, name)
        else:
            yield name, lambda open_entry=open_entry: open_entry().read()
