"""Progress bars with the same appearance: plain text, with rate and time left, removed when done."""

import sys

from tqdm import tqdm


def progress_bar(description: str, total: int | None, unit: str, *, leave: bool = False, **options) -> tqdm:
    """A bar on standard output, because notebooks show standard error as a warning. `options` are tqdm's own.

    It is the text bar and not the widget, because GitHub does not show notebooks with saved widget state.
    """
    unit = unit if unit == "B" else f" {unit}"
    return tqdm(desc=description, total=total, unit=unit, leave=leave, file=sys.stdout, mininterval=0.5, **options)
