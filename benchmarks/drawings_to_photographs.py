"""How well do the drawings stand in for the world? Train on drawings alone, test on photographs.

    python benchmarks/drawings_to_photographs.py --images 800 PHOTOS [PHOTOS ...]

Each PHOTOS is a folder with the folders Bike and Car in it, or with Bike.zip and Car.zip (or other --classes).
Everything is written to a temporary folder.
"""

import argparse
import time
import zipfile
from pathlib import Path

import cv2
import torch

import temporary_workspace  # before the package, because it says where that works
from recognizer import BikeCarCNN
from recognizer.data.dataset import Pictures
from recognizer.drawings import VEHICLES, draw
from recognizer.network.evaluation import evaluate
from recognizer.network.hardware import choose_device
from recognizer.network.recipe import Recipe
from recognizer.network.training import fit


def write_drawings(folder: Path, classes: list[str], indices: range, seed: int) -> float:
    """Write drawings with these numbers, a folder a class. Returns how many were drawn a second, on one core."""
    seconds = 0.0
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in indices:
            started = time.perf_counter()
            drawing = draw(name, index, seed=seed)
            seconds += time.perf_counter() - started
            (folder / name / f"{index:06d}.jpg").write_bytes(drawing.jpeg)
    return len(classes) * len(indices) / seconds


def photographs(path: Path, classes: list[str], folder: Path) -> Path:
    """A folder with a folder a class: `path` itself, or what its zips hold, unpacked below `folder`."""
    zips = [path / f"{name}.zip" for name in classes]
    if not all(file.exists() for file in zips):
        return path
    for file in zips:
        zipfile.ZipFile(file).extractall(folder / file.stem)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, help="folders of photographs, a folder or zip a class in each")
    parser.add_argument("--images", type=int, default=800, help="drawings a class to train on")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classes", nargs="+", default=list(VEHICLES), help="for example Cat Dog")
    args = parser.parse_args()

    for path in args.photos:
        if not all((path / name).is_dir() or (path / f"{name}.zip").is_file() for name in args.classes):
            parser.error(f"{path} holds no folder or zip for each of {args.classes}")
    cv2.setNumThreads(1)
    folder = Path(temporary_workspace.FOLDER.name)
    speed = write_drawings(folder / "Drawn", args.classes, range(args.images), args.seed)
    write_drawings(folder / "Val", args.classes, range(10**6, 10**6 + 100), args.seed)
    write_drawings(folder / "Unseen", args.classes, range(2 * 10**6, 2 * 10**6 + 500), args.seed)
    print(f"{speed:.0f} drawings a second with masks, 160×160, on one core")

    torch.manual_seed(args.seed)
    train, val = Pictures(folder / "Drawn", args.image_size), Pictures(folder / "Val", args.image_size)
    model = BikeCarCNN(train.classes, args.image_size).to(choose_device())
    started = time.perf_counter()
    fit(model, train, val, Recipe(args.epochs, seed=args.seed), folder / "model.pt")
    print(f"trained on {len(train)} drawings, {args.epochs} epochs, in {time.perf_counter() - started:.0f} s")

    tests = [("unseen drawings", folder / "Unseen")]
    tests += [(path.name, photographs(path, args.classes, folder / f"photos{i}")) for i, path in enumerate(args.photos)]
    for name, path in tests:
        found = evaluate(model, Pictures(path, args.image_size))
        low, high = found.interval()
        classes = ", ".join(f"{c} {recall:.1%}" for c, _, recall, _ in found.by_class())
        print(f"{name:16} {len(found.labels):5} images  {found.accuracy:.1%} ({low:.1%} to {high:.1%})  {classes}")


if __name__ == "__main__":
    main()
