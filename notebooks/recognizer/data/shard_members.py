"""The images in one shard of the WebDataset convention, in the order in which they are stored."""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from types import ModuleType
from typing import BinaryIO, NamedTuple

from ..settings import Problem
from .archives import LARGEST_FILE, GuardedTarInfo, inner_path
from .images import is_image_name, safe_name

OTHER_IMAGES = ("gif", "avif", "heic", "heif")  # Pillow may read these, but ImageFolder does not
DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)


def webdataset() -> ModuleType:
    """The library of that name. Raises `Problem` if it is not installed."""
    try:
        import webdataset as library
    except ModuleNotFoundError as error:
        raise Problem("To read shards, install the package webdataset: pip install webdataset.") from error
    return library


class Member(NamedTuple):
    """One image of a shard: its path inside, its class, and its bytes; or the `reason` why it cannot be used."""

    inner: str
    class_name: str
    content: bytes
    reason: str = ""


class _TarInfo(GuardedTarInfo):
    """tarfile treats a damaged header, and a missing end, as the end of the archive. Here they are errors."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.ReadError("it is cut off" if archive.offset else "it is empty") from error
        except tarfile.InvalidHeaderError as error:
            what = f"it is damaged after {archive.offset:,} bytes" if archive.offset else "it is not a tar archive"
            raise tarfile.ReadError(what) from error


def members(name: str, file: BinaryIO) -> Iterator[Member]:
    """The images of the shard `file`, which is read once, from start to end, and never unpacked.

    In the WebDataset convention, files of the same name up to its first dot belong together. The class is the text in
    `<name>.cls` or, without such a file, the folder that contains the image. With several images of one name, those
    whose ending has no second dot count: `1.jpg`, and not its mask `1.seg.png`.
    Raises `Problem`, which calls the shard `name`, for a file that is not a tar archive, is damaged, or is cut off.
    """
    try:
        for sample in webdataset().tariterators.group_by_keys(_files(file, name)):
            yield from _images(sample)
    except DAMAGE as error:
        if isinstance(error, Problem):
            raise
        reason = str(error.args[0] if error.args else error).partition("\n")[0] or type(error).__name__
        raise Problem(
            f"The shard {name} cannot be read to its end ({reason}). Replace it, or leave it out of DATASET."
        ) from error


def _files(file: BinaryIO, name: str) -> Iterator[dict]:
    """The files of a tar, as the library's `tar_file_expander` gives them. That one stops silently at any damage."""
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=_TarInfo) as archive:
        for info in archive:
            archive.members = []  # otherwise all headers stay in memory
            if info.isreg() and info.size <= LARGEST_FILE:
                content = archive.extractfile(info).read()
                yield {"fname": inner_path(info.name), "data": content, "__url__": name}


def _images(sample: dict) -> Iterator[Member]:
    """The image of a sample, as a rule one; or a member with a reason if it has a class but no image."""
    key = sample["__key__"]
    endings = [ending for ending in sample if not ending.startswith("__") and _is_image(ending)]
    plain = [ending for ending in endings if "." not in ending]
    text = sample.get("cls")
    if not endings and text is not None:
        yield Member(f"{key}.cls", "", b"", "there is no image of this name next to it")
    for ending in plain[:1] or endings:
        inner = f"{key}.{ending}"
        folder = PurePosixPath(key).parent.name
        class_name = folder if text is None else text.decode("utf-8", "replace").strip()
        if not class_name:
            why = (
                "its .cls file is empty" if text is not None else "no .cls file next to it and no folder names a class"
            )
            yield Member(inner, "", b"", why)
        elif class_name != safe_name(class_name):
            yield Member(inner, "", b"", f"its class {class_name[:40]!r} cannot be the name of a folder")
        else:
            yield Member(inner, class_name, sample[ending])


def _is_image(ending: str) -> bool:
    return is_image_name(f"x.{ending}") or ending.rpartition(".")[2] in OTHER_IMAGES
