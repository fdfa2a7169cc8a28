"""Arrays and pictures encoded as text for the page."""

import base64
import copy
import io
import zlib

import numpy as np
from PIL import Image
from torch import Tensor


class Packed:
    """Arrays stored one after another in compressed chapters. engine.js decodes them with the help of `entries`.

    An entry describes one array: its format, shape, scale and place.
    """

    def __init__(self) -> None:
        self.entries: list[dict] = []
        self._parts: list[bytes] = []  # the arrays of the open chapter
        self._chapters: list[str] = []  # the closed chapters, encoded
        self._length = 0  # bytes in the open chapter
        self._decoded: dict[int, np.ndarray] = {}  # float16 arrays as the page decodes them, to store differences to

    def add(self, array: np.ndarray | Tensor, kind: str = "", like: int | None = None) -> int:
        """Append an array and return its number. `kind` is 'float16', 'float32', 'int8' or 'uint8'.

        The default is float16 for arrays of two or more dimensions (weights) and float32 for the others, which are
        small. The formats store values relative to a scale: float16 to the largest magnitude of the array, so that no
        value is too small or too large; int8 to the largest magnitude of each filter; uint8 (for maps) to the lowest
        and the highest value of each map. `like` is the number of a float16 array. With it, int8 stores the difference
        to that array; the quantisation step stays the same, but the small numbers compress better.
        """
        array = array.detach().cpu() if isinstance(array, Tensor) else array
        array = np.ascontiguousarray(array, np.float32)  # weights may be channels_last
        kind = kind or ("float16" if array.ndim > 1 else "float32")
        if like is None:
            content, scale = PACK[kind](array)
        else:
            content, scale = _int8(array, self._decoded[like])
        if kind == "float16":
            halves = (array / scale).astype(np.float16)
            self._decoded[len(self.entries)] = (halves * np.float32(scale)).astype(np.float32)
        place = {"chapter": len(self._chapters), "start": self._length, "count": array.size}
        entry = {"format": kind, "shape": list(array.shape), "scale": scale} | place
        self.entries.append(entry | ({} if like is None else {"like": like}))
        self._parts.append(content)
        self._length += len(content)
        return len(self.entries) - 1

    def copy(self) -> "Packed":
        """An independent copy, to which arrays can be added on trial."""
        self.text()
        other = copy.copy(self)
        other.entries, other._parts, other._chapters = list(self.entries), [], list(self._chapters)
        other._decoded = dict(self._decoded)
        return other

    def text(self) -> str:
        """All chapters as lines of base64 text, compressed by zlib. Later arrays go into a new chapter."""
        if self._parts:
            self._chapters.append(base64.b64encode(zlib.compress(b"".join(self._parts), 9)).decode())
            self._parts, self._length = [], 0
        return "\n".join(self._chapters)


def _largest(array: np.ndarray) -> float:
    """The largest finite magnitude in `array`; 1 if that is 0 or if no value is finite."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0)) or 1.0


# One encoder per format: array → (bytes, scale).


def _float16(array: np.ndarray) -> tuple[bytes, float]:
    # All upper bytes come first, then all lower bytes. The upper bytes are similar, so zlib compresses them better.
    scale = _largest(array)
    halves = (array / scale).astype(">f2").view(np.uint8).reshape(-1, 2)
    return halves.T.tobytes(), scale


def _float32(array: np.ndarray) -> tuple[bytes, None]:
    return array.astype("<f4").tobytes(), None


def _int8(array: np.ndarray, like: np.ndarray | None = None) -> tuple[bytes, list[float]]:
    rows = array.reshape(len(array), -1)
    differences = rows if like is None else rows - like.reshape(rows.shape)
    scales = [_five_digits(max(map(_largest, pair)) / 126.9) for pair in zip(rows, differences)]
    steps = np.nan_to_num(differences / np.array(scales)[:, None], posinf=127, neginf=-127)
    return steps.round().astype(np.int8).tobytes(), scales


def _uint8(array: np.ndarray) -> tuple[bytes, int]:
    # The bytes start with the lowest and the highest value of each map, as float32. The scale is the number of maps.
    rows = np.nan_to_num(array.reshape(len(array) if array.ndim > 1 else 1, -1))
    low, high = rows.min(axis=1), rows.max(axis=1)
    share = (rows - low[:, None]) / np.where(high > low, high - low, 1)[:, None]
    ends, values = np.stack([low, high], 1).astype("<f4"), (share * 255).round().astype(np.uint8)
    return ends.tobytes() + values.tobytes(), len(rows)


PACK = {"float16": _float16, "float32": _float32, "int8": _int8, "uint8": _uint8}


def _five_digits(number: float) -> float:
    """The number rounded to five digits: more precise than 8 bits, and a third of the text."""
    return float(f"{number:.5g}")


def picture_address(pixels: np.ndarray) -> str:
    """A picture, uint8 H×W×3 or H×W, as a data URL for the page, in lossless WebP."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
