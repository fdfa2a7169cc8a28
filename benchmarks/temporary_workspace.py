"""Imported first, this makes the package work in a temporary folder, away from a reader's data; downloads are kept."""

import os
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = tempfile.TemporaryDirectory()
# Read when the package is imported.
os.environ["RECOGNIZER_WORKSPACE"] = FOLDER.name
os.environ.setdefault("RECOGNIZER_ARCHIVES", str(PROJECT / "datasets" / "archives"))
