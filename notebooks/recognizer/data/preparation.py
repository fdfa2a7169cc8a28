"""All of notebook 01 in one call: from a name or a folder to images in Train, Val and Test."""

import os
from pathlib import Path

from .. import settings
from ..drawings import VEHICLES
from ..settings import Problem, parameter
from .extraction import extract_into_train
from .layout import ClassFiles
from .place import alone_in
from .record import Record, read_record
from .shards import current_shards, deal_shards, forget_current, read_shards
from .sources import Choice, choose, fetch
from .split import split_images
from .taking_in import finish_taking_in


def prepare(
    dataset: str,
    *,
    sample_images: int,
    val_share: float,
    test_share: float,
    seed: int,
    classes: tuple[str, ...] = VEHICLES,
    folder: Path | None = None,
) -> Record:
    """All of notebook 01 in one call. Nothing is done twice: a second call with the same arguments changes nothing.

    `classes` are the classes that 'auto' and 'sample' show, as in `choose`. `folder` is where Train, Val and Test are
    put (default `datasets/`). Several data sets can be prepared side by side, each in a folder of its own.
    """
    folder = folder or settings.DATASETS
    choice = choose(dataset, classes, folder)
    if choice.shards and folder != settings.DATASETS:
        raise Problem("This notebook cannot use shards; only notebooks 01 to 03 can. Give a folder, or DATASET=sample.")
    print(choice.reason)
    files = fetch(choice, sample_images=sample_images)
    with alone_in(folder):
        record = take_in(choice, files, folder)
        if record.shards:
            return deal_shards(record, val_share, test_share, seed, folder)
        return split_images(val_share, test_share, seed, folder)


def take_in(choice: Choice, files: list[ClassFiles], folder: Path | None = None) -> Record:
    """Make `choice` the data set in use: extract its `files`, which `fetch` returned, or read its shards once.

    Raises `Problem` as `extract_into_train` and `read_shards` do.
    """
    if choice.shards:
        return read_shards(choice.name, choice.shards, folder)
    record = extract_into_train(choice.name, files, folder)
    forget_current(folder or settings.DATASETS)
    return record


def prepared(*, or_shards: bool = False) -> Record:
    """What notebook 01 prepared. If it was not run on this machine, this prepares the same with its parameters.

    The environment variables DATASET, VAL_SHARE, TEST_SHARE and SEED count here too, if they are set. If another
    process is preparing images, this waits until it is done. Raises `Problem` if the images are in shards, unless the
    caller uses `load_part` and says so with `or_shards`.
    """
    record = _prepared()
    if record.shards and not or_shards:
        raise Problem(
            "The images are in shards, which only notebooks 01 to 03 can use. Give a folder or a name, for example "
            "DATASET=sample."
        )
    return record


def _prepared() -> Record:
    with alone_in(settings.DATASETS):
        finish_taking_in()
        record = current_shards() or read_record()
        if record and not os.environ.get("DATASET"):
            shares_and_seed = (
                parameter("VAL_SHARE", record.val_share or 0.1, at_least=0.001, at_most=0.9),
                parameter("TEST_SHARE", record.test_share or 0.2, at_least=0.001, at_most=0.9),
                parameter("SEED", record.seed, at_least=0, at_most=2**32 - 1),
            )
            return deal_shards(record, *shares_and_seed) if record.shards else split_images(*shares_and_seed)
    return prepare(
        parameter("DATASET", "auto"),
        sample_images=parameter("SAMPLE_IMAGES", 1000, at_least=1),
        val_share=parameter("VAL_SHARE", 0.1, at_least=0.001, at_most=0.9),
        test_share=parameter("TEST_SHARE", 0.2, at_least=0.001, at_most=0.9),
        seed=parameter("SEED", 0, at_least=0, at_most=2**32 - 1),
    )
