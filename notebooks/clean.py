"""Empty datasets, logs and results_*, your own files in them included, and remove explorer.html: `make clean`, or
`python3 notebooks/clean.py`.

A link goes and what it leads to stays; so does a disk that is mounted in one of them. Only this project's own folders
are emptied, whatever RECOGNIZER_WORKSPACE says. It needs nothing but Python.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("datasets", "logs", "results_*")
PAGE = Path("explorer.html")
JUNCTION = 0xA0000003  # Windows: a link to a folder, which is_symlink() does not count


def is_link(path: Path) -> bool:
    return path.is_symlink() or getattr(path.lstat(), "st_reparse_tag", 0) == JUNCTION


def remove(path: Path) -> Iterator[str]:
    """Remove `path` and all below it. Yields what became of each: "link", "file", or why it stays."""
    try:
        if is_link(path):
            path.unlink()
            yield "link"
        elif path.is_mount():
            yield f"{path} stays: it is a disk of its own."
        elif path.is_dir():
            for entry in sorted(path.iterdir()):
                yield from remove(entry)
            if not any(path.iterdir()):
                path.rmdir()
        else:
            path.unlink()
            yield "file"
    except OSError as error:
        yield f"{path} stays: {error.strerror}."


def main() -> int:
    """The exit status: 1 where something could not be removed."""
    os.chdir(Path(__file__).resolve().parents[1])
    stays = []
    for folder in sorted(path for name in FOLDERS for path in Path().glob(name)):
        if is_link(folder) or folder.is_mount():
            stays.append(f"{folder} leads elsewhere; what is there stays.")
            continue
        entries = [entry for entry in folder.iterdir() if entry.name != ".gitkeep"]
        found = [what for entry in entries for what in remove(entry)]
        print(f"{folder}: {found.count('file'):,} files and {found.count('link'):,} links removed")
        stays += [what for what in found if what not in ("file", "link")]
        if not any(folder.iterdir()):  # of a class that a run brought; git keeps the others
            folder.rmdir()
    if PAGE.exists():
        stays += [what for what in remove(PAGE) if what not in ("file", "link")]
        print(f"{PAGE} removed")
    print(*stays, sep="\n", end="\n" * bool(stays), file=sys.stderr)
    return int(bool(stays))


if __name__ == "__main__":
    sys.exit(main())
