"""How much time it saves to run only what follows a layer, when all filters of a network are taken out in turn.

    python benchmarks/all_filters.py --images 200

One run of the whole default network on that many images, as often as there are filters (timed three times, multiplied),
beside `ablate` for every filter of the seven layers after ReLU. Weights and images are random: they do not matter for the time.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "notebooks"))

import torch  # noqa: E402
from recognizer import BikeCarCNN  # noqa: E402
from recognizer.evidence.ablation import BATCH, ablate  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = BikeCarCNN().eval().to(memory_format=torch.channels_last)  # as `ablate` has it
    pixels = torch.randint(0, 256, (args.images, 3, 128, 128), dtype=torch.uint8)
    labels = torch.arange(args.images) % 2
    whole = []
    with torch.no_grad():
        for _ in range(4):
            started = time.perf_counter()
            for batch in pixels.split(BATCH):
                model((batch.float() / 255).contiguous(memory_format=torch.channels_last))
            whole.append(time.perf_counter() - started)
    layers = [f"relu{number}" for number in range(1, 8)]
    started, filters = time.perf_counter(), 0
    for name in layers:
        filters += len(ablate(model, name, pixels, labels).losses)
    seconds = time.perf_counter() - started
    once_a_filter = sorted(whole[1:])[1] * filters  # the first warms up
    print(
        f"{filters} filters, {args.images} images: {once_a_filter:.0f} s for the whole network once a filter, "
        f"{seconds:.0f} s for what follows: {once_a_filter / seconds:.1f} times faster"
    )


if __name__ == "__main__":
    main()
