"""Imported first, this makes what follows work in a temporary folder, out of a reader's datasets; only downloads are kept."""

import os
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = tempfile.TemporaryDirectory()
# Read when the package is imported.
os.environ["RECOGNIZER_WORKSPACE"] = FOLDER.name
os.environ.setdefault("RECOGNIZER_ARCHIVES", str(PROJECT / "datasets" / "archives"))
