"""Feature maps of many image files, written to one HDF5 file, which a later run continues."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from ..inputs import FORMATS, Transform, Unreadable, without_warnings
from ..progress import progress_bar
from ..settings import Problem, room_on_disk, shown
from .activations import as_array, capture
from .given import as_batch, as_given, transform_of
from .layers import by, layers_by_name

DTYPES = ("float32", "float16")
LONGEST_REASON = 200  # bytes


def capture_folder(
    model: nn.Module,
    layer_names: Iterable[str] | str,
    images: Path | str | Sequence[Path | str],
    store: Path | str,
    *,
    transform: Transform | None = None,
    batch_size: int = 32,
    dtype: str = "float32",
) -> Path:
    """Write what layers output for the images in a folder, or in a list of files, to the HDF5 file `store`.

    In the store, `maps/<name>` is an array N×… with a row for each file, with the names and values of `capture`.
    `files` are the names of the files, for a folder sorted and relative to it. `reasons` says for each file why it
    cannot be read; it is '' for files that were captured. The rows of the others are NaN. `done` is the number of rows
    that are complete.

    Two batches of images are in memory at a time. If a run is stopped at any moment, the same call goes on after the
    last batch that is complete, and with the same `batch_size` the store gets the same values to the bit. If all rows
    are complete, nothing is done. `dtype` 'float16' takes half the space and keeps three digits.
    Returns the path of the store. Raises `Problem` as `capture` does, for a store that was begun with other arguments
    or files, for values that float16 cannot hold, for a full disk, and if h5py is not installed.
    """
    h5py = _h5py()
    store, files = Path(store), _files_of(images)
    names = [layer_names] if isinstance(layer_names, str) else list(layer_names)
    layers_by_name(model)  # raises what is wrong with the model
    if dtype not in DTYPES:
        raise Problem(f"dtype={dtype!r} is not possible; use {' or '.join(DTYPES)}.")
    if batch_size < 1:
        raise Problem(f"batch_size={batch_size} is not possible; use at least 1.")
    made_by = _made_by(model, names, transform, files, dtype)
    if not store.exists():
        _create(h5py, store, made_by, _first_outputs(model, names, files, transform), list(files), dtype)
    with _opened(h5py, store, made_by) as file, room_on_disk("writing feature maps", store.parent):
        start = int(file["done"][()])
        batches = _decoded(model, transform, list(files.values())[start:], batch_size)
        with progress_bar("Capturing", len(files), "image") as bar, contextlib.closing(batches):
            bar.update(start)
            for decoded in batches:
                pixels = [image for image in decoded if isinstance(image, Tensor)]
                outputs = capture(model, names, as_batch(pixels, model)) if pixels else {}
                _write(file, start, [image if isinstance(image, str) else "" for image in decoded], outputs)
                start += len(decoded)
                bar.update(len(decoded))
        _tell_of_left_out(file)
    return store


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise Problem("Feature maps of many images are written with h5py; install it: pip install h5py") from error
    return h5py


def _files_of(images: Path | str | Sequence[Path | str]) -> dict[str, Path]:
    """The name of each image file in the store, and its path."""
    if not isinstance(images, str | os.PathLike):
        files = {os.fspath(file): Path(file) for file in images}
    elif (folder := Path(images)).is_dir():
        Image.init()
        endings = {ending for ending, kind in Image.EXTENSION.items() if kind in FORMATS}
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in endings)
        named = {path.as_posix(): folder / path for path in found if not any(part[0] == "." for part in path.parts)}
        files = dict(sorted(named.items()))
    else:
        raise Problem(f"There is no folder {shown(folder)}; give a folder of images, or a list of files.")
    if not files:
        raise Problem("There are no images; give a folder that holds image files, or a list of files.")
    return files


def _made_by(
    model: nn.Module, names: list[str], transform: Transform | None, files: dict[str, Path], dtype: str
) -> dict[str, Any]:
    """What a store depends on. A run continues a store only if all of it is the same."""
    weights = hashlib.sha256(_without_addresses(model).encode())
    for name, value in model.state_dict().items():
        weights.update(name.encode() + (as_array(value).tobytes() if isinstance(value, Tensor) else b""))
    listed = [(name, *_size_and_time(path)) for name, path in files.items()]
    return {
        "model": weights.hexdigest(),
        "layer_names": names,
        "transform": _without_addresses(transform or transform_of(model)),
        "files": hashlib.sha256(json.dumps(listed).encode()).hexdigest(),
        "dtype": dtype,
    }


def _size_and_time(path: Path) -> tuple[int, int]:
    """Size and modification time; an image without compression has the same size after a change."""
    if not path.is_file():
        return 0, 0
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _without_addresses(value: object) -> str:
    """The same text for the same object in another process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _first_outputs(
    model: nn.Module, names: list[str], files: dict[str, Path], transform: Transform | None
) -> dict[str, np.ndarray]:
    """What the layers output for the first file that can be read."""
    reason = ""
    for path in files.values():
        first = _pixels(model, transform, path)
        if isinstance(first, Tensor):
            return capture(model, names, first[np.newaxis])
        reason = reason or first
    raise Problem(f"None of the {len(files)} files can be read as an image; the first: {reason}.")


