"""Arrays and pictures as text that a page can hold."""

import base64
import copy
import io
import zlib

import numpy as np
from PIL import Image
from torch import Tensor


class Packed:
    """Tensors behind each other in chapters of bytes; engine.js reads them by what `entries` says of each."""

    def __init__(self) -> None:
        self.entries: list[dict] = []
        self._parts: list[bytes] = []  # of the chapter that is open
        self._chapters: list[str] = []
        self._length = 0  # of the chapter that is open
        self._as_read: dict[int, np.ndarray] = {}  # what the page makes of float16, for differences to it

    def add(self, array: np.ndarray | Tensor, kind: str = "", like: int | None = None) -> int:
        """Append an array and return its number. `kind` is 'float16', 'float32', 'int8' or 'uint8'.

        By default weights (two dimensions or more) are float16, single rows float32, which take little room. float16
        is stored as a share of the largest value, so that nothing is too small or too large for it; int8 as a share of
        the largest of each filter; uint8 (maps) between the lowest and the highest value of each map. With `like`, the
        number of a float16 array, int8 holds the difference to that one, in steps as wide as without it: less to store.
        """
        array = array.detach().cpu() if isinstance(array, Tensor) else array
        array = np.ascontiguousarray(array, np.float32)  # weights may be channels_last
        kind = kind or ("float16" if array.ndim > 1 else "float32")
        if like is None:
            content, scale = PACK[kind](array)
        else:
            content, scale = _signed_bytes(array, self._as_read[like])
        if kind == "float16":
            self._as_read[len(self.entries)] = ((array / scale).astype(np.float16) * np.float32(scale)).astype(
                np.float32
            )
        place = {"chapter": len(self._chapters), "start": self._length, "count": array.size}
        entry = {"format": kind, "shape": list(array.shape), "scale": scale} | place
        self.entries.append(entry | ({} if like is None else {"like": like}))
        self._parts.append(content)
        self._length += len(content)
        return len(self.entries) - 1

    def copy(self) -> "Packed":
        """Another one with the same in it, to which more can be added on trial."""
        self.text()
        other = copy.copy(self)
        other.entries, other._parts, other._chapters = list(self.entries), [], list(self._chapters)
        other._as_read = dict(self._as_read)
        return other

    def text(self) -> str:
        """All of it, chapters of base64 of zlib. What is added later becomes a chapter of its own."""
        if self._parts:
            self._chapters.append(base64.b64encode(zlib.compress(b"".join(self._parts), 9)).decode())
            self._parts, self._length = [], 0
        return "\n".join(self._chapters)


def _largest(array: np.ndarray) -> float:
    """The largest size of a number in `array`, 1 if there is none. A weight may be infinite or undefined."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0)) or 1.0


def _halves(array: np.ndarray) -> tuple[bytes, float]:
    # First all upper bytes, then all lower ones: the upper ones are much alike, and zlib makes use of that.
    scale = _largest(array)
    halves = (array / scale).astype(">f2").view(np.uint8).reshape(-1, 2)
    return halves.T.tobytes(), scale


def _whole(array: np.ndarray) -> tuple[bytes, None]:
    return array.astype("<f4").tobytes(), None


def _signed_bytes(array: np.ndarray, like: np.ndarray | None = None) -> tuple[bytes, list[float]]:
    rows = array.reshape(len(array), -1)
    differences = rows if like is None else rows - like.reshape(rows.shape)
    scales = [_short(max(map(_largest, both)) / 126.9) for both in zip(rows, differences)]
    steps = np.nan_to_num(differences / np.array(scales)[:, None], posinf=127, neginf=-127)
    return steps.round().astype(np.int8).tobytes(), scales


def _bytes_and_ends(array: np.ndarray) -> tuple[bytes, int]:
    # In front the lowest and the highest value of each map, as float32.
    rows = np.nan_to_num(array.reshape(len(array) if array.ndim > 1 else 1, -1))
    low, high = rows.min(axis=1), rows.max(axis=1)
    share = (rows - low[:, None]) / np.where(high > low, high - low, 1)[:, None]
    ends, values = np.stack([low, high], 1).astype("<f4"), (share * 255).round().astype(np.uint8)
    return ends.tobytes() + values.tobytes(), len(rows)


PACK = {"float16": _halves, "float32": _whole, "int8": _signed_bytes, "uint8": _bytes_and_ends}


def _short(number: float) -> float:
    """Five digits are more than what 8 bits can tell apart, and a third of the text."""
    return float(f"{number:.5g}")


def picture_address(pixels: np.ndarray) -> str:
    """uint8 H×W×3 or H×W as the address of a picture that stands in the page itself; WebP without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
