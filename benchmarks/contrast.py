"""How much of the colours the maps of each layer use, with plain ends and with the present ones.

`.venv/bin/python benchmarks/contrast.py [--images 10]`, after `make run`. A map uses the share of the 256 colours that
lies between the 5th and the 95th percentile of its values; of a layer it is the median over its maps, and the mean over
the images.
"""

import argparse

import numpy as np
from torch import nn

from recognizer import capture, layer_names, load_model, settings, to_input
from recognizer.data import prepared
from recognizer.maps.colours import Coloured, colour
from recognizer.network import trained


def used(coloured: Coloured) -> float:
    """The share of the colours that the median map uses."""
    low, high = np.percentile(coloured.indices.reshape(len(coloured.indices), -1), (5, 95), axis=1)
    return float(np.median(high - low) / 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10, help="test images, as many of each class as there are")
    count = parser.parse_args().images
    model = load_model(trained(prepared()))
    of_class = [sorted((settings.DATASETS / "Test" / name).iterdir()) for name in model.classes]
    files = [file for together in zip(*of_class) for file in together][:count]
    shares: dict[str, list[tuple[float, float]]] = {}
    for file in files:
        captured = capture(model, layer_names(model, (nn.Conv2d, nn.ReLU)), to_input(file, model.image_size))
        for name, output in captured.items():
            if output.ndim == 4:
                both = colour(output[0], colormap="viridis", clip=0), colour(output[0])
                shares.setdefault(name, []).append(tuple(map(used, both)))
    print(f"| layer | minimum to maximum | as drawn now |\n| :--- | ---: | ---: |\n{rows(shares)}")


def rows(shares: dict[str, list[tuple[float, float]]]) -> str:
    means = {name: np.mean(each, axis=0) for name, each in shares.items()}
    for kind in ("conv", "relu"):
        of_kind = [each for name, each in means.items() if name.startswith(kind) and name[-1].isdigit()]
        means[f"**all {kind}**"] = np.mean(of_kind, axis=0)
    return "\n".join(f"| {name} | {before:.0%} | {after:.0%} |" for name, (before, after) in means.items())


if __name__ == "__main__":
    main()
