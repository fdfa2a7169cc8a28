"""Folders, and parameters that a user can set. Folders are read once, when the package is imported."""

import contextlib
import errno
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value", int, float, str, bool)
KINDS = {int: "an integer", float: "a number", bool: "yes or no"}
YES_OR_NO = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)

SOURCE = Path(__file__).resolve().parents[2]
# In a clone, everything that a run makes goes into the clone. If the package was installed instead, for example on
# Colab, it goes into the folder where the process started.
PROJECT = SOURCE if (SOURCE / "notebooks" / "recognizer" / "settings.py").exists() else Path.cwd()


def folder_from(name: str, default: Path) -> Path:
    """The folder in the environment variable `name`, or `default` if that is not set or empty.

    A relative path starts at the project, not at the current folder, so that a notebook's kernel and `run.py` agree.
    """
    text = os.environ.get(name, "").strip()
    return (PROJECT / Path(text).expanduser()).resolve() if text else default


# Tests and benchmarks use other folders, so that they never touch a user's own pictures and models.
WORKSPACE = folder_from("RECOGNIZER_WORKSPACE", PROJECT)
DATASETS = WORKSPACE / "datasets"
LOGS = WORKSPACE / "logs"
# Downloads and drawn samples; several workspaces can share them.
ARCHIVES = folder_from("RECOGNIZER_ARCHIVES", DATASETS / "archives")


# Errors for a read-only disk or file, and for a file in the place of a folder.
NO_ACCESS = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


class Problem(ValueError):
    """Something about the input that the user can fix. Its text says what is wrong and what to do.

    IPython shows only this text, because a traceback would hide it.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def parameter(
    name: str,
    default: Value,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    one_of: Sequence[str] = (),
) -> Value:
    """The environment variable `name` in the type of `default`, or `default` if it is not set or empty.

    Raises `Problem` if it cannot be read as that type, is not a finite number from `at_least` to `at_most`, or is not
    in `one_of` (if given). A default is checked too, because a user may have changed it in a notebook.
    """
    text = os.environ.get(name, "").strip()
    kind = type(default)
    value = default
    if text:
        try:
            value = YES_OR_NO[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise Problem(f"{name}={text!r} is not {KINDS[kind]}; try {name}={default}.") from None
    if one_of and value not in one_of:
        raise Problem(f"{name}={value!r} is not possible; use one of {', '.join(one_of)}.")
    if isinstance(value, int | float) and not (at_least <= value <= at_most and abs(value) < math.inf):
        limits = [f"at least {at_least}"] * (at_least > -math.inf) + [f"at most {at_most}"] * (at_most < math.inf)
        raise Problem(f"{name}={text or value} is out of range: it must be {' and '.join(limits) or 'finite'}.")
    return value


def results_folder(name_image: str) -> Path:
    """`results_<name_image>`, the folder for the feature maps of images with that name."""
    is_word = isinstance(name_image, str) and name_image
    if not is_word or any(character in '/\\:*?"<>|' or ord(character) < 32 for character in name_image):
        raise Problem(f"name_image={name_image!r} cannot be part of a folder's name; use a word such as 'Bike'.")
    return WORKSPACE / f"results_{name_image}"


def shown(path: Path) -> str:
    """`path` as it is printed: relative to the workspace, so that a user's folder names do not end up in a notebook."""
    path = Path(path)
    return path.relative_to(WORKSPACE).as_posix() if WORKSPACE in path.parents else path.name


@contextlib.contextmanager
def room_on_disk(doing: str, folder: Path | None = None, needed: int = 0) -> Iterator[None]:
    """A context for work that writes `needed` bytes below `folder` (default: the workspace), which is made if needed.

    A full disk, a read-only disk, and a file in the folder's place become a `Problem`. If there is too little space for
    `needed` bytes, the work does not start: a memory-mapped file would end the whole process.
    """
    folder = folder or WORKSPACE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise Problem(
                f"There is no room for {doing}: it takes {needed / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are "
                "free. Free some disk space and run again."
            )
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise Problem(f"The disk filled up while {doing}; free space and run again. Nothing is lost.") from error
        path = Path(str(error.filename or ""))
        is_here = path.is_relative_to(folder) or folder.is_relative_to(path)
        if error.errno not in NO_ACCESS or not is_here:
            raise
        path = next((file for file in (path, *path.parents) if file.is_file()), path)  # the file in the folder's place
        raise Problem(
            f"{shown(path)} cannot be written ({error.strerror}). Move away what is in its place, change its "
            "permissions, or use another folder with RECOGNIZER_WORKSPACE=path/to/folder."
        ) from error
