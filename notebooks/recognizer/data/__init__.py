"""Notebook 01: where the pictures come from, and what becomes of them on disk."""

from .extraction import extract_into_train
from .parts import load_part
from .preparation import prepare, prepared, take_in
from .record import Record, read_record
from .sources import choose, fetch
from .split import split_images

__all__ = [
    "Record",
    "choose",
    "extract_into_train",
    "fetch",
    "load_part",
    "prepare",
    "prepared",
    "read_record",
    "split_images",
    "take_in",
]
