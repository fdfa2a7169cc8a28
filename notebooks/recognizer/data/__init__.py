"""Notebook 01: where the pictures come from, and what becomes of them on disk."""

from ..settings import parameter
from .sources import choose, fetch
from .split import Record, extract_into_train, read_record, split_images


def prepare(dataset: str, *, sample_images: int, val_share: float, test_share: float, seed: int) -> Record:
    """All of notebook 01 in one call. Nothing is done twice: a second call with the same arguments changes nothing."""
    choice = choose(dataset)
    print(choice.reason)
    extract_into_train(choice.name, fetch(choice, sample_images=sample_images))
    return split_images(val_share, test_share, seed)


def prepared() -> Record:
    """What notebook 01 left behind, or, where it was not run on this machine, what it makes with its parameters."""
    record = read_record()
    if record and record.is_split:
        return record
    return prepare(
        parameter("DATASET", "auto"),
        sample_images=parameter("SAMPLE_IMAGES", 500),
        val_share=parameter("VAL_SHARE", 0.2),
        test_share=parameter("TEST_SHARE", 0.2),
        seed=parameter("SEED", 0),
    )
