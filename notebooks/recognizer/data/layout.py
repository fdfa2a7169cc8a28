"""Decide which files belong to which class: one folder or archive per class, or one that has a folder per class."""

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

# Parts of a data set that its publisher has split: train and test, seg_train and seg_test, training_set and test_set, …
PART = re.compile(
    r"(?P<before>(.*[ _-])?)((?P<train>train(ing)?)|val(id(ation)?)?|test(ing)?|dev|eval(uation)?|pred(iction)?)"
    r"([ _-]?(set|data|images?|split))?\d*",
    re.IGNORECASE,
)
# Archives that Python cannot read, and parts of split archives.
UNREAD = re.compile(r".+\.(rar|7z|zipx|z\d\d|\d{3}|tar\.\w+)", re.IGNORECASE)
# How browsers and systems rename a second file of the same name: Bike (1).zip, Bike - Copy.zip, Bike copy.zip.
COPY = re.compile(r"(.+?) ?(\(\d\d?\)|(- )?(copy|kopie|copie|copia|cópia)( \(?\d+\)?)?)", re.IGNORECASE)


@dataclass(frozen=True)
class ClassFiles:
    """Where the files of one class are: in an archive or folder, those whose inner path matches one of `patterns`.

    `address` is where the archive was downloaded from; it is empty if it was not downloaded.
    """

    class_name: str
    path: Path
    patterns: tuple[str, ...] = ("*",)
    is_mask: bool = False
    address: str = ""

    def wants(self, inner: str) -> bool:
        return any(fnmatchcase(inner, pattern) for pattern in self.patterns)


def in_folder(folder: Path) -> list[ClassFiles]:
    """The classes in a folder, as in `by_class`. Its folder `masks` holds a folder of masks for each class.

    Also raises `Problem` for archives that cannot be read, and for a folder or archive that looks like a second copy.
    """
    entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith((".", "__"))]
    masks = folder / "masks"
    sources = [
        entry
        for entry in entries
        if entry != masks and (entry.is_dir() or (entry.is_file() and entry.name.lower().endswith(ENDINGS)))
    ]
    if unreadable := [entry.name for entry in entries if entry not in sources and UNREAD.fullmatch(entry.name)]:
        raise Problem(
            f"{folder.name} holds {len(sources)} readable class(es), but Python cannot read {', '.join(unreadable)}; "
            f"{UNPACK}."
        )
    if len(sources) == 1 and sources[0].is_dir() and not is_link(sources[0]) and not _has_images(sources[0]):
        return in_folder(sources[0])  # one folder that contains everything
    _check_copies(sources)
    mask_folders = [entry for entry in sorted(masks.glob("[!.]*")) if entry.is_dir()]
    return by_class(sources) + [ClassFiles(class_name(entry), entry, is_mask=True) for entry in mask_folders]


def by_class(paths: list[Path]) -> list[ClassFiles]:
    """One class per folder or archive. If these are parts such as train and test, one class per folder in the parts.

    A single folder or archive can also have one folder per class. A printed line says which folders are merged. Raises
    `Problem` for parts that are not sorted into classes, and as `archives.members` does.
    """
    parts = _parts(class_name(path) for path in paths)
    containers = [path for path in paths if len(paths) == 1 or class_name(path) in parts]
    class_files = [
        ClassFiles(name, path, tuple(f"{glob.escape(folder)}/*" for folder in folders))
        for path in containers
        for name, folders in sorted(_class_folders(_images_in(path), is_part=bool(parts)).items())
    ]
    if not parts and len({files.class_name for files in class_files}) < 2:
        class_files = []
    if class_files:
        _tell(class_files, [path.name for path in paths if path not in containers])
    elif parts and containers == paths:
        raise Problem(
            f"{' and '.join(parts)} are parts of a data set, but they have no folder for each class. Sort the images "
            f"into such folders, for example {parts[0]}/Bike and {parts[0]}/Car."
        )
    return class_files or [ClassFiles(class_name(path), path) for path in paths]


def check_names(dataset: str, classes: Iterable[str]) -> None:
    """Raise `Problem` unless there are two classes or more, each with a valid folder name on every computer."""
    classes = sorted(set(classes))
    if len(classes) < 2:
        raise Problem(
            f"{dataset} has {len(classes)} class(es) {classes}, but at least two are needed. "
            "Give one folder, zip or tar for each class, for example Bike.zip and Car.zip."
        )
    if len({name.casefold() for name in classes}) < len(classes):
        raise Problem(
            f"{dataset} has classes that differ only in upper and lower case: {classes}. Some computers treat them as "
            "the same name. Give them different names, or merge them."
        )
    for name in classes:
        if name != safe_name(name):
            raise Problem(
                f"The class name {name!r} cannot be the name of a folder on every computer; rename the class in your "
                f"data set, for example to {safe_name(name)!r}."
            )


def class_name(path: Path | PurePosixPath) -> str:
    """The name of a folder or archive without its ending, in Unicode's composed form (NFC)."""
    name = unicodedata.normalize("NFC", path.name.encode("utf-8", "replace").decode())
    return next((name[: -len(ending)] for ending in ENDINGS if name.lower().endswith(ending)), name)


def _parts(folder_names: Iterable[str]) -> list[str]:
    """The names that are parts of one data set: one for training, and others named in the same way."""
    matches = {name: match for name in folder_names if (match := PART.fullmatch(name))}
    for train in (match for match in matches.values() if match["train"]):
        parts = sorted(name for name, match in matches.items() if match["before"] == train["before"])
        if len(parts) > 1:
            return parts
    return []


def _class_folders(images: list[tuple[str, ...]], above: str = "", is_part: bool = False) -> dict[str, list[str]]:
    """The folders of each class, from image paths in components. Empty if the images are not sorted into folders."""
    inside: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for folder, *rest in images:
        if rest:
            inside[folder].append(tuple(rest))
        elif not is_part:
            return {}  # images and folders side by side: everything is one class
    parts = _parts(inside)
    classes: dict[str, list[str]] = defaultdict(list)
    for folder in parts or (list(inside) if len(inside) == 1 else []):
        for name, folders in _class_folders(inside[folder], f"{above}{folder}/", bool(parts)).items():
            classes[name] += folders
    if not classes and len(parts) < len(inside):
        # Skip an unsorted part in a folder of the same name: seg_pred/seg_pred.
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
                f"{entry.name} looks like a second copy of {other}. Delete one of them, or rename it if it is another "
                "class."
            )


def _tell(class_files: list[ClassFiles], left_out: list[str]) -> None:
    """Print one line that says which folders are the classes."""
    first, classes = class_files[0].class_name, sorted({files.class_name for files in class_files})
    places = [
        f"{files.path.name}/{pattern.removesuffix('/*')}"
        for files in class_files
        if files.class_name == first
        for pattern in files.patterns
    ]
    merged = f", merged from all parts ({first} from {', '.join(places)}) and split again" * (len(places) > 1)
    without = f" Left out: {', '.join(left_out)}." if left_out else ""
    print(f"The classes are the folders {', '.join(classes)}{merged}.{without}")
