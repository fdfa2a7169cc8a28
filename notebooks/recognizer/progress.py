"""One look for every progress bar: plain text, with rate and time left, gone when done."""

import sys

from tqdm import tqdm


def progress_bar(description: str, total: int | None, unit: str, *, leave: bool = False, **options) -> tqdm:
    """A bar on standard output, where notebooks do not print it as an alarm; `options` are tqdm's own.

    The text bar, not the widget: saved widget state makes GitHub refuse to show a notebook.
    """
    unit = unit if unit == "B" else f" {unit}"
    return tqdm(desc=description, total=total, unit=unit, leave=leave, file=sys.stdout, mininterval=0.5, **options)
