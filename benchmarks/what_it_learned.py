"""What networks learned from drawings, compared with untrained networks: edges, parts, empty scenes, photographs.

    python benchmarks/what_it_learned.py --seeds 3 [PHOTOGRAPHS ...]

The sample, the network and the recipe are those of `make run`; each seed gives other weights and another order.
PHOTOGRAPHS are folders with a folder or zip for each class in them; no network has seen one. Everything is written to a
temporary folder. `--sheets FOLDER` keeps pictures of the kernels and of the most varied maps of each layer.
"""

import argparse
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import temporary_workspace  # before the package, because it says where that works
from recognizer import BikeCarCNN, capture, evidence, figures, layer_names, settings
from recognizer.data import prepare
from recognizer.data.dataset import Pictures
from recognizer.data.neither import empty_scenes, scenes_to_learn_from
from recognizer.drawings import PARTS, VEHICLES, draw
from recognizer.evidence.average_precision import part_scores
from recognizer.evidence.orientation import orientation_tuning
from recognizer.inputs import as_pixels
from recognizer.maps.colours import colour
from recognizer.maps.grids import mosaic
from recognizer.network import DETAIL, usual_epochs
from recognizer.network.evaluation import predict
from recognizer.network.hardware import choose_device
from recognizer.network.recipe import Recipe
from recognizer.network.training import fit, logits_of, probabilities_of

FOLDER = Path(temporary_workspace.FOLDER.name)
SIZE, MASK_SIZE = 128, 64
FRESH = 2_000_000  # first index of drawings that no network has seen
OF_CLASS = {"Bike": ("wheel", "frame"), "Car": ("wheel", "window", "body")}


class Fresh:
    """Drawings that no network has seen: `pixels` uint8 N×3×S×S, `labels` int N, `masks` uint8 N×64×64."""

    def __init__(self, per_class: int) -> None:
        look, pixels, masks = as_pixels(SIZE), [], []
        for name in VEHICLES:
            for index in range(FRESH, FRESH + per_class):
                drawing = draw(name, index)
                pixels.append(torch.as_tensor(look(Image.fromarray(drawing.image))))
                size = (MASK_SIZE, MASK_SIZE)
                masks.append(cv2.resize(drawing.parts, size, interpolation=cv2.INTER_NEAREST_EXACT))
        self.pixels, self.masks = torch.stack(pixels), np.stack(masks)
        self.labels = torch.arange(len(VEHICLES)).repeat_interleave(per_class)


def probabilities(model: nn.Module, pixels: Tensor) -> Tensor:
    """One look at each image: float32 N×K."""
    device = next(model.parameters()).device
    with torch.no_grad():
        return torch.cat([probabilities_of(model((part / 255).to(device))).cpu() for part in pixels.split(64)])


def photographs(path: Path, folder: Path) -> Pictures:
    """The photographs in a folder per class below `path`, or in its zips, which are unpacked below `folder`."""
    zips = [path / f"{name}.zip" for name in VEHICLES]
    if all(file.exists() for file in zips):
        for file in zips:
            zipfile.ZipFile(file).extractall(folder / file.stem)
        path = folder
    return Pictures(path, SIZE)


def measured(
    before: nn.Module, model: nn.Module, fresh: Fresh, empty: Tensor, tests: dict[str, Pictures]
) -> dict[str, float]:
    """Numbers that describe a network: its first layer, its accuracies, and how sure it is."""
    kernels = [next(iter(network.parameters())).detach().cpu().flatten(1) for network in (before, model)]
    answers = probabilities(model, fresh.pixels)
    found = {
        "cosine with the start": nn.functional.cosine_similarity(*kernels).mean().item(),
        "fresh drawings, one version": (answers.argmax(1) == fresh.labels).float().mean().item(),
        "sure of vehicles": answers.amax(1).mean().item(),
        "sure of empty scenes": probabilities(model, empty).amax(1).mean().item(),
    }
    for name, pictures in tests.items():
        found[f"{name}, one version"] = (logits_of(model, pictures).argmax(1) == pictures.labels).float().mean().item()
        found[f"{name}, four versions"] = (predict(model, pictures).argmax(1) == pictures.labels).float().mean().item()
    return found


def tuning_of(model: nn.Module) -> list[float]:
    """How sharply the first convolution and its ReLU are tuned to orientations, mean of the filters."""
    layers = [layer_names(model, kind)[0] for kind in (nn.Conv2d, nn.ReLU)]
    found = orientation_tuning(model, layers, SIZE)
    return [float(np.nanmean(found[name].strength)) for name in layers]


