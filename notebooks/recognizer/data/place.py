"""The folder of a data set: its lock, links in it, and moving files, between disks as well."""

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..settings import NO_ACCESS, Problem, room_on_disk, shown
from .images import is_image_name

SPLITS = ("Train", "Val", "Test")


@contextlib.contextmanager
def alone_in(folder: Path, name: str = "", doing: str = "images were put in place") -> Iterator[None]:
    """Keep other processes from changing `folder`, or only what is called `name` in it, until the block ends.

    Waits for a process that is at work there already, and says so. The system ends the lock of a process that is
    killed. The same thread may do this again inside. Where the folder cannot be written to, or its disk has no locks,
    the block runs without one.
    Raises `Problem` as `room_on_disk` does, which is told `doing`, and where a file in the folder vanishes meanwhile.
    """
    with room_on_disk(doing, folder):
        lock = _acquired(FileLock(folder / f"{name and '.'}{name}.lock", is_singleton=True), folder)
        try:
            yield
        except FileNotFoundError as error:
            path = Path(str(error.filename or ""))
            if not path.is_relative_to(folder):
                raise
            raise Problem(f"{shown(path)} vanished: another program moved or deleted it. Run again.") from error
        finally:
            if lock:
                lock.release()


def _acquired(lock: FileLock, folder: Path) -> FileLock | None:
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"Another notebook is at work in {shown(folder)}/; this one goes on when that is done.", flush=True)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", None) not in NO_ACCESS:
            print(f"The disk of {shown(folder)}/ has no locks for files: run one notebook at a time there.")
        return None
    return lock


def is_link(path: Path | str) -> bool:
    """Whether the path is a symbolic link, or a junction of Windows."""
    return os.path.islink(path) or (hasattr(os.path, "isjunction") and os.path.isjunction(path))


def walk(folder: Path | str, above: tuple[str, ...] | None = None) -> Iterator[os.DirEntry]:
    """Everything below a folder, in the order of names, without what is hidden; nothing where there is no folder.

    Links are followed. One that leads nowhere is passed over, and so is one that leads to a folder around it. `above`
    are the real paths of the folders around, at first of the one that `folder` is in.
    """
    real = os.path.realpath(folder)
    above = (os.path.realpath(os.path.dirname(os.path.abspath(folder))),) if above is None else above
    if real in above or not os.path.isdir(folder):
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except PermissionError as error:
        raise Problem(f"{shown(Path(folder))} cannot be read; allow it, or move it away, and run again.") from error
    for entry in found:
        if entry.is_symlink() and not os.path.exists(entry.path):
            continue  # it leads nowhere
        yield entry
        if entry.is_dir():
            yield from walk(entry.path, (*above, real))


def leads_into(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies in it, links followed, whatever upper and lower case they are written in."""
    real = Path(os.path.realpath(path))
    return folder.exists() and any(each.exists() and each.samefile(folder) for each in (real, *real.parents))


def check_stays_out(pictures: Path, folder: Path) -> None:
    """Raise `Problem` where the folder `pictures`, or a link in it, leads into a place of `folder` or contains it.

    What a run takes from there it would also move and remove there.
    """
    # Each part may be a link to yet another place.
    places = [
        folder,
        folder / "aside",
        *(part for name in SPLITS for part in (folder / name, *folder.glob(f"*/{name}"))),
    ]
    links = (Path(entry.path) for entry in walk(pictures) if is_link(entry.path))
    checked = set()
    for path in itertools.chain([pictures], links):
        real = os.path.realpath(path)
        target = Path(real if os.path.isdir(real) else os.path.dirname(real))
        if (path.is_dir(), target) in checked:
            continue
        checked.add((path.is_dir(), target))
        if any(leads_into(target, place) for place in places):
            verb = "leads into" if is_link(path) else "is inside"
            raise Problem(
                f"{Path(os.path.abspath(path)).name} {verb} {folder.name}/, where this project puts and removes files. "
                "Move your pictures to a folder outside; or leave DATASET unset: pictures in datasets/ are used anyway."
            )
        if path.is_dir() and leads_into(folder, target):
            raise Problem(f"{target.name} contains {folder.name}/ itself; give a folder with your pictures alone.")


def copy_links(folder: Path) -> None:
    """Replace the links below Train, Val and Test of `folder` by copies of the images that they lead to.

    A split may then move everything, and what a link leads to stays as it is. Killed at any moment, it goes on in the
    next run. Raises `Problem` for a link that leads into `folder` itself.
    """
    count = 0
    for link in [Path(path) for part in SPLITS for path in _links_below(folder / part)]:
        if link.is_file() and is_image_name(link.name):
            copy(link, link)
            count += 1
        elif link.name.endswith(".link") and not link.exists():
            raise Problem(f"The folder that {shown(link)} leads to is not there; connect its disk and run again.")
        elif link.is_dir() and (not link.name.startswith(".") or link.name.endswith(".link")):
            count += _copy_folder_behind(link, folder)
    if count:
        print(f"{count} image(s) behind links in {shown(folder)}/ were copied there; their originals stay as they are.")


def _links_below(folder: Path | str) -> Iterator[str]:
    with os.scandir(folder) if os.path.isdir(folder) else contextlib.nullcontext(()) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.is_dir() and is_link(entry.path):
                yield entry.path
            elif entry.is_dir() and not entry.name.startswith("."):
                yield from _links_below(entry.path)


def _copy_folder_behind(link: Path, folder: Path) -> int:
    """Put a folder in the place of a link; its images are copies. Returns how many these are."""
    if leads_into(link, folder) or leads_into(folder, link):
        raise Problem(f"{shown(link)} is a link that leads into {shown(folder)}/ itself; remove it and run again.")
    if not link.name.startswith("."):  # while it is being replaced, it is called .<name>.link, which nothing lists
        link = link.rename(link.with_name(f".{link.name}.link"))
    copies = link.with_name(link.name[1 : -len(".link")])
    copies.mkdir(exist_ok=True)
    images = [Path(entry.path) for entry in walk(link) if entry.is_file() and is_image_name(entry.name)]
    for image in images:
        copy(image, copies / image.relative_to(link))
    link.unlink()
    return len(images)


def copy(source: Path, target: Path, *, keep_time: bool = False) -> None:
    """Copy a file, if asked with its time of last change. Killed at any moment, `target` is whole, or as it was before.

    The copy of a reader's file gets a time of its own, by which it is told from the original.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(".unfinished.part")
    shutil.copyfile(source, unfinished)
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    if keep_time:
        status = source.stat()
        os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(unfinished, target)


def move(source: Path, target: Path) -> None:
    """Move a file, to another disk as well. Killed at any moment, it is whole at one of the two places, or at both."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(source, target, keep_time=True)
        source.unlink()
