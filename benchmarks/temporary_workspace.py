"""Imported first, this makes what follows work in a temporary folder, out of a reader's datasets; only downloads are kept."""

import os
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FOLDER = tempfile.TemporaryDirectory()
# Read when the package is imported.
os.environ["WORKSPACE"] = FOLDER.name
os.environ.setdefault("ARCHIVES", str(PROJECT / "datasets" / "archives"))
sys.path.insert(0, str(PROJECT / "notebooks"))