def parts_of(model: nn.Module, fresh: Fresh) -> dict[str, tuple[float, int, int]]:
    """For each part of a class: the best filter's precision over chance; how many filters reach 3, and reach 4."""
    fields = evidence.receptive_fields(model, SIZE)
    layers = [name for name in layer_names(model, nn.ReLU) if fields[name].stride][2:]  # without: no maps
    found = {}
    for label, (class_name, parts) in enumerate(OF_CLASS.items()):
        of_class = fresh.labels == label
        masks = fresh.masks[of_class.numpy()]
        scores = part_scores(model, layers, fresh.pixels[of_class], masks, len(PARTS))
        for part in parts:
            of_part = np.concatenate([each.precision[:, PARTS.index(part)] for each in scores.values()])
            counts = (int((of_part >= least).sum()) for least in (3, 4))
            found[f"{part} in {class_name.lower()}s"] = (float(of_part.max()), *counts)
    return found


def draw_sheets(folder: Path, before: nn.Module, after: nn.Module, image: Tensor) -> None:
    """Pictures of all first kernels, before above after, and of the nine most varied maps of each layer."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = {"start": before, "learned": after}
    weights = {name: next(iter(each.parameters())).detach().cpu().numpy() for name, each in networks.items()}
    figures.kernels(weights, "The first layer before and after training").savefig(folder / "kernels.png")
    captured = capture(after, layer_names(after, nn.Conv2d), image / 255)
    blocks = []
    for output in captured.values():
        maps = output[0]
        nine = maps[np.argsort(-maps.std(axis=(1, 2)))[:9]]
        blocks.append(mosaic(colour(nine, tuple(np.percentile(nine, (1, 99)))).rgb, columns=9, width=1152))
    Image.fromarray(np.concatenate(blocks)).save(folder / "maps.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--untrained", type=int, default=10, help="networks that learned nothing")
    parser.add_argument("--images", type=int, default=1000, help="drawings of each class, as SAMPLE_IMAGES")
    parser.add_argument("--epochs", type=int, default=0, help="0: as many as make run")
    parser.add_argument("--fresh", type=int, default=500, help="drawings of each class to measure with")
    parser.add_argument("--sheets", type=Path)
    args = parser.parse_args()

    record = prepare("sample", sample_images=args.images, val_share=0.1, test_share=0.2, seed=0)
    train = Pictures(settings.DATASETS / "Train", SIZE, DETAIL)
    val = Pictures(settings.DATASETS / "Val", SIZE)
    neither, empty = scenes_to_learn_from(record, train), empty_scenes(record, 200, SIZE)
    num_epochs = args.epochs or usual_epochs(record, len(train))
    fresh = Fresh(args.fresh)
    tests = {path.name: photographs(path, FOLDER / f"photographs{i}") for i, path in enumerate(args.photographs)}
    rows, trained_tuning, untrained_tuning, parts = [], [], [], {}
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        model = BikeCarCNN(train.classes, SIZE).to(choose_device())
        started = time.perf_counter()
        fit(model, train, val, Recipe(num_epochs, seed=seed), FOLDER / "model.pt", neither=neither)
        found = {"seconds": time.perf_counter() - started}
        before = evidence.untrained(model, val.pixels, seed)
        found |= measured(before, model, fresh, empty, tests)
        rows.append(found)
        trained_tuning.append(tuning_of(model))
        parts[f"trained, seed {seed}"] = parts_of(model, fresh)
        print(seed, {name: round(value, 3) for name, value in found.items()}, trained_tuning[-1], flush=True)
        if args.sheets:
            draw_sheets(args.sheets / f"seed{seed}", before, model, fresh.pixels[[0]])
    for seed in range(args.untrained):
        network = evidence.untrained(model, val.pixels, seed)
        untrained_tuning.append(tuning_of(network))
        if seed < args.seeds:
            parts[f"untrained, seed {seed}"] = parts_of(network, fresh)

    print("\n| " + " | ".join(["", *(f"seed {i}" for i in range(args.seeds)), "mean"]) + " |")
    print("| :--- |" + " ---: |" * (args.seeds + 1))
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in [*values, np.mean(values)]) + " |")
    for i, layer in enumerate(("first convolution", "its ReLU")):
        trained, untrained = (sorted(each[i] for each in some) for some in (trained_tuning, untrained_tuning))
        print(
            f"\ntuning of the {layer}: trained {trained[0]:.2f} to {trained[-1]:.2f}, "
            f"{len(untrained)} untrained {untrained[0]:.2f} to {untrained[-1]:.2f}"
        )
    names = list(parts["trained, seed 0"])
    print("\n| best filter (filters ≥ 3, ≥ 4) | " + " | ".join(names) + " |\n| :--- |" + " ---: |" * len(names))
    for network, scores in parts.items():
        cells = [f"{best:.1f} ({three}, {four})" for best, three, four in scores.values()]
        print(f"| {network} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