def _create(
    h5py: ModuleType,
    store: Path,
    made_by: dict[str, Any],
    outputs: dict[str, np.ndarray],
    names: list[str],
    dtype: str,
) -> None:
    """Make a store in which all space is laid out, so that a run that is killed later cannot damage its structure."""
    for key, output in outputs.items():
        if np.iscomplexobj(output):
            raise Problem(f"Layer {key!r} outputs complex numbers, which a store does not hold; choose another layer.")
    shapes = {key: (len(names), *output.shape[1:]) for key, output in outputs.items()}
    needed = sum(np.prod(shape, dtype=int) for shape in shapes.values()) * np.dtype(dtype).itemsize
    unfinished = store.with_name(f"{store.name}.part")
    with room_on_disk(f"writing feature maps of {len(names)} images", store.parent, int(needed)):
        with _file(h5py, unfinished, "w", store) as file:
            file.attrs["made_by"], file.attrs["outputs"] = json.dumps(made_by), json.dumps(list(shapes))
            file["files"] = [name.encode("utf-8", "replace").decode() for name in names]  # not all names are Unicode
            file["reasons"] = np.zeros(len(names), h5py.string_dtype("utf-8", LONGEST_REASON))
            file["done"] = 0
            for key, shape in shapes.items():
                file.create_dataset(f"maps/{key}", shape, dtype)[0] = np.nan  # the first write takes all the space
        os.replace(unfinished, store)


def _file(h5py: ModuleType, path: Path, mode: str, store: Path) -> Any:
    try:
        return h5py.File(path, mode)
    except BlockingIOError as error:
        raise Problem(f"Another program has {shown(store)} open; close it there and run again.") from error


@contextlib.contextmanager
def _opened(h5py: ModuleType, store: Path, made_by: dict[str, Any]) -> Iterator[Any]:
    """The store, open to be continued. Raises `Problem` if it does not belong to `made_by`."""
    try:
        file = _file(h5py, store, "r+", store)
    except OSError as error:
        raise Problem(f"{shown(store)} cannot be opened as an HDF5 file; give store another name.") from error
    with file:
        before = json.loads(file.attrs.get("made_by", "{}"))
        other = [name for name, value in made_by.items() if before.get(name) != value]
        if other:
            raise Problem(
                f"{shown(store)} was not begun with the same {', '.join(other)}; give store another name, or delete "
                "that file to begin again."
            )
        yield file


def _decoded(
    model: nn.Module, transform: Transform | None, paths: Sequence[Path], batch_size: int
) -> Iterator[list[Tensor | str]]:
    """The images in batches, each a tensor or the reason why there is none; the next batch is decoded meanwhile."""
    with without_warnings(), ThreadPoolExecutor() as pool:

        def begun(start: int) -> list[Future]:
            return [pool.submit(_pixels, model, transform, path) for path in paths[start : start + batch_size]]

        following = begun(0)
        for start in range(0, len(paths), batch_size):
            current, following = following, begun(start + batch_size)
            yield [future.result() for future in current]


def _pixels(model: nn.Module, transform: Transform | None, path: Path) -> Tensor | str:
    """The image in a file as the model takes it, or the reason why it cannot be read."""
    if not path.is_file():
        return "there is no such file"
    try:
        return as_given(path, model, transform)[0]
    except Unreadable as error:
        return error.reason
    except Problem as error:
        if isinstance(error.__cause__, OSError):
            return error.__cause__.strerror or "cannot be read"
        raise


def _write(file: Any, start: int, reasons: list[str], outputs: dict[str, np.ndarray]) -> None:
    """Write one batch, and after it that it is complete. `outputs` have a row for each image without a reason."""
    stop, captured = start + len(reasons), np.array([not reason for reason in reasons])
    for key in json.loads(file.attrs["outputs"]):
        dataset = file[f"maps/{key}"]
        rows = _in_type_of(dataset, key, outputs[key]) if key in outputs else np.nan
        if key in outputs and not captured.all():
            read, rows = rows, np.full((len(reasons), *dataset.shape[1:]), np.nan, dataset.dtype)
            rows[captured] = read
        dataset[start:stop] = rows
    file["reasons"][start:stop] = [reason.encode()[:LONGEST_REASON].decode(errors="ignore") for reason in reasons]
    file.flush()
    file["done"][()] = stop
    file.flush()


def _in_type_of(dataset: Any, key: str, output: np.ndarray) -> np.ndarray:
    if output.shape[1:] != dataset.shape[1:]:
        raise Problem(
            f"Layer {key!r} outputs {by(output.shape[1:])} for some images and {by(dataset.shape[1:])} for others; "
            "pass a transform that makes all images equally large."
        )
    with np.errstate(over="ignore"):
        converted = output.astype(dataset.dtype, copy=False)
    if converted is not output and np.isinf(converted).sum() > np.isinf(output).sum():
        raise Problem(f"Layer {key!r} outputs values that float16 cannot hold; pass dtype='float32' and another store.")
    return converted


def _tell_of_left_out(file: Any) -> None:
    reasons = file["reasons"].asstr()[:]
    left_out = np.flatnonzero(reasons != "")
    if len(left_out):
        names = file["files"].asstr()
        some = ", ".join(f"{names[row]} ({reasons[row]})" for row in left_out[:5]) + " …" * (len(left_out) > 5)
        print(f"{len(left_out)} file(s) cannot be read and were left out; their rows are NaN: {some}.")
