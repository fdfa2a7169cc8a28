"""What would a split that tears near-copies apart have reported? The default training on both splits, several seeds.

    python benchmarks/random_or_leak_free_split.py DATASET --seeds 3

DATASET is what notebooks take: a name, or a folder with one zip or folder a class (relative to the project). Nothing is
written but a temporary folder; downloads are kept.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

import temporary_workspace  # before the package, because it says where that works
from recognizer import load_model
from recognizer.data import Record, prepare, split_images
from recognizer.data.dataset import Pictures
from recognizer.data.record import images_on_disk, write_record
from recognizer.data.split import deal, move_to_parts
from recognizer.network import trained
from recognizer.network.evaluation import evaluate

DATASETS = Path(temporary_workspace.FOLDER.name) / "datasets"


def correct_answers(record: Record, seed: int) -> dict[str, bool]:
    """Train as notebook 02 does on what is in Train now; which Test images are then recognised?"""
    os.environ["SEED"] = str(seed)
    model = load_model(trained(record))
    test = Pictures(DATASETS / "Test", model.image_size)
    evaluation = evaluate(model, test)
    right = evaluation.predicted == evaluation.labels
    return {f"{path.parent.name}/{path.name}": bool(answer) for path, answer in zip(test.paths, right)}


def random_split(record: Record, shares: dict[str, float], seed: int) -> Record:
    """Deal the images as if none were a near-copy of another, and move them there."""
    alone = deal([replace(row, group=row.key) for row in record.files], **shares, seed=seed)
    parts = {row.key: row.split for row in alone}
    record = replace(record, files=[replace(row, split=parts[row.key]) for row in record.files])
    write_record(record)
    move_to_parts(record, images_on_disk(), DATASETS)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()

    shares = {"val_share": 0.1, "test_share": 0.2}
    record = prepare(args.dataset, sample_images=400, **shares, seed=0)
    group = {row.key: row.group for row in record.files}
    count, in_groups, groups = len(record.files), sum(map(len, record.groups())), len(record.groups())
    print(f"{count} images; {in_groups} of them in {groups} groups of near-copies")
    accuracies: dict[str, list[float]] = {"leak-free": [], "random": []}
    leaked: list[bool] = []
    others: list[bool] = []
    for seed in range(args.seeds):
        record = split_images(**shares, seed=seed)
        accuracies["leak-free"].append(np.mean(list(correct_answers(record, seed).values())))
        record = random_split(record, shares, seed)
        answers = correct_answers(record, seed)
        accuracies["random"].append(np.mean(list(answers.values())))
        in_train = {group[row.key] for row in record.files if row.split == "Train"}
        leaked += [answer for key, answer in answers.items() if group[key] in in_train]
        others += [answer for key, answer in answers.items() if group[key] not in in_train]
    for name, values in accuracies.items():
        each = ", ".join(f"{value:.2%}" for value in values)
        print(f"{name:9}  test accuracy {np.mean(values):.2%}  ({each})")
    each, all_of_test = len(leaked) / args.seeds, (len(leaked) + len(others)) / args.seeds
    print(
        f"random: {each:.0f} of {all_of_test:.0f} Test images have a near-copy in Train; "
        f"of these {np.mean(leaked):.2%} are recognised, of the others {np.mean(others):.2%}"
    )


if __name__ == "__main__":
    main()
