"""Check one image file: whether it decodes, its properties, and a file name for it."""

import hashlib
import io
import os
import re
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from torchvision.datasets.folder import IMG_EXTENSIONS

from ..inputs import Unreadable, identify, to_rgb, without_remarks
from .duplicates import fingerprint

ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".ppm"}
FEWEST_PIXELS = 8  # on the shorter side; web pages are full of invisible one-pixel images
LONGEST_NAME = 120  # bytes; file systems allow 255, and part of a digest may be added
OWN = "your own"  # the origin of a file that the user put into datasets/


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of a data set: a row of `datasets/split.json`.

    `origin` is '<archive>/<path inside>', or `OWN`. `width` and `height` are in pixels as stored, and `size` is in
    bytes. `mode` and `format` are Pillow's names ('RGB', 'P', …; 'JPEG', …). `fingerprint` is as in `duplicates`.
    `group` is the key of the first among its near-copies, and `split` is 'Train', 'Val' or 'Test'.
    `reason` says why the file was left out; it is empty for a usable image. `mtime_ns` is the file's modification time
    in nanoseconds, or 0 if unknown.
    """

    class_name: str
    name: str
    origin: str
    sha256: str
    size: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    fingerprint: str = ""
    group: str = ""
    split: str = "Train"
    reason: str = ""
    mtime_ns: int = 0

    @property
    def key(self) -> str:
        """'<Class>/<name>', different for every file."""
        return f"{self.class_name}/{self.name}"

    @property
    def is_own(self) -> bool:
        return self.origin == OWN


def check(class_name: str, origin: str, content: bytes, reason: str = "") -> tuple[ImageFile, bytes]:
    """Decode `content` completely; return its row, with a `reason` if it is not a usable image, and what to keep.

    Usually `content` itself is kept. Formats that torchvision's ImageFolder does not know (GIF, AVIF, …) become a PNG
    of the RGB image. A PNG with damaged text chunks is kept without them. The name is the last part of `origin`, made
    safe, with an ending that ImageFolder accepts. If the argument `reason` is given, nothing is decoded.
    """
    row = ImageFile(class_name, safe_name(origin), origin, _sha256(content), len(content), reason=reason)
    if reason:
        return row, content
    try:
        image = identify(content)
        row = replace(row, width=image.width, height=image.height, mode=image.mode, format=image.format or "")
        if min(image.size) < FEWEST_PIXELS:
            return replace(row, reason=f"only {image.width}×{image.height} pixels"), content
        rgb = to_rgb(image)
    except Unreadable as error:
        picture_alone = without_remarks(content)
        if picture_alone != content:
            kept = check(class_name, origin, picture_alone)
            if not kept[0].reason:
                return kept
        return replace(row, reason=error.reason), content
    if not is_image_name(row.name):
        row = replace(row, name=row.name + ENDINGS.get(row.format, ".png"))
        if row.format not in ENDINGS:
            png = io.BytesIO()
            rgb.save(png, "PNG")
            content = png.getvalue()
    return replace(row, sha256=_sha256(content), size=len(content), fingerprint=fingerprint(rgb)), content


def is_image_name(path: Path | str) -> bool:
    """Whether a file is named like an image that torchvision's ImageFolder reads, and is not hidden itself."""
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in IMG_EXTENSIONS and not name.startswith(".")


def safe_name(inner: str) -> str:
    """The last part of a path as a file name that every system accepts and keeps unchanged."""
    name = unicodedata.normalize("NFC", PurePosixPath(inner).name)  # macOS decomposes characters
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", name).strip(" .") or "image"
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name):
        name = f"_{name}"
    stem, ending = Path(name).stem, Path(name).suffix[:10]
    room = LONGEST_NAME - len(ending.encode())
    return name if len(name.encode()) <= LONGEST_NAME else f"{_cut(stem, room)}{ending}"


def _cut(text: str, size: int) -> str:
    """As much of `text` as fits into `size` bytes, without cutting a character."""
    return text.encode()[:size].decode("utf-8", "ignore")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
