"""Empty datasets, logs and results_*, including your own files in them, and remove explorer.html: `make clean`, or
`python3 notebooks/clean.py`.

Links are removed, but what they lead to stays. A disk that is mounted in one of these folders stays too. Only this
project's own folders are emptied, whatever RECOGNIZER_WORKSPACE says. This needs only Python.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("datasets", "logs", "results_*")
PAGE = Path("explorer.html")
JUNCTION = 0xA0000003  # Windows: a link to a folder that is_symlink() does not recognize


def is_link(path: Path) -> bool:
    return path.is_symlink() or getattr(path.lstat(), "st_reparse_tag", 0) == JUNCTION


def remove(path: Path) -> Iterator[str]:
    """Remove `path` and everything below it. Yields one result per entry: "link", "file", or why it stays."""
    try:
        if is_link(path):
            path.unlink()
            yield "link"
        elif path.is_mount():
            yield f"{path} stays: it is a mounted disk."
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
    """The exit status: 1 if something could not be removed, otherwise 0."""
    os.chdir(Path(__file__).resolve().parents[1])
    messages = []
    for folder in sorted(path for name in FOLDERS for path in Path().glob(name)):
        if is_link(folder) or folder.is_mount():
            messages.append(f"{folder} is a link or a mounted disk; its content stays.")
            continue
        entries = [entry for entry in folder.iterdir() if entry.name != ".gitkeep"]
        results = [what for entry in entries for what in remove(entry)]
        print(f"{folder}: {results.count('file'):,} files and {results.count('link'):,} links removed")
        messages += [what for what in results if what not in ("file", "link")]
        if not any(folder.iterdir()):  # made by a run; the others contain .gitkeep
            folder.rmdir()
    if PAGE.exists():
        messages += [what for what in remove(PAGE) if what not in ("file", "link")]
        print(f"{PAGE} removed")
    print(*messages, sep="\n", end="\n" * bool(messages), file=sys.stderr)
    return int(bool(messages))


if __name__ == "__main__":
    sys.exit(main())
