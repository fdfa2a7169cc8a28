"""Which files belong to which class: a folder or archive for each, or folders in one that has them all."""

import glob
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from ..settings import Problem
from .archives import ENDINGS, UNPACK, names
from .images import is_image_name, safe_name
from .place import is_link

# Parts of a data set that others have split: train and test, seg_train and seg_test, training_set and test_set, …
PART = re.compile(
    r"(?P<before>(.*[ _-])?)((?P<train>train(ing)?)|val(id(ation)?)?|test(ing)?|dev|eval(uation)?|pred(iction)?)"
    r"([ _-]?(set|data|images?|split))?\d*",
    re.IGNORECASE,
)
# Archives that Python does not read, and pieces of split ones.
UNREAD = re.compile(r".+\.(rar|7z|zipx|z\d\d|\d{3}|tar\.\w+)", re.IGNORECASE)
# What browsers and systems call a second file of the same name: Bike (1).zip, Bike - Copy.zip, Bike copy.zip.
COPY = re.compile(r"(.+?) ?(\(\d\d?\)|(- )?(copy|kopie|copie|copia|cópia)( \(?\d+\)?)?)", re.IGNORECASE)


@dataclass(frozen=True)
class ClassFiles:
    """Where files of one class lie: in an archive or a folder, those whose path inside it matches one of `patterns`.

    `address` is where the archive was downloaded from, if it was.
    """

    class_name: str
    path: Path
    patterns: tuple[str, ...] = ("*",)
    is_mask: bool = False
    address: str = ""

    def wants(self, inner: str) -> bool:
        return any(fnmatchcase(inner, pattern) for pattern in self.patterns)


def in_folder(folder: Path) -> list[ClassFiles]:
    """The classes in a folder, as in `by_class`; its folder `masks` holds a folder of masks for each class.

    Raises `Problem` also for archives that cannot be read, and for what looks like a second copy of a class.
    """
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith((".", "__"))]
    masks = folder / "masks"
    found = [
        entry
        for entry in entries
        if entry != masks and (entry.is_dir() or (entry.is_file() and entry.name.lower().endswith(ENDINGS)))
    ]
    if unread := [entry.name for entry in entries if entry not in found and UNREAD.fullmatch(entry.name)]:
        raise Problem(f"{folder.name} holds {len(found)} class(es) to read, and {', '.join(unread)}: {UNPACK}.")
    if len(found) == 1 and found[0].is_dir() and not is_link(found[0]) and not _has_images(found[0]):
        return in_folder(found[0])  # a folder around it all
    _check_copies(found)
    of_masks = [entry for entry in sorted(masks.glob("[!.]*")) if entry.is_dir()]
    return by_class(found) + [ClassFiles(class_name(entry), entry, is_mask=True) for entry in of_masks]


def by_class(paths: list[Path]) -> list[ClassFiles]:
    """A class for each folder or archive; where these are parts such as train and test, for each folder in the parts.

    In a single one, each folder is a class as well. A line says what is put together. Raises `Problem` for parts that
    are not sorted into classes, and as `archives.members` does.
    """
    parts = _parts(class_name(path) for path in paths)
    inside = [path for path in paths if len(paths) == 1 or class_name(path) in parts]
    found = [
        ClassFiles(name, path, tuple(f"{glob.escape(folder)}/*" for folder in folders))
        for path in inside
        for name, folders in sorted(_class_folders(_images_in(path), is_part=bool(parts)).items())
    ]
    if not parts and len({files.class_name for files in found}) < 2:
        found = []
    if found:
        _tell(found, [path.name for path in paths if path not in inside])
    elif parts and inside == paths:
        raise Problem(
            f"{' and '.join(parts)} are parts of a data set, and hold no folder for each class. Sort the images into "
            f"such folders, for example {parts[0]}/Bike and {parts[0]}/Car."
        )
    return found or [ClassFiles(class_name(path), path) for path in paths]


