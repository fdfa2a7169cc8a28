"""Images a second and memory of capturing the maps of many image files: `capture_folder` and a plain loop.

    python benchmarks/maps_of_many.py 10000    # needs h5py

JPEGs of 128×128 are made in a temporary folder. The plain loop is what most people would write: for each image, open
it, run the network with a forward hook, and `torch.save` what the hook got. Each runs in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from near_copies import megabytes
from recognizer import BikeCarCNN, capture_folder, to_input

LAYERS = ("conv1", "conv4", "fc1")


def write_pictures(folder: Path, count: int) -> None:
    """Pictures of blurred noise; 100 of them, each under many names."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06}.jpg"
        if number < 100:
            blobs = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(blobs).resize((128, 128), Image.Resampling.BICUBIC).save(path)
        else:
            path.write_bytes((folder / f"{number % 100:06}.jpg").read_bytes())


def plain_loop(model: torch.nn.Module, folder: Path, target: Path) -> None:
    maps = {}
    for name in LAYERS:
        layer = model.get_submodule(name)
        layer.register_forward_hook(lambda layer, inputs, output, name=name: maps.update({name: output.clone()}))
    target.mkdir()
    with torch.no_grad():
        for path in sorted(folder.iterdir()):
            model(to_input(path, 128)[None])
            torch.save(dict(maps), target / f"{path.stem}.pt")


def child(way: str, folder: Path, target: Path) -> None:
    torch.manual_seed(0)
    model = BikeCarCNN().eval()
    model(torch.zeros(1, 3, 128, 128))
    megabytes()
    before, started, of_processor = megabytes(), time.perf_counter(), time.process_time()
    if way == "plain loop":
        plain_loop(model, folder, target)
    else:
        capture_folder(model, LAYERS, folder, target, dtype=way)
    found = {"seconds": time.perf_counter() - started, "processor": time.process_time() - of_processor}
    print("\n" + json.dumps(found | {"MB": megabytes() - before}))


def size_of(target: Path) -> int:
    return sum(path.stat().st_size for path in ([target] if target.is_file() else target.iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        way, folder, target = args.child
        return child(way, Path(folder), Path(target))
    print(f"{'':>12} {'images/s':>9} {'seconds':>8} {'processor':>10} {'MB more':>8} {'MB on disk':>11}")
    for way in ("plain loop", "float32", "float16"):
        with tempfile.TemporaryDirectory() as temporary:
            folder, target = Path(temporary) / "pictures", Path(temporary) / "maps"
            write_pictures(folder, args.count)
            command = [sys.executable, __file__, "--child", way, str(folder), str(target)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.rsplit("\n", 2)[-2])
            speed, stored = args.count / found["seconds"], size_of(target) / 1e6
            print(
                f"{way:>12} {speed:9.0f} {found['seconds']:8.1f} {found['processor']:10.1f} {found['MB']:8.0f} "
                f"{stored:11,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
