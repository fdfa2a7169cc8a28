"""Read an image of any kind, upright and in RGB, and turn it into the input of a network."""

import contextlib
import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torchvision.transforms import v2

from .settings import Problem

Transform = Callable[[Image.Image], Tensor]  # such as what weights.transforms() of torchvision returns

# Pillow reads more formats. Some are left out on purpose: a PostScript file, for example, is a program that Ghostscript
# would run. HEIF needs a package such as pillow-heif.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF", "JPEG2000", "ICO", "TGA", "PSD", "PCX")
MOST_PIXELS = 89_478_485  # beyond its own limit, Pillow warns of a decompression bomb
LARGE = 16_000_000  # pixels; larger images are decoded one at a time, because each pixel takes 20 bytes
ONE_AT_A_TIME = threading.Lock()

# The errors that Pillow's decoders raise for damaged files. A MemoryError would not mean that the file is damaged.
DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
# The start of files that people take for images, and what these files are.
KINDS = {
    rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(!doctype html|html|head)": "a web page, not an image",
    rb"(\xef\xbb\xbf)?\s*(<[?!].*?>\s*)*<svg": "a drawing in SVG, not an image; save it as PNG",
    rb"%!PS|\xc5\xd0\xd3\xc6": "a drawing in PostScript, not an image; save it as PNG",
    rb"%PDF": "a PDF, not an image; save the picture in it as PNG",
    rb"version https://git-lfs": "a pointer of Git LFS, not an image; run «git lfs pull» in its repository",
    rb"....ftyp(hei|hev|mif1|msf1)": "a HEIC photograph; save it as JPEG",
    rb"....ftypavi": "an AVIF image that is damaged, or of a kind that Pillow does not read; save it as JPEG",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "a JPEG XL image; save it as JPEG",
    rb"II[*+]\0|MM\0[*+]": "a TIFF image that is damaged, or of a kind that Pillow does not read; save it as PNG",
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG = b"\x89PNG\r\n\x1a\n"
WHITES = (255, 1023, 4095, 16383, 65535)  # in grey of 8, 10, 12, 14 and 16 bits


class Unreadable(Problem):
    """A file or picture that cannot be used. `reason` says why in a few words."""

    def __init__(self, reason: str, name: str = "") -> None:
        advice = "" if ";" in reason else "; give another file"
        super().__init__(f"{name or 'The image'} cannot be used as a picture: {reason}{advice}.")
        self.reason = reason


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silence Pillow's warnings about odd metadata and many pixels, which do not matter here.

    The filters apply to the whole process. So if several threads decode, their pool runs inside one such block.
    It can also be used as a decorator.
    """
    with warnings.catch_warnings():
        for category in (UserWarning, Image.DecompressionBombWarning):
            warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
        yield


def identify(content: bytes, name: str = "") -> Image.Image:
    """The image in the bytes of a file, not decoded yet. Raises `Unreadable` if there is none."""
    if not content:
        raise Unreadable("empty file", name)
    Image.init()
    formats = [known for known in FORMATS if known in Image.OPEN]
    with _damage_told(name):
        try:
            return Image.open(io.BytesIO(content), formats=formats)
        except Image.UnidentifiedImageError:
            known = (
                what for start, what in KINDS.items() if re.match(start, content[:2000], re.IGNORECASE | re.DOTALL)
            )
            raise Unreadable(next(known, "not an image"), name) from None


def to_rgb(image: Image.Image, name: str = "") -> Image.Image:
    """The image, decoded, upright and in RGB. If there are several frames, it is the current one.

    Transparent parts become white. Grey values of more than 8 bits are scaled and not cut off (see `_as_bytes`).
    Raises `Unreadable` if the image does not decode completely or has more than `MOST_PIXELS`.
    """
    name = name or Path(getattr(image, "filename", "")).name
    with decoding(image, name):
        if turn := _turn(image):
            image = image.transpose(turn)
        if image.mode.startswith(("I", "F")):
            return _as_bytes(image, name).convert("RGB")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image.convert("RGB")


@contextlib.contextmanager
def decoding(image: Image.Image, name: str = "") -> Iterator[None]:
    """Decode `image`. No other large image is decoded until the block ends. Raises `Unreadable` as `to_rgb` does."""
    pixels = image.width * image.height
    if pixels > MOST_PIXELS:
        raise Unreadable(f"{image.width}×{image.height} pixels, more than decode safely", name)
    with ONE_AT_A_TIME if pixels > LARGE else contextlib.nullcontext():
        with _damage_told(name):
            image.load()
            if image.mode.startswith("P") and image.palette is None:
                raise SyntaxError("there is no palette")
        yield


@contextlib.contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Turn the errors that Pillow raises for a damaged file into `Unreadable`. All other errors stay as they are."""
    try:
        yield
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable("more pixels than decode safely", name) from error
    except DAMAGE as error:
        if getattr(error, "errno", None):  # the disk's error, not the decoder's
            raise
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise Unreadable(f"does not decode completely: {reason}", name) from error


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes the image upright, or None. Unreadable metadata do not make an image unreadable."""
    with contextlib.suppress(*DAMAGE):
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    return None


def _as_bytes(image: Image.Image, name: str) -> Image.Image:
    """A grey picture of more than 8 bits, converted to 8 bits.

    No format says which value is white, so this depends on the values. If all are floats up to 1, white is 1. Otherwise
    it is the smallest of `WHITES` that no value exceeds. In other cases (negative values, floats between 1 and 16,
    integers above 65535), the lowest value becomes black and the highest white. Pixels without a number become black.
    """
    values = np.asarray(image)
    numbers = values[np.isfinite(values)] if image.mode == "F" else values
    if not numbers.size:
        raise Unreadable("none of its pixels holds a number", name)
    black, white = min(float(numbers.min()), 0.0), float(numbers.max())
    if black == 0 and image.mode == "F" and white <= 16:
        white = max(white, 1.0)
    elif black == 0:
        white = next((level for level in WHITES if level >= white), white)
    values = np.nan_to_num((values.astype(np.float32) - black) / ((white - black) or 1), nan=0, posinf=1, neginf=0)
    return Image.fromarray((values * 255).clip(0, 255).round().astype(np.uint8))


def without_remarks(content: bytes) -> bytes:
    """A PNG without texts, colour profiles and similar chunks. If they are damaged or huge, Pillow rejects the picture.

    The names of such chunks begin with a small letter. Two of them are kept: transparency and orientation. Content of
    other formats stays as it is.
    """
    if not content.startswith(PNG):
        return content
    kept, start = [PNG], len(PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4])  # a length, a name, the content, a checksum
        chunk, name = content[start:end], content[start + 4 : start + 8]
        is_whole = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if not name[:1].islower() or (name in (b"tRNS", b"eXIf") and is_whole):
            kept.append(chunk)
        start = end
    return b"".join(kept)


@without_warnings()
def open_rgb(file: Path | str) -> Image.Image:
    """The picture in an image file, converted by `to_rgb`.

    Raises `Unreadable`, a `Problem`, if the file is not an image, is damaged or has too many pixels, and `Problem` if
    it cannot be read at all. Both messages contain the name of the file without its folder.
    """
    return decode(file)


def decode(file: Path | str) -> Image.Image:
    """As `open_rgb`, for one of several threads that run inside `without_warnings`."""
    name = Path(file).name
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise Problem(f"{name} cannot be read ({error.strerror}); give the path of an image file.") from error
    return from_bytes(content, name)


def from_bytes(content: bytes, name: str = "") -> Image.Image:
    """As `open_rgb`, for the bytes of a file. Messages use `name` as the name of the file."""
    try:
        return to_rgb(identify(content, name), name)
    except Unreadable:
        picture_alone = without_remarks(content)
        if picture_alone == content:
            raise
        return to_rgb(identify(picture_alone, name), name)


def as_pixels(image_size: int | tuple[int, int]) -> v2.Transform:
    """A v2 transform from an RGB PIL image to uint8 3×S×S or 3×H×W. It squeezes the image and cuts nothing off."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return v2.Compose([v2.Resize((height, width), antialias=True), v2.ToImage()])


def _transformed(picture: Image.Image, transform: Transform) -> Tensor:
    try:
        pixels = transform(picture)
    except Exception as error:  # a transform may raise anything; the message keeps it as its cause
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise Problem(f"The transform stopped on the image with {why}; it gets a PIL image in RGB.") from error
    if not isinstance(pixels, Tensor) or not pixels.is_floating_point():
        what = pixels.dtype if isinstance(pixels, Tensor) else type(pixels).__name__
        raise Problem(f"The transform returns {what} for an image; it must return a float tensor C×H×W.")
    pixels = pixels.squeeze(0) if pixels.ndim == 4 else pixels  # some return a batch of one
    return pixels.detach().float().cpu().as_subclass(Tensor)


@without_warnings()
def to_input(
    image: Path | str | Image.Image, image_size: int | tuple[int, int] = 224, transform: Transform | None = None
) -> Tensor:
    """A file or PIL image as the network sees it in validation: float32 3×S×S, RGB in [0, 1], S = `image_size`.

    If `image_size` is a pair (height, width), the result is 3×H×W. If a `transform` is given, it determines size and
    values instead. It is any callable from an RGB image to a float tensor C×H×W, for example torchvision's
    `weights.transforms()`. Raises `Problem` as `open_rgb` does, and if the transform returns no such tensor.
    """
    image = to_rgb(image) if isinstance(image, Image.Image) else decode(image)
    if transform is not None:
        return _transformed(image, transform)
    return v2.functional.to_dtype(as_pixels(image_size)(image), torch.float32, scale=True).as_subclass(Tensor)
