"""What can be downloaded: address, checksum, licence; and the archives it becomes on disk."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .. import settings
from ..progress import progress_bar
from ..settings import PROJECT, Problem
from . import drawings
from .downloads import Download, download, reachable

ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Source:
    """A named data set: its downloads, and which of their files belong to which class.

    `classes` and `masks` map a class to a pattern (as in `fnmatch`) that the path inside the archive matches.
    """

    name: str
    what: str
    licence: str
    downloads: tuple[Download, ...]
    classes: dict[str, str]
    masks: dict[str, str] | None = None


KAGGLE = "https://www.kaggle.com/api/v1/datasets/download"
LEAR = "https://lear.inrialpes.fr/people/marszalek/data/ig02"

SOURCES = {
    source.name: source
    for source in (
        Source(
            "motorbikes",
            "4,000 photographs from the web, mostly motorbikes and cars in shop pictures (Kaggle, 103 MB)",
            "see the data set's page on Kaggle",
            (
                Download(
                    f"{KAGGLE}/utkarshsaxenadn/car-vs-bike-classification-dataset", None, "car-vs-bike.zip"
                ),
            ),
            {"Bike": "*/Bike/*", "Car": "*/Car/*"},
        ),
        Source(
            "street",
            "785 photographs of bicycles and cars in streets, with object masks (IG02, 413 MB)",
            "free for research",
            (
                Download(
                    f"{LEAR}/ig02-v1.0-bikes.zip", "md5:13266fdf968176fa3aebdd439184254f", "ig02-bikes.zip"
                ),
                Download(
                    f"{LEAR}/ig02-v1.0-cars.zip", "md5:34de933832755ee009c6f0e9d9c6426e", "ig02-cars.zip"
                ),
            ),
            {"Bike": "bikes/*.image.png", "Car": "cars/*.image.png"},
            {"Bike": "bikes/*.mask.*.png", "Car": "cars/*.mask.*.png"},
        ),
        Source(
            "caltech",
            "798 motorbikes in colour and 123 cars in grey: a lesson in shortcuts (Caltech 101, 137 MB)",
            "CC BY 4.0",
            (
                Download(
                    "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip?download=1",
                    "md5:3138e1922a9193bfa496528edbbc45d0",
                    "caltech-101.zip",
                ),
            ),
            {"Bike": "*/Motorbikes/*", "Car": "*/car_side/*"},
        ),
    )
}
AUTOMATIC = ("motorbikes", "street")  # not caltech: there colour alone tells the classes apart


@dataclass(frozen=True)
class ClassFiles:
    """Where the files of one class lie: in an archive or a folder, those whose path matches `pattern`."""

    class_name: str
    path: Path
    pattern: str = "*"
    is_mask: bool = False


@dataclass(frozen=True)
class Choice:
    """What `DATASET` came to: the name to show, the reason in one plain line, and what to fetch or read."""

    name: str
    reason: str
    source: Source | None = None
    folder: Path | None = None
    addresses: tuple[str, ...] = ()


def choose(dataset: str = "auto") -> Choice:
    """Decide what `dataset` means, without downloading anything.

    `dataset` is 'auto', 'sample', a name in `SOURCES`, the path of a folder that holds one folder or one archive
    a class, or addresses (http…) of one archive a class, separated by spaces. Relative paths start at the project's folder.
    Raises `Problem` when it is none of these.
    """
    if dataset == "auto":
        return _automatic()
    if dataset == "sample":
        return Choice("sample", "Using the drawn sample, as asked: bikes and cars drawn by this project.")
    if dataset in SOURCES:
        return Choice(
            dataset, f"Using {dataset}, as asked: {SOURCES[dataset].what}.", source=SOURCES[dataset]
        )
    if dataset.startswith(("http://", "https://")):
        addresses = tuple(dataset.split())
        digest = hashlib.sha256(dataset.encode()).hexdigest()[:8]
        reason = f"Using the archives at {len(addresses)} addresses, as asked."
        return Choice(f"addresses-{digest}", reason, addresses=addresses)
    folder = PROJECT / Path(dataset).expanduser()
    if folder.is_dir():
        return Choice(folder.name, f"Using the folder {folder.name}, as asked.", folder=folder)
    raise Problem(
        f"DATASET={dataset!r} is neither a folder nor one of auto, sample, {', '.join(SOURCES)}. "
        "Give one of these names, or the path of a folder that holds Bike.zip and Car.zip."
    )


def _automatic() -> Choice:
    for name in AUTOMATIC:
        source = SOURCES[name]
        if all(_archive_path(name, wanted.file_name).exists() for wanted in source.downloads):
            return Choice(name, f"Using {name}, downloaded before: {source.what}.", source=source)
        if reachable(source.downloads[0].url):
            return Choice(name, f"Using {name}, because it can be reached: {source.what}.", source=source)
    return Choice(
        "sample",
        f"Using the drawn sample, because no source of photographs ({', '.join(AUTOMATIC)}) can be reached from here.",
    )


def _archive_path(*parts: str) -> Path:
    return settings.DATASETS.joinpath("archives", *parts)


def fetch(choice: Choice, *, sample_images: int) -> list[ClassFiles]:
    """Download (or draw) what is not on disk yet, and say where the files of each class lie.

    Archives land in `datasets/archives/<name>/`, checked against the published checksum where there is one, and
    under a temporary name until they are whole. `sample_images` is the number of drawings a class. Raises `Problem` for a wrong checksum, an answer that is no archive, a server that
    refuses, or a folder that does not hold at least two classes.
    """
    if choice.folder:
        return _in_folder(choice.folder)
    if choice.addresses:
        names = [Path(unquote(urlsplit(url).path)).name for url in choice.addresses]
        downloads = [Download(url, None, name) for url, name in zip(choice.addresses, names)]
        return [ClassFiles(_class_name(path), path) for path in _download_all(choice.name, downloads)]
    if choice.source:
        paths = _download_all(choice.name, choice.source.downloads)
        return [
            ClassFiles(class_name, path, pattern, is_mask)
            for is_mask, patterns in ((False, choice.source.classes), (True, choice.source.masks or {}))
            for class_name, pattern in patterns.items()
            for path in paths
        ]
    return _drawn(sample_images)


def _drawn(images_per_class: int) -> list[ClassFiles]:
    folder = _archive_path(f"sample-{images_per_class}")
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        with progress_bar("draw", images_per_class * len(drawings.CLASSES), "images") as bar:
            drawings.write_zips(
                unfinished,
                images_per_class=images_per_class,
                workers=os.cpu_count(),
                progress=lambda *_: bar.update(),
            )
        unfinished.rename(folder)
    return _in_folder(folder)


def _in_folder(folder: Path) -> list[ClassFiles]:
    entries = [e for e in sorted(folder.iterdir()) if not e.name.startswith((".", "__"))]
    found = [
        ClassFiles(_class_name(entry), entry)
        for entry in entries
        if entry.name.lower() != "masks" and (entry.is_dir() or entry.name.lower().endswith(ARCHIVE_ENDINGS))
    ]
    if len({files.class_name for files in found}) < 2:
        raise Problem(
            f"The folder {folder.name} holds {len(found)} class(es), and telling things apart takes two. "
            "Put one folder or one zip a class into it, for example Bike.zip and Car.zip."
        )
    masks = folder / "masks"
    if masks.is_dir():
        found += [
            ClassFiles(entry.name, entry, is_mask=True) for entry in sorted(masks.iterdir()) if entry.is_dir()
        ]
    return found


def _class_name(path: Path) -> str:
    name = path.name
    for ending in ARCHIVE_ENDINGS:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _download_all(folder_name: str, downloads: Iterable[Download]) -> list[Path]:
    return [download(wanted, _archive_path(folder_name, wanted.file_name)) for wanted in downloads]
