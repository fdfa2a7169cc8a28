"""The data sets that can be downloaded, with addresses, checksums and licences, and their archives on disk."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from .. import drawings, settings
from ..drawings import PETS, VEHICLES
from ..progress import progress_bar
from ..settings import PROJECT, Problem
from .addresses import file_names, of_the_file
from .downloads import Download, download, reachable
from .layout import ClassFiles, by_class, check_names, class_name, in_folder
from .place import alone_in, check_stays_out
from .shard_pattern import are_shards, named_shards


@dataclass(frozen=True)
class Source:
    """A named data set: its downloads, and which of their files belong to which class.

    `classes` and `masks` map a class to a pattern (as in `fnmatch`) for the paths inside the archive.
    """

    name: str
    what: str
    licence: str
    downloads: tuple[Download, ...]
    classes: dict[str, str]
    masks: dict[str, str] = field(default_factory=dict)

    @property
    def description(self) -> str:
        return f"{self.what}; licence: {self.licence}"


KAGGLE = "https://www.kaggle.com/api/v1/datasets/download"
LEAR = "https://lear.inrialpes.fr/people/marszalek/data/ig02"

SOURCES = {
    source.name: source
    for source in (
        Source(
            "motorbikes",
            "4,000 photographs from the web, mostly motorbikes and cars in shop pictures (Kaggle, 103 MB)",
            "see the data set's page on Kaggle",
            (Download(f"{KAGGLE}/utkarshsaxenadn/car-vs-bike-classification-dataset", None, "car-vs-bike.zip"),),
            {"Bike": "*/Bike/*", "Car": "*/Car/*"},
        ),
        Source(
            "street",
            "785 photographs of bicycles and cars in streets, with object masks (IG02, 413 MB)",
            "free for research",
            (
                Download(f"{LEAR}/ig02-v1.0-bikes.zip", "md5:13266fdf968176fa3aebdd439184254f", "ig02-bikes.zip"),
                Download(f"{LEAR}/ig02-v1.0-cars.zip", "md5:34de933832755ee009c6f0e9d9c6426e", "ig02-cars.zip"),
            ),
            {"Bike": "bikes/*.image.png", "Car": "cars/*.image.png"},
            {"Bike": "bikes/*.mask.*.png", "Car": "cars/*.mask.*.png"},
        ),
        Source(
            "caltech",
            "798 motorbikes in colour and 123 cars in grey: an example of shortcut learning (Caltech 101, 137 MB)",
            "CC BY 4.0",
            (
                Download(
                    "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip?download=1",
                    "md5:3138e1922a9193bfa496528edbbc45d0",
                    "caltech-101.zip",
                ),
            ),
            {"Bike": "*/Motorbikes/*.jpg", "Car": "*/car_side/*.jpg"},
        ),
        Source(
            "pets",
            "3,000 photographs of cats and dogs (the part of pets-full that Google's course uses, 69 MB)",
            "as pets-full",
            (
                Download(
                    "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip",
                    None,
                    "cats_and_dogs_filtered.zip",
                ),
            ),
            # Its folders train and validation are merged and split again: nobody checked them for near-copies, and
            # there is no test part. Seven tenths of all images are about as many as train had.
            {"Cat": "*/cats/*.jpg", "Dog": "*/dogs/*.jpg"},
        ),
        Source(
            "pets-full",
            "25,000 photographs of cats and dogs from animal shelters (Microsoft, 825 MB)",
            "see the data set's page at Microsoft",
            (
                Download(
                    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
                    "kagglecatsanddogs_5340.zip",
                    "sha256:b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
                    "kagglecatsanddogs_5340.zip",
                ),
            ),
            {"Cat": "*/Cat/*.jpg", "Dog": "*/Dog/*.jpg"},
        ),
    )
}
# What 'auto' tries, and what 'sample' draws, for these classes. Not caltech, because there colour alone tells the
# classes apart.
AUTOMATIC = {VEHICLES: ("motorbikes", "street"), PETS: ("pets",)}
DRAWN = {VEHICLES: "sample", PETS: "drawn-pets"}


@dataclass(frozen=True)
class Choice:
    """What `DATASET` means: the name to show, the reason in one line, and what to fetch or read.

    `shards` is as from `named_shards`.
    """

    name: str
    reason: str
    source: Source | None = None
    folder: Path | None = None
    addresses: tuple[str, ...] = ()
    shards: dict[str, str] = field(default_factory=dict)
    drawn: tuple[str, ...] = ()


def choose(dataset: str = "auto", classes: tuple[str, ...] = VEHICLES, folder: Path | None = None) -> Choice:
    """Decide what `dataset` means, without downloading anything.

    `dataset` is one of:
    'auto' or 'sample', for pictures of `classes` (`drawings.VEHICLES` or `drawings.PETS`);
    'drawn-pets', whatever `classes` are;
    a name in `SOURCES`;
    the path of a folder with one folder or archive per class;
    addresses (http…) of one archive per class, separated by spaces;
    a pattern of shards, as a path or address, such as path/to/shards-{000..099}.tar.
    One archive, or parts such as train and test, may have one folder per class instead. Relative paths start at the
    project's folder. `folder` is where the images will be put (default `datasets/`).
    Raises `Problem` if `dataset` is none of these, and for pictures where this project puts and removes files.
    """
    if dataset == "auto":
        return _automatic(classes)
    if dataset in ("sample", DRAWN[PETS]):
        return _drawings(PETS if dataset == DRAWN[PETS] else classes, "as asked")
    if dataset in SOURCES:
        return Choice(dataset, f"Using {dataset}, as asked: {SOURCES[dataset].description}.", source=SOURCES[dataset])
    if are_shards(dataset):
        name, shards = named_shards(dataset)
        reason = f"Using {len(shards)} shard(s), as asked. They are read as a stream and never unpacked."
        return Choice(name, reason, shards=shards)
    if dataset.startswith(("http://", "https://")):
        addresses = tuple(dataset.split())
        digest = hashlib.sha256(dataset.encode()).hexdigest()[:8]
        several = f"archives at {len(addresses)} addresses" if len(addresses) > 1 else "archive at one address"
        reason = f"Using the {several}, as asked."
        return Choice(f"addresses-{digest}", reason, addresses=addresses)
    path = PROJECT / os.path.expanduser(dataset)
    if not os.path.exists(path):  # also False for impossible file names
        raise Problem(
            f"DATASET={dataset[:200]!r} is neither a folder nor one of auto, sample, {', '.join(SOURCES)}, "
            f"{DRAWN[PETS]}. Give one of these names, or the path of a folder with one folder or archive per "
            "class, such as Bike.zip and Car.zip. A relative path starts at the project's folder."
        )
    for place in {settings.DATASETS, folder or settings.DATASETS}:
        check_stays_out(path, place)
    if path.is_file():
        return Choice(class_name(path), f"Using the archive {path.name}, as asked.", folder=path)
    name = Path(os.path.abspath(path)).name  # also of ../pictures/..
    return Choice(name, f"Using the folder {name}, as asked.", folder=path)


def _automatic(classes: tuple[str, ...]) -> Choice:
    for name in AUTOMATIC[classes]:
        source = SOURCES[name]
        if all(_archive_path(name, wanted.file_name).exists() for wanted in source.downloads):
            return Choice(name, f"Using {name}, downloaded before: {source.description}.", source=source)
        if reachable(source.downloads[0].url):
            return Choice(name, f"Using {name}, because it can be reached: {source.description}.", source=source)
    tried = ", ".join(AUTOMATIC[classes])
    return _drawings(classes, f"because no source of photographs ({tried}) can be reached from here")


def _drawings(classes: tuple[str, ...], why: str) -> Choice:
    what = " and ".join(f"{name.lower()}s" for name in classes)
    return Choice(DRAWN[classes], f"Using the drawn sample, {why}: {what} drawn by this project.", drawn=classes)


def _archive_path(*parts: str) -> Path:
    return settings.ARCHIVES.joinpath(*parts)


def fetch(choice: Choice, *, sample_images: int) -> list[ClassFiles]:
    """Download (or draw) what is not on disk yet, and return where the files of each class are.

    Archives are saved in `datasets/archives/<name>/` and checked against the published checksum, if there is one. They
    have a temporary name until they are complete. `sample_images` is the number of drawings per class. Shards stay
    where they are, and there is nothing to fetch.
    Raises `Problem` for a wrong checksum, an answer that is not an archive, a server that refuses, fewer than two
    classes, and class names that cannot be the names of folders.
    """
    if choice.shards:
        return []
    if choice.folder:
        files = in_folder(choice.folder) if choice.folder.is_dir() else by_class([choice.folder])
    elif choice.source:
        patterns = [(name, pattern, False) for name, pattern in choice.source.classes.items()]
        patterns += [(name, pattern, True) for name, pattern in choice.source.masks.items()]
        downloads = choice.source.downloads
        paths = _download_all(choice.name, downloads)
        files = [
            ClassFiles(name, path, (pattern,), is_mask, wanted.url)
            for name, pattern, is_mask in patterns
            for path, wanted in zip(paths, downloads)
        ]
    elif choice.addresses:
        names = file_names(choice.addresses, _archive_path(choice.name))
        downloads = [Download(of_the_file(url), None, name) for url, name in zip(choice.addresses, names)]
        addresses = dict(zip(_download_all(choice.name, downloads), choice.addresses))
        files = [replace(source, address=addresses[source.path]) for source in by_class(list(addresses))]
    else:
        with alone_in(settings.ARCHIVES, choice.name):
            files = in_folder(_drawn(choice, sample_images))
    check_names(choice.name, [source.class_name for source in files])
    return files


def _drawn(choice: Choice, images_per_class: int) -> Path:
    """The folder of a drawn sample, which is drawn if there is none from this version of the drawing code."""
    code = b"".join(path.read_bytes() for path in sorted(Path(drawings.__file__).parent.glob("*.py")))
    folder = _archive_path(f"{choice.name}-{images_per_class}-{hashlib.sha256(code).hexdigest()[:8]}")
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        with progress_bar("draw", images_per_class * len(choice.drawn), "images") as bar:
            # Starting a process takes seconds, and one drawing takes a hundredth of a second.
            drawings.write_zips(
                unfinished,
                choice.drawn,
                images_per_class=images_per_class,
                workers=min(4, os.cpu_count() or 1, max(1, images_per_class * len(choice.drawn) // 400)),
                progress=lambda *_: bar.update(),
            )
        unfinished.rename(folder)
    return folder


def _download_all(folder_name: str, downloads: Iterable[Download]) -> list[Path]:
    with alone_in(settings.ARCHIVES, folder_name):
        return [download(wanted, _archive_path(folder_name, wanted.file_name)) for wanted in downloads]
