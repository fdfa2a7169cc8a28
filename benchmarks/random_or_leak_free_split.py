"""What would a split that tears near-copies apart have reported? The default training on both splits, several seeds.

    python benchmarks/random_or_leak_free_split.py DATASET --seeds 3

DATASET is what notebooks take: a name, or a folder with one zip or folder a class (relative to the project). Nothing is
written but a temporary folder; downloads are kept.
"""

import temporary_workspace  # noqa: F401  first: it says where the package works

# isort: split
import argparse
import os
from unittest import mock

import numpy as np

from recognizer import load_model, settings
from recognizer.data import Record, prepare, split_images
from recognizer.data.dataset import Pictures
from recognizer.network import trained
from recognizer.network.evaluation import evaluate


def correct_answers(record: Record, seed: int) -> dict[str, bool]:
    """Train as notebook 02 does on what is in Train now; which Test images are then recognised?"""
    os.environ["SEED"] = str(seed)
    model = load_model(trained(record))
    test = Pictures(settings.DATASETS / "Test", model.image_size)
    evaluation = evaluate(model, test)
    right = evaluation.predicted == evaluation.labels
    return {f"{path.parent.name}/{path.name}": bool(answer) for path, answer in zip(test.paths, right)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()

    shares = {"val_share": 0.1, "test_share": 0.2}
    record = prepare(args.dataset, sample_images=400, **shares, seed=0)
    group = {row.key: row.group for row in record.files}
    print(
        f"{len(record.files)} images; {sum(map(len, record.groups()))} of them in {len(record.groups())} groups of near-copies"
    )
    accuracies: dict[str, list[float]] = {"leak-free": [], "random": []}
    leaked: list[bool] = []
    others: list[bool] = []
    for seed in range(args.seeds):
        record = split_images(**shares, seed=seed)
        accuracies["leak-free"].append(np.mean(list(correct_answers(record, seed).values())))
        with mock.patch("recognizer.data.split.near_copies", lambda prints: range(len(prints))):
            record = split_images(**shares, seed=seed)
        answers = correct_answers(record, seed)
        accuracies["random"].append(np.mean(list(answers.values())))
        in_train = {group[row.key] for row in record.files if row.split == "Train"}
        leaked += [answer for key, answer in answers.items() if group[key] in in_train]
        others += [answer for key, answer in answers.items() if group[key] not in in_train]
    for name, values in accuracies.items():
        each = ", ".join(f"{value:.2%}" for value in values)
        print(f"{name:9}  test accuracy {np.mean(values):.2%}  ({each})")
    print(
        f"random: {len(leaked) / args.seeds:.0f} of {(len(leaked) + len(others)) / args.seeds:.0f} Test images have a near-copy "
        f"in Train; of these {np.mean(leaked):.2%} are recognised, of the others {np.mean(others):.2%}"
    )


if __name__ == "__main__":
    main()
