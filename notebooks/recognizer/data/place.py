"""The folder of a data set: its lock, the links in it, and moving files, also between disks."""

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
def alone_in(folder: Path, name: str = "", doing: str = "putting images in place") -> Iterator[None]:
    """Keep other processes from changing `folder`, or only what is called `name` in it, until the block ends.

    If another process already works there, this one prints a line and waits. The operating system releases the lock of
    a process that is killed. The same thread may take the lock again inside. If the folder is read-only, or its disk
    does not support locks, the block runs without one.
    Raises `Problem` as `room_on_disk(doing)` does, and if a file in the folder disappears meanwhile.
    """
    with room_on_disk(doing, folder):
        lock = _acquired(FileLock(folder / f"{name and '.'}{name}.lock", is_singleton=True), folder)
        try:
            yield
        except FileNotFoundError as error:
            path = Path(str(error.filename or ""))
            if not path.is_relative_to(folder):
                raise
            raise Problem(f"{shown(path)} disappeared: another program moved or deleted it. Run again.") from error
        finally:
            if lock:
                lock.release()


def _acquired(lock: FileLock, folder: Path) -> FileLock | None:
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"Another notebook is at work in {shown(folder)}/; this one continues when it is done.", flush=True)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", None) not in NO_ACCESS:
            print(f"The disk of {shown(folder)}/ does not support file locks: run only one notebook at a time there.")
        return None
    return lock


def is_link(path: Path | str) -> bool:
    """Whether the path is a symbolic link, or a Windows junction."""
    return os.path.islink(path) or (hasattr(os.path, "isjunction") and os.path.isjunction(path))


def walk(folder: Path | str, above: tuple[str, ...] | None = None) -> Iterator[os.DirEntry]:
    """Everything below a folder, sorted by name, without hidden entries. Nothing if the folder does not exist.

    Links are followed, except broken links and links to a folder that contains them. `above` are the real paths of the
    folders that contain `folder`, starting with its parent.
    """
    real = os.path.realpath(folder)
    above = (os.path.realpath(os.path.dirname(os.path.abspath(folder))),) if above is None else above
    if real in above or not os.path.isdir(folder):
        return
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError as error:
        raise Problem(
            f"{shown(Path(folder))} cannot be read; change its permissions or move it away, and run again."
        ) from error
    for entry in sorted(visible, key=lambda entry: entry.name):
        if entry.is_symlink() and not os.path.exists(entry.path):
            continue  # a broken link
        yield entry
        if entry.is_dir():
            yield from walk(entry.path, (*above, real))


def leads_into(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies in it. Links are followed; on some disks, upper and lower case are equal."""
    real = Path(os.path.realpath(path))
    ancestors = (real, *real.parents)
    return folder.exists() and any(ancestor.exists() and ancestor.samefile(folder) for ancestor in ancestors)


def check_stays_out(pictures: Path, folder: Path) -> None:
    """Raise `Problem` if the folder `pictures`, or a link in it, leads into a place of `folder` or contains `folder`.

    A run would otherwise move and remove the user's original files.
    """
    # Each part may itself be a link to another place.
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
                "Move your pictures to another folder, or leave DATASET unset: pictures in datasets/ are used anyway."
            )
        if path.is_dir() and leads_into(folder, target):
            raise Problem(f"{target.name} contains {folder.name}/ itself; use a folder with only your pictures.")


def copy_links(folder: Path) -> None:
    """Replace the links below Train, Val and Test of `folder` with copies of the images that they lead to.

    A split can then move everything, and the originals stay unchanged. If this is interrupted at any moment, the next
    run continues it. Raises `Problem` for a link that leads into `folder` itself.
    """
    count = 0
    for link in [Path(path) for part in SPLITS for path in _links_below(folder / part)]:
        if link.is_file() and is_image_name(link.name):
            copy(link, link)
            count += 1
        elif link.name.endswith(".link") and not link.exists():
            raise Problem(f"The folder that {shown(link)} leads to is missing; connect its disk and run again.")
        elif link.is_dir() and (not link.name.startswith(".") or link.name.endswith(".link")):
            count += _copy_folder_behind(link, folder)
    if count:
        print(f"{count} linked image(s) were copied into {shown(folder)}/; the originals stay unchanged.")


def _links_below(folder: Path | str) -> Iterator[str]:
    with os.scandir(folder) if os.path.isdir(folder) else contextlib.nullcontext(()) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.is_dir() and is_link(entry.path):
                yield entry.path
            elif entry.is_dir() and not entry.name.startswith("."):
                yield from _links_below(entry.path)


def _copy_folder_behind(link: Path, folder: Path) -> int:
    """Replace a link with a folder of copies of its images. Returns the number of copies."""
    if leads_into(link, folder) or leads_into(folder, link):
        raise Problem(f"{shown(link)} is a link that leads into {shown(folder)}/ itself; remove it and run again.")
    if not link.name.startswith("."):  # while it is being replaced, it has the hidden name .<name>.link
        link = link.rename(link.with_name(f".{link.name}.link"))
    copies = link.with_name(link.name[1 : -len(".link")])
    copies.mkdir(exist_ok=True)
    images = [Path(entry.path) for entry in walk(link) if entry.is_file() and is_image_name(entry.name)]
    for image in images:
        copy(image, copies / image.relative_to(link))
    link.unlink()
    return len(images)


def copy(source: Path, target: Path, *, keep_time: bool = False) -> None:
    """Copy a file. If this is interrupted at any moment, `target` is complete or as it was before.

    With `keep_time`, the copy has the modification time of `source`. Without it, a new time marks it as a copy.
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
    """Move a file, also to another disk. If interrupted, it is complete in one of the two places, or in both."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(source, target, keep_time=True)
        source.unlink()
