"""From archives to images on disk: extract, check, and say what was left out and why."""

import hashlib
import io
import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from ..inputs import open_rgb
from ..progress import progress_bar
from ..settings import Problem
from .archives import members
from .sources import ClassFiles

ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".ppm"}


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


def extract(
    files: list[ClassFiles], folder: Path, present: Mapping[str, Path]
) -> tuple[list[ImageFile], list[str]]:
    """Copy what `files` name below `folder`: `images/<Class>/`, `masks/<Class>/`, `rejected/<Class>/`.

    An image counts when it decodes completely; what does not is kept under `rejected`. Returned are a row for each
    file, with the reason where it was left out, and the '<Class>/<name>' of each mask. Folders inside an archive are
    flattened; a file whose name is taken, be it by one of `present` ('<Class>/<name>' → file) of other content, gets
    the start of its digest added. Shows a progress bar.
    Raises `Problem` for a broken archive, or a class without a single image.
    """
    table: list[ImageFile] = []
    masks: list[str] = []
    for kind in ("images", "masks", "rejected"):
        (folder / kind).mkdir(parents=True)
    with progress_bar("extract", None, "files") as progress:
        for source in files:
            for name, content in members(
                source.path, lambda inner, source=source: fnmatch(inner, source.pattern)
            ):
                if source.is_mask:
                    masks.append(f"{source.class_name}/{name}")
                    _write(folder / "masks" / masks[-1], content)
                else:
                    row, content = check(source.class_name, name, content)
                    table.append(_place(row, content, folder, {} if row.reason else present))
                progress.update()
    for class_name in sorted({source.class_name for source in files}):
        if not any(row.class_name == class_name and not row.reason for row in table):
            raise Problem(
                f"No image of {class_name} was found in {files[0].path.name} and what lies beside it."
            )
    return table, masks


def check(class_name: str, name: str, content: bytes) -> tuple[ImageFile, bytes]:
    """Decode `content` completely and describe it; `reason` says in a few words why it does not count.

    Returned with it is what to keep: `content`, or, of formats that torchvision's ImageFolder does not know (GIF,
    AVIF, …), a PNG of what the eye sees. The name gets an ending that ImageFolder takes.
    """
    row = ImageFile(class_name, name, hashlib.sha256(content).hexdigest())
    if not content:
        return replace(row, reason="empty file"), content
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                facts = dict(width=image.width, height=image.height, mode=image.mode, format=image.format)
            rgb = open_rgb(io.BytesIO(content))
    except Image.UnidentifiedImageError:
        return replace(row, reason="not an image"), content
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return replace(row, reason="absurdly large when decoded"), content
    except Exception as error:  # OSError, SyntaxError, struct.error, …: decoders raise all of them
        return replace(row, reason=f"does not decode completely: {error}"), content
    if Path(name).suffix.lower() not in IMG_EXTENSIONS:
        name += ENDINGS.get(facts["format"], ".png")
        if facts["format"] not in ENDINGS:
            png = io.BytesIO()
            rgb.save(png, "PNG")
            content = png.getvalue()
    return replace(row, name=name, sha256=hashlib.sha256(content).hexdigest(), **facts), content


def _place(row: ImageFile, content: bytes, folder: Path, present: Mapping[str, Path]) -> ImageFile:
    """Write one file under a name that no other has, and return its row with that name."""
    for name in _names(row):
        path = folder / ("rejected" if row.reason else "images") / row.class_name / name
        other = present.get(f"{row.class_name}/{name}")
        if not path.exists() and (other is None or other.read_bytes() == content):
            _write(path, content)
            return replace(row, name=name)


def _names(row: ImageFile) -> Iterator[str]:
    """The file's own name, then ones with the start of its digest and, should that not do, a number."""
    name = Path(row.name)
    yield row.name
    for number in itertools.count(1):
        yield f"{name.stem}-{row.sha256[:8]}{f'-{number}' if number > 1 else ''}{name.suffix}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
