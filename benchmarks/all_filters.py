"""How much time it saves to run only what follows a layer, when all filters of a network are taken out in turn.

    python benchmarks/all_filters.py --images 200

One run of the whole default network on that many images, as often as there are filters (timed three times, multiplied),
beside `ablate` for every filter of the seven layers after ReLU. Weights and images are random: the time does not depend
on them.
"""

import argparse
import time

import torch
from torch import Tensor, nn

from recognizer import BikeCarCNN
from recognizer.evidence.ablation import BATCH, ablate
from recognizer.network.hardware import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    args = parser.parse_args()
    keep_freed_memory()  # both sides profit
    torch.manual_seed(0)
    model = BikeCarCNN().eval()
    pixels = torch.randint(0, 256, (args.images, 3, 128, 128), dtype=torch.uint8)
    labels = torch.arange(args.images) % 2
    as_loaded = seconds_of_a_run(model, pixels, torch.contiguous_format)
    fastest = seconds_of_a_run(model.to(memory_format=torch.channels_last), pixels, torch.channels_last)
    started, filters = time.perf_counter(), 0
    for number in range(1, 8):
        filters += len(ablate(model, f"relu{number}", pixels, labels).log_odds)
    seconds = time.perf_counter() - started
    print(f"{filters} filters, {args.images} images: {seconds:.0f} s when only what follows is run")
    for name, whole in (("as it is loaded", as_loaded), ("in channels_last, as `ablate` has it", fastest)):
        times = whole * filters / seconds
        print(f"the whole network once a filter, {name}: {whole * filters:.0f} s, {times:.1f} times as long")


def seconds_of_a_run(model: nn.Module, pixels: Tensor, memory_format: torch.memory_format) -> float:
    """The middle one of three runs, after one to warm up."""
    found = []
    with torch.no_grad():
        for _ in range(4):
            started = time.perf_counter()
            for batch in pixels.split(BATCH):
                model((batch.float() / 255).contiguous(memory_format=memory_format))
            found.append(time.perf_counter() - started)
    return sorted(found[1:])[1]


if __name__ == "__main__":
    main()
