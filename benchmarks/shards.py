"""Training on images in shards over HTTP: is memory flat, and how fast is it next to files with mapped pixels?

    python benchmarks/shards.py                             # 100,000 images in 100 shards, about ten minutes
    python benchmarks/shards.py --images 10000 --shards 10
    python benchmarks/shards.py --copies path/to/pictures   # near-copies that a split by name would divide

Made pictures of 64×64, as JPEG, are written into shards (not timed) and served by `python -m http.server` on this
machine. One process prepares them and trains for one epoch, another does so on the same images of Train and Val as
files. Each measures its own memory several times a second. Nothing is written but a temporary folder.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from many_images import own_megabytes

CLASSES = ("Bike", "Car")


def write_shards(folder: Path, images: int, shards: int) -> str:
    """Write the shards, each with images of both classes, and return their pattern. Cars are a little redder."""
    for shard in range(shards):
        with tarfile.open(folder / f"shard-{shard:06}.tar", "w") as archive:
            for number in range(shard * images // shards, (shard + 1) * images // shards):
                blobs = np.random.default_rng(number).integers(0, 200, (8, 8, 3), dtype=np.uint8)
                blobs[..., 0] += 40 * (number % 2)
                content = io.BytesIO()
                Image.fromarray(blobs).resize((64, 64), Image.Resampling.BICUBIC).save(content, "JPEG")
                for ending, data in (("jpg", content.getvalue()), ("cls", CLASSES[number % 2].encode())):
                    info = tarfile.TarInfo(f"{number:08}.{ending}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    return f"shard-{{000000..{shards - 1:06}}}.tar"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server in a process of its own."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = re.search(r"port (\d+)", process.stdout.readline())[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def memory_over_time() -> Iterator[list[float]]:
    """Megabytes of this process, five times a second, until the block ends."""
    samples, done = [], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            samples.append(own_megabytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def as_files(record, folder: Path) -> None:
    """Write the images of Train and Val as files, from the shards in `folder`."""
    from recognizer import settings

    rows = {row.origin: row for row in record.files if row.split != "Test"}
    for shard in record.shards:
        with tarfile.open(folder / shard) as archive:
            for info in archive:
                if row := rows.get(f"{shard}/{info.name}"):
                    path = settings.DATASETS / row.split / row.key
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.extractfile(info).read())


def child(how: str, folder: Path, image_size: int, batch_size: int) -> None:
    """Prepare, train for one epoch from 'shards' or 'files', and print seconds and memory as JSON."""
    import torch

    from recognizer import BikeCarCNN, settings
    from recognizer.data import load_part, prepared
    from recognizer.data.batches import batches
    from recognizer.data.dataset import Pictures
    from recognizer.network import DETAIL
    from recognizer.network.hardware import choose_device
    from recognizer.network.recipe import Recipe
    from recognizer.network.training import fit

    at_start = own_megabytes()
    times = [time.perf_counter()]
    record = prepared(or_shards=True)
    times.append(time.perf_counter())
    if how == "shards":
        train, val = load_part(record, "Train", image_size, DETAIL), load_part(record, "Val", image_size)
    else:
        as_files(record, folder)
        times[-1] = time.perf_counter()  # writing them is not the work of either
        train, val = (
            Pictures(settings.DATASETS / "Train", image_size, DETAIL),
            Pictures(settings.DATASETS / "Val", image_size),
        )
    times.append(time.perf_counter())
    del record
    for _ in batches(train, batch_size, shuffle=torch.Generator().manual_seed(1)):
        pass
    times.append(time.perf_counter())
    torch.manual_seed(0)
    model = BikeCarCNN(train.classes, image_size).to(choose_device())
    with memory_over_time() as samples:
        recipe = Recipe(num_epochs=1, batch_size=batch_size)
        history = fit(model, train, val, recipe, settings.LOGS / "model.pt")
    quarter = len(samples) // 4
    prepare, decode, read = (after - start for start, after in zip(times, times[1:]))
    found = {
        "images": len(train),
        "prepare": prepare,
        "decode": decode,
        "read": len(train) / read,
        "trained": history.epochs[0].images_per_second,
        "accuracy": history.epochs[0].val_accuracy,
        "at start": at_start,
        "quarters": [float(np.mean(samples[i * quarter : (i + 1) * quarter])) for i in range(4)],
        "peak": max(samples),
    }
    print("\n" + json.dumps(found))


def train_both_ways(images: int, shards: int, image_size: int, batch_size: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "served"
        folder.mkdir()
        pattern = write_shards(folder, images, shards)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{images:,} images in {shards} shards, {size / 1e6:,.0f} MB")
        with served(folder) as address:
            for how in ("shards", "files"):
                environment = os.environ | {"RECOGNIZER_WORKSPACE": temporary, "DATASET": f"{address}/{pattern}"}
                sizes = ["--image-size", str(image_size), "--batch-size", str(batch_size)]
                command = [sys.executable, __file__, "--child", how, str(folder), *sizes]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                show(how, json.loads(done.stdout.rsplit("\n", 2)[-2]))


def show(how: str, found: dict) -> None:
    quarters = ", ".join(f"{megabytes:.0f}" for megabytes in found["quarters"])
    print(
        f"{how:>6}: {found['images']:,} images of Train; prepared in {found['prepare']:.0f} s, decoded in "
        f"{found['decode']:.0f} s; {found['read']:.0f} images/s only read, {found['trained']:.0f} in training; "
        f"memory {found['at start']:.0f} MB at the start, {quarters} MB in the quarters of the epoch, "
        f"{found['peak']:.0f} MB at most; accuracy on Val {found['accuracy']:.1%}",
        flush=True,
    )


def divided_copies(pictures: Path, shards: int = 20, seeds: int = 10) -> None:
    """Put the images of a folder with a folder or archive per class into shards, and count divided near-copies."""
    from recognizer.data import prepare
    from recognizer.data.archives import members
    from recognizer.data.images import is_image_name
    from recognizer.data.layout import in_folder
    from recognizer.data.shards import part_of

    with tempfile.TemporaryDirectory() as temporary:
        images = [
            (source.class_name, member)
            for source in in_folder(pictures)
            for member in members(source.path, source.wants)
            if is_image_name(member.inner)
        ]
        order = np.random.default_rng(0).permutation(len(images))
        for shard in range(shards):
            with tarfile.open(Path(temporary) / f"shard-{shard:03}.tar", "w") as archive:
                for number in order[shard::shards]:
                    class_name, member = images[number]
                    info = tarfile.TarInfo(f"{class_name}/{number:06}.jpg")
                    info.size = len(member.content)
                    archive.addfile(info, io.BytesIO(member.content))
        dataset = f"{temporary}/shard-{{000..{shards - 1:03}}}.tar"
        record = prepare(dataset, sample_images=1, val_share=0.1, test_share=0.2, seed=0)
        groups = defaultdict(list)
        for row in record.files:
            groups[row.group].append(row)
        pairs = [pair for rows in groups.values() for pair in combinations(rows, 2)]
        across = sum(one.origin.split("/")[0] != other.origin.split("/")[0] for one, other in pairs)
        print(f"{len(record.files):,} images; {len(pairs):,} pairs in a group, {across:,} of them in different shards")
        for how, digest in (
            ("group", lambda row: row.group),
            ("SHA-256 of each image", lambda row: row.sha256),
            ("name", lambda row: hashlib.sha256(row.key.encode()).hexdigest()),
        ):
            divided, in_test = [], []
            for seed in range(seeds):
                parts = {row.key: part_of(digest(row), 0.1, 0.2, seed) for row in record.files}
                divided.append(sum(parts[one.key] != parts[other.key] for one, other in pairs))
                in_test.append(list(parts.values()).count("Test") / len(parts))
            print(
                f"dealt by {how}: {np.mean(divided):,.1f} pairs divided, mean of {seeds} seeds; "
                f"{min(in_test):.1%} to {max(in_test):.1%} of the images in Test"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--copies", type=Path, help="count divided near-copies among these pictures, and do not train")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], Path(args.child[1]), args.image_size, args.batch_size)
    elif args.copies:
        divided_copies(args.copies)
    else:
        train_both_ways(args.images, args.shards, args.image_size, args.batch_size)


if __name__ == "__main__":
    main()
