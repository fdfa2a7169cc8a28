"""All of notebook 01 in one call: from a name or a folder to images in Train, Val and Test."""

import os
from pathlib import Path

from .. import settings
from ..drawings import VEHICLES
from ..settings import parameter
from .extraction import extract_into_train
from .place import alone_in
from .record import Record, read_record
from .sources import choose, fetch
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

    `classes` are those that 'auto' and 'sample' are to be pictures of, as in `choose`. `folder` is where Train, Val and
    Test are to lie (default `datasets/`); several data sets can be prepared side by side, each in a folder of its own.
    """
    folder = folder or settings.DATASETS
    choice = choose(dataset, classes, folder)
    print(choice.reason)
    files = fetch(choice, sample_images=sample_images)
    with alone_in(folder):
        extract_into_train(choice.name, files, folder)
        return split_images(val_share, test_share, seed, folder)


def prepared() -> Record:
    """What notebook 01 left behind; where it was not run on this machine, what it makes with its parameters.

    DATASET, VAL_SHARE, TEST_SHARE and SEED count here too where they are set as environment variables. Where another
    process is preparing images, its end is waited for.
    """
    with alone_in(settings.DATASETS):
        finish_taking_in()
        record = read_record()
        if record and not os.environ.get("DATASET"):
            return split_images(
                parameter("VAL_SHARE", record.val_share or 0.1, at_least=0.001, at_most=0.9),
                parameter("TEST_SHARE", record.test_share or 0.2, at_least=0.001, at_most=0.9),
                parameter("SEED", record.seed, at_least=0, at_most=2**32 - 1),
            )
    return prepare(
        parameter("DATASET", "auto"),
        sample_images=parameter("SAMPLE_IMAGES", 1000, at_least=1),
        val_share=parameter("VAL_SHARE", 0.1, at_least=0.001, at_most=0.9),
        test_share=parameter("TEST_SHARE", 0.2, at_least=0.001, at_most=0.9),
        seed=parameter("SEED", 0, at_least=0, at_most=2**32 - 1),
    )
