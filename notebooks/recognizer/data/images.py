"""Check one image file: whether it decodes, what it holds, and its name here."""

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
FEWEST_PIXELS = 8  # on the shorter side; pages on the web are full of invisible images of one pixel
LONGEST_NAME = 120  # bytes; file systems end at 255, and a part of a digest may come behind it
OWN = "your own"  # the origin of a file that the reader put into datasets/


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file that arrived: a row of `datasets/split.json`.

    `origin` is '<archive>/<path inside>', or `OWN`. `width` and `height` are in pixels as stored, `size` is in bytes,
    `mode` and `format` are Pillow's names ('RGB', 'P', …; 'JPEG', …), `fingerprint` is as in `duplicates`.
    `group` is the key of the first among its near-copies, `split` 'Train', 'Val' or 'Test'.
    `reason` says why the file was left out; it is empty for an image that counts. `mtime_ns` is the time of the file's
    last change in nanoseconds, 0 where it is not known.
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
        """'<Class>/<name>', the same for no other file."""
        return f"{self.class_name}/{self.name}"

    @property
    def is_own(self) -> bool:
        return self.origin == OWN


def check(class_name: str, origin: str, content: bytes, reason: str = "") -> tuple[ImageFile, bytes]:
    """Decode `content` completely and describe it; `reason` says in a few words why it does not count.

    Returned with it is what to keep: `content`, or, of formats that torchvision's ImageFolder does not know (GIF,
    AVIF, …), a PNG of what the eye sees; of a PNG with damaged texts, the same without them. The name is the last part
    of `origin`, made safe, with an ending that ImageFolder takes. With a `reason` given, nothing is decoded.
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
    """Whether a file is called like an image that torchvision's ImageFolder reads, and is not hidden itself."""
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in IMG_EXTENSIONS and not name.startswith(".")


def safe_name(inner: str) -> str:
    """The last part of a path as a file name that every system takes, and that stays the same on all of them."""
    name = unicodedata.normalize("NFC", PurePosixPath(inner).name)  # macOS takes characters apart
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", name).strip(" .") or "image"
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name):
        name = f"_{name}"
    stem, ending = Path(name).stem, Path(name).suffix[:10]
    room = LONGEST_NAME - len(ending.encode())
    return name if len(name.encode()) <= LONGEST_NAME else f"{_cut(stem, room)}{ending}"


def _cut(text: str, size: int) -> str:
    """As much of `text` as fits into `size` bytes, no character divided."""
    return text.encode()[:size].decode("utf-8", "ignore")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
