"""How time and memory of preparing a data set grow with the number of images.

    python benchmarks/many_images.py 5000 10000 20000

Small JPEGs, half of them in each class, are written into zips (not timed); then notebook 01's steps run in a process of
their own: extract and check, find near-copies, split, decode into the cache. A second run follows. Nothing is written
but a temporary folder.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def write_zips(folder: Path, count: int) -> None:
    """`count` pictures of 160×160, each a blurred noise of its own, as JPEG."""
    for class_number, name in enumerate(("Bike", "Car")):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for number in range(class_number, count, 2):
                blobs = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
                content = io.BytesIO()
                Image.fromarray(blobs).resize((160, 160), Image.Resampling.BICUBIC).save(content, "JPEG")
                archive.writestr(f"{number}.jpg", content.getvalue())


def child() -> None:
    """Prepare, and print seconds and memory as JSON."""
    import resource

    import torch  # noqa: F401  counted as what a process needs before it starts
    from recognizer import settings
    from recognizer.data import prepared
    from recognizer.data.loading import Pictures

    # Windows has no `resource`; the unit is kB on Linux and bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    started = time.perf_counter()
    prepared()
    first = time.perf_counter()
    for part in ("Train", "Val", "Test"):
        Pictures(settings.DATASETS / part, 128)
    seconds = {"prepare": first - started, "decode": time.perf_counter() - first}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print("\n" + json.dumps(seconds | {"MB": after / 1e6, "MB more": (after - before) / 1e6}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("counts", nargs="*", type=int, default=[5000, 10000, 20000])
    args = parser.parse_args()
    print(
        f"{'images':>7} {'run':>7} {'prepare':>9} {'decode':>9} {'ms an image':>12} {'peak':>8} {'of it here':>11}"
    )
    for count in args.counts:
        with tempfile.TemporaryDirectory() as temporary:
            (Path(temporary) / "own").mkdir()
            write_zips(Path(temporary) / "own", count)
            environment = os.environ | {
                "WORKSPACE": temporary,
                "DATASET": str(Path(temporary) / "own"),
                "PYTHONPATH": str(NOTEBOOKS),
                "MANY_IMAGES_CHILD": "1",
            }
            for run in ("first", "second"):
                done = subprocess.run(
                    [sys.executable, __file__], env=environment, stdout=subprocess.PIPE, text=True, check=True
                )
                found = json.loads(done.stdout.rsplit("\n", 2)[-2])
                each = 1000 * (found["prepare"] + found["decode"]) / count
                print(
                    f"{count:7} {run:>7} {found['prepare']:7.1f} s {found['decode']:7.1f} s {each:12.2f} "
                    f"{found['MB']:5.0f} MB {found['MB more']:8.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    child() if os.environ.get("MANY_IMAGES_CHILD") else main()
