"""Many small networks, one after the other and side by side: how long it takes, and whether the weights are the same.

    python benchmarks/side_by_side.py --networks 18

Each network sees `--images` of noise in `--epochs`. Everything is written to a temporary folder.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

import temporary_workspace  # before the package, because it says where that works
from recognizer.data.dataset import PixelSet
from recognizer.network import side_by_side
from recognizer.network.models import load_model
from recognizer.network.recipe import Recipe
from recognizer.network.side_by_side import Job, train_side_by_side


@dataclass(frozen=True)
class Noise:
    """Noise of two classes, the second one brighter."""

    count: int
    size: int
    name: str = "noise"

    def load(self) -> tuple[PixelSet, PixelSet, Tensor | None]:
        return self._some(self.count, 0), self._some(40, 1), None

    def _some(self, count: int, seed: int) -> PixelSet:
        labels = torch.arange(count) % 2
        shape = (count, 3, self.size, self.size)
        noise = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(seed))
        return PixelSet((noise + 50 * labels.view(-1, 1, 1, 1)).byte(), labels, ["Bike", "Car"], self.size)


def seconds(jobs: list[Job]) -> float:
    started = time.perf_counter()
    train_side_by_side(jobs)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=18)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()
    jobs: dict[str, list[Job]] = {}
    for way in ("one after the other", "side by side"):
        folder = Path(temporary_workspace.FOLDER.name) / way
        folder.mkdir()
        lesson = Noise(args.images, args.size)
        jobs[way] = [Job(lesson, Recipe(args.epochs, seed=k), folder / f"{k}.pt") for k in range(args.networks)]
    at_once = min(side_by_side.cores(), args.networks)
    together = seconds(jobs["side by side"])
    with mock.patch.object(side_by_side, "cores", lambda: 1):
        one_by_one = seconds(jobs["one after the other"])
    same = 0
    for one, other in zip(*jobs.values()):
        weights, others = (load_model(job.path).state_dict() for job in (one, other))
        same += all(torch.equal(weights[name], others[name]) for name in weights)
    print(f"{args.networks} networks one after the other: {one_by_one:.1f} s")
    print(f"{at_once} at a time: {together:.1f} s, {one_by_one / together:.2f} times as fast")
    print(f"with the same weights to the bit: {same} of {args.networks}")


if __name__ == "__main__":
    main()