def check_names(dataset: str, classes: Iterable[str]) -> None:
    """Raise `Problem` unless there are two classes or more, and each can be the name of a folder on any computer."""
    classes = sorted(set(classes))
    if len(classes) < 2:
        raise Problem(
            f"{dataset} holds {len(classes)} class(es) {classes}, and at least two are needed. "
            "Give one folder, zip or tar for each class, for example Bike.zip and Car.zip."
        )
    if len({name.casefold() for name in classes}) < len(classes):
        raise Problem(
            f"{dataset} holds classes that differ in upper and lower case only, {classes}; some computers take them "
            "for one. Give them different names, or put them together."
        )
    for name in classes:
        if name != safe_name(name):
            raise Problem(
                f"The class name {name!r} cannot be the name of a folder on every computer; rename it where it comes "
                f"from, for example to {safe_name(name)!r}."
            )


def class_name(path: Path | PurePosixPath) -> str:
    """What a folder or archive is called, without the ending; the same for both ways in which Unicode writes é."""
    name = unicodedata.normalize("NFC", path.name.encode("utf-8", "replace").decode())
    return next((name[: -len(ending)] for ending in ENDINGS if name.lower().endswith(ending)), name)


def _parts(found: Iterable[str]) -> list[str]:
    """Those of the names that are parts of one data set: one for training, and others that are called alike."""
    matches = {name: match for name in found if (match := PART.fullmatch(name))}
    for train in (match for match in matches.values() if match["train"]):
        parts = sorted(name for name, match in matches.items() if match["before"] == train["before"])
        if len(parts) > 1:
            return parts
    return []


def _class_folders(images: list[tuple[str, ...]], above: str = "", is_part: bool = False) -> dict[str, list[str]]:
    """The folders of each class, of images whose paths are given in pieces; empty where these are not sorted so."""
    inside: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for folder, *rest in images:
        if rest:
            inside[folder].append(tuple(rest))
        elif not is_part:
            return {}  # images and folders side by side: all are of one class
    parts = _parts(inside)
    classes: dict[str, list[str]] = defaultdict(list)
    for folder in parts or (list(inside) if len(inside) == 1 else []):
        for name, folders in _class_folders(inside[folder], f"{above}{folder}/", bool(parts)).items():
            classes[name] += folders
    if not classes and len(parts) < len(inside):
        # A part that is not sorted, in a folder of the same name: seg_pred/seg_pred.
        for folder in (folder for folder in inside if not (is_part and PART.fullmatch(folder))):
            classes[class_name(PurePosixPath(folder))].append(f"{above}{folder}")
    return classes


def _images_in(path: Path) -> list[tuple[str, ...]]:
    return [PurePosixPath(inner).parts for inner in names(path) if is_image_name(inner)]


def _has_images(folder: Path) -> bool:
    return any(is_image_name(file) for file in folder.iterdir())


def _check_copies(entries: list[Path]) -> None:
    originals = {class_name(entry).casefold(): entry.name for entry in entries}
    archives = {class_name(entry): entry.name for entry in entries if entry.is_file()}
    for folder in (entry for entry in entries if entry.is_dir() and class_name(entry) in archives):
        raise Problem(
            f"{archives[class_name(folder)]} and the folder {folder.name} are the same class; remove one of them."
        )
    for entry in entries:
        copy = COPY.fullmatch(class_name(entry))
        other = copy and originals.setdefault(copy[1].casefold(), entry.name)
        if other and other != entry.name:
            raise Problem(
                f"{entry.name} looks like a second copy of {other}. Delete one of them; or, if it is a class of its "
                "own, rename it."
            )


def _tell(found: list[ClassFiles], left_out: list[str]) -> None:
    """Say in one line which folders are the classes."""
    first, classes = found[0].class_name, sorted({files.class_name for files in found})
    places = [
        f"{files.path.name}/{pattern.removesuffix('/*')}"
        for files in found
        if files.class_name == first
        for pattern in files.patterns
    ]
    together = f", put together from all parts ({first} from {', '.join(places)}) and split anew" * (len(places) > 1)
    without = f" Left out: {', '.join(left_out)}." if left_out else ""
    print(f"The classes are the folders {', '.join(classes)}{together}.{without}")
