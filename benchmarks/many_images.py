"""How time and memory grow with the number of images.

    python benchmarks/many_images.py 5000 10000 20000             # preparing them, and again
    python benchmarks/many_images.py --train 500 1000 2000 10000  # and training for one epoch

Small JPEGs (to train on, the project's drawings), half of them in each class, are written into zips (not timed); then
notebook 01's steps run in a process of their own: extract and check, find near-copies, split, decode into the cache.
Then follows one epoch of training, or two runs in which nothing has changed: one with `DATASET`, and a «later» one
without it, as the other notebooks do it. Nothing is written but a temporary folder.
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


def write_drawings(folder: Path, count: int) -> None:
    from recognizer.drawings import write_zips

    write_zips(folder, images_per_class=count // 2, workers=os.cpu_count() or 1)


def write_noise(folder: Path, count: int) -> None:
    """`count` pictures of 160×160, each a blurred noise of its own, as JPEG."""
    for class_number, name in enumerate(("Bike", "Car")):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for number in range(class_number, count, 2):
                blobs = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
                content = io.BytesIO()
                Image.fromarray(blobs).resize((160, 160), Image.Resampling.BICUBIC).save(content, "JPEG")
                archive.writestr(f"{number}.jpg", content.getvalue())


def own_megabytes() -> float:
    """Memory that is this process's alone (Linux). Pages of mapped files are not: the system drops them at will."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1e3


def child(train: bool) -> None:
    """Prepare, train if asked to, and print seconds and memory as JSON."""
    import torch

    from recognizer import BikeCarCNN, settings
    from recognizer.data import prepared
    from recognizer.data.dataset import Pictures
    from recognizer.network.hardware import choose_device
    from recognizer.network.recipe import Recipe
    from recognizer.network.training import fit

    before = own_megabytes()
    times = [time.perf_counter()]
    prepared()
    times.append(time.perf_counter())
    parts = {part: Pictures(settings.DATASETS / part, 128) for part in ("Train", "Val", "Test")}
    times.append(time.perf_counter())
    used = [own_megabytes()]
    if train:
        torch.manual_seed(0)
        model = BikeCarCNN().to(choose_device())
        after_epoch = [lambda epoch: used.append(own_megabytes())]
        checkpoint = settings.LOGS / "model.pt"
        fit(model, parts["Train"], parts["Val"], Recipe(num_epochs=1), checkpoint, after_epoch)
    times.append(time.perf_counter())
    prepare, decode, epoch = (after - start for start, after in zip(times, times[1:]))
    found = {"prepare": prepare, "decode": decode, "epoch": epoch, "MB": max(used), "before": before}
    print("\n" + json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[5000, 10000, 20000])
    parser.add_argument("--train", action="store_true", help="train for an epoch, instead of further runs")
    args = parser.parse_args()
    columns = ("images", "run", "prepare", "decode", "epoch", "ms an image", "memory", "at start")
    print("{:>7} {:>7} {:>9} {:>9} {:>9} {:>12} {:>8} {:>9}".format(*columns))
    for count in args.counts:
        with tempfile.TemporaryDirectory() as temporary:
            (Path(temporary) / "own").mkdir()
            (write_drawings if args.train else write_noise)(Path(temporary) / "own", count)
            environment = os.environ | {
                "RECOGNIZER_WORKSPACE": temporary,
                "DATASET": str(Path(temporary) / "own"),
                "MANY_IMAGES_CHILD": "train" if args.train else "prepare",
            }
            for run in ("first",) if args.train else ("first", "second", "later"):
                if run == "later":
                    del environment["DATASET"]
                done = subprocess.run(
                    [sys.executable, __file__], env=environment, stdout=subprocess.PIPE, text=True, check=True
                )
                found = json.loads(done.stdout.rsplit("\n", 2)[-2])
                each = 1000 * (found["prepare"] + found["decode"] + found["epoch"]) / count
                print(
                    f"{count:7} {run:>7} {found['prepare']:7.1f} s {found['decode']:7.1f} s {found['epoch']:7.1f} s "
                    f"{each:12.2f} {found['MB']:5.0f} MB {found['before']:6.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    role = os.environ.get("MANY_IMAGES_CHILD")
    child(role == "train") if role else main()
