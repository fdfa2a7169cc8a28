"""Train, Val and Test of the data set in use, whether its images are files or stay in shards."""

from pathlib import Path

from .. import settings
from .dataset import Pictures
from .record import Record, images_in, images_on_disk
from .shards import kept_pictures
from .streamed import HELD, HeldPictures, StreamedPictures


def load_part(
    record: Record, part: str, image_size: int, detail: float = 1
) -> Pictures | StreamedPictures | HeldPictures:
    """'Train', 'Val' or 'Test', for a network that takes images of S×S, S = `image_size`.

    The images are stored `detail` times as large. Raises `Problem` as `Pictures` does, and for shards that cannot be
    read or have changed.
    """
    if not record.shards:
        return Pictures(settings.DATASETS / part, image_size, detail)
    if part in HELD:
        return HeldPictures(record, part, image_size, detail)
    return StreamedPictures(record, image_size, detail)


def keys_in(record: Record, part: str) -> set[str]:
    """'<Class>/<name>' of each image that is now in 'Train', 'Val' or 'Test'."""
    if record.shards:
        return {row.key for row in record.files if row.split == part}
    return {key for key, _ in images_in(settings.DATASETS / part)}


def paths_of(record: Record) -> dict[str, Path]:
    """The images that are files: '<Class>/<name>' → path. Of those in shards, these are some that were kept."""
    return kept_pictures(record) if record.shards else images_on_disk()
