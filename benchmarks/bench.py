"""The plain version of the same work and this project's, one after the other on the same images, each beside its limit.

    python benchmarks/bench.py                                  # on drawings, under 10 minutes on two cores
    DATASET=path/to/photographs python benchmarks/bench.py      # or a name that the notebooks take

Both get the same Train, Val and Test (near-copies on one side), those of seed 0. This project's other seeds change the
split as well, as SEED does in the notebooks. Each side runs in a process of its own. The table and the picture go to
`logs/bench/`, data and models to a temporary folder; downloads are kept.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARES = {"val_share": 0.1, "test_share": 0.2}  # as in notebook 01
LOGS = Path(os.environ.get("BENCH_LOGS", HERE.parent / "logs" / "bench"))


def peak_megabytes() -> float:
    """Of this process. Linux counts in kB, macOS in bytes, Windows not at all."""
    try:
        import resource
    except ImportError:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def two_images(datasets: Path) -> list[Path]:
    """The first Test image of the first two classes."""
    folders = sorted(folder for folder in (datasets / "Test").iterdir() if folder.is_dir())
    return [min(folder.iterdir()) for folder in folders[:2]]


def files_below(folder: Path) -> int:
    return sum(path.suffix == ".png" for path in folder.rglob("*"))


def run_plain(args: argparse.Namespace) -> dict:
    import plain
    from recognizer import BikeCarCNN, settings
    from recognizer.settings import parameter

    curve: list[tuple[float, float]] = []

    def after_epoch(epoch: int, seconds: float, val_accuracy: float) -> None:
        curve.append((seconds, val_accuracy))
        print(
            f"plain: epoch {epoch} of {args.plain_epochs}, {seconds:.0f} s, val {val_accuracy:.1%}",
            flush=True,
        )

    model, test_accuracy, speed = plain.train(settings.DATASETS, args.plain_epochs, 0, after_epoch)
    megabytes = peak_megabytes()
    size = parameter("IMAGE_SIZE", 128, at_least=32, at_most=1024)
    same = {"network": lambda count: BikeCarCNN([str(number) for number in range(count)], size), "image_size": size}
    _, _, speed_of_same = plain.train(settings.DATASETS, 1, 0, lambda *_: None, **same)
    folder = settings.WORKSPACE / "plain_maps"
    started = time.perf_counter()
    for image in two_images(settings.DATASETS):
        plain.save_feature_maps(model, image, folder / image.stem)
    seconds = time.perf_counter() - started
    return {
        "curve": curve,
        "test_accuracy": [test_accuracy],
        "images_per_second": speed,
        "images_per_second_same_network": speed_of_same,
        "files_per_second": files_below(folder) / seconds,
        "megabytes": megabytes,
    }


def run_ours(args: argparse.Namespace) -> dict:
    import torch

    from recognizer import settings
    from recognizer.data import split_images
    from recognizer.data.dataset import Pictures
    from recognizer.data.neither import scenes_to_learn_from
    from recognizer.network import DETAIL, usual_epochs
    from recognizer.network.evaluation import evaluate
    from recognizer.network.hardware import choose_device
    from recognizer.network.models import BikeCarCNN
    from recognizer.network.recipe import Recipe
    from recognizer.network.training import fit
    from recognizer.settings import parameter

    image_size = parameter("IMAGE_SIZE", 128, at_least=32, at_most=1024)
    curves, accuracies, tested = [], [], set()
    for seed in range(args.seeds):
        record = split_images(**SHARES, seed=seed)
        shutil.rmtree(settings.DATASETS / "cache", ignore_errors=True)  # each seed pays for decoding
        started, curve = time.perf_counter(), []
        train = Pictures(settings.DATASETS / "Train", image_size, DETAIL)
        val, test = (Pictures(settings.DATASETS / split, image_size) for split in ("Val", "Test"))
        neither = scenes_to_learn_from(record, train)
        torch.manual_seed(seed)
        model = BikeCarCNN(train.classes, image_size).to(choose_device())

        def after_epoch(epoch, started=started, curve=curve) -> None:
            curve.append((time.perf_counter() - started, epoch.val_accuracy))

        checkpoint = settings.LOGS / f"seed{seed}" / "model.pt"
        recipe = Recipe(parameter("EPOCHS", 0, at_least=0) or usual_epochs(record, len(train)), seed=seed)
        fit(model, train, val, recipe, checkpoint, [after_epoch], neither)
        evaluation = evaluate(model, test)
        accuracies.append(float((evaluation.predicted == evaluation.labels).mean()))
        tested.update(f"{path.parent.name}/{path.name}" for path in test.paths)
        curves.append(curve)
        print(f"ours: seed {seed}, {curve[-1][0]:.0f} s, test {accuracies[-1]:.1%}", flush=True)
    megabytes = peak_megabytes()
    found = {
        "curve": curves[0],
        "curves": curves,
        "test_accuracy": accuracies,
        "test_images": [len(test), len(tested)],
    }
    return found | {"megabytes": megabytes} | measure_training(train) | measure_maps(model)


def measure_training(train) -> dict:
    """Training as it is and the same steps on one batch in memory, in turn, seven times; and a large matrix product."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from tqdm import tqdm

    from recognizer.network.hardware import autocast, choose_device, fast_forward, fastest_dtype, fastest_memory_format
    from recognizer.network.models import BikeCarCNN
    from recognizer.network.recipe import Recipe, adamw, optimizer_and_average
    from recognizer.network.training import loss_of, train_one_epoch, training_batches

    device, recipe = choose_device(), Recipe(num_epochs=100)
    batch_size = min(recipe.batch_size, len(train))
    steps = len(train) // batch_size
    model = BikeCarCNN(train.classes, train.image_size).to(device, memory_format=fastest_memory_format(device))
    optimizer, _ = optimizer_and_average(model, recipe, recipe.num_epochs * steps)
    bare_optimizer = adamw(model.parameters(), recipe.lr)
    images = torch.rand(batch_size, 3, train.image_size, train.image_size, device=device)
    images = images.contiguous(memory_format=fastest_memory_format(device))
    labels = torch.zeros(batch_size, dtype=torch.long, device=device)

    def compute_only() -> float:
        model.train()
        started = time.perf_counter()
        for _ in range(steps):
            with autocast(device):
                logits = model(images)
            loss = loss_of(logits, labels)
            bare_optimizer.zero_grad()
            loss.backward()
            bare_optimizer.step()
        synchronize(device)
        return steps * batch_size / (time.perf_counter() - started)

    generator = torch.Generator().manual_seed(0)
    silent = tqdm(disable=True)

    def as_it_is() -> float:
        started = time.perf_counter()
        with fast_forward(model):
            train_one_epoch(model, training_batches(train, recipe, device, generator, silent), optimizer)
        return steps * batch_size / (time.perf_counter() - started)

    speeds, limits = [], []
    for _ in range(8):  # as other work on the machine comes and goes
        limits.append(compute_only())
        speeds.append(as_it_is())
    with FlopCounterMode(display=False) as counter:
        loss_of(model(images), labels).backward()
    flops = counter.get_total_flops() / batch_size
    size = 4096
    one, other = torch.rand(2, size, size, device=device, dtype=fastest_dtype(device))
    product_seconds = []
    for _ in range(6):
        started = time.perf_counter()
        one @ other
        synchronize(device)
        product_seconds.append(time.perf_counter() - started)
    # The first of each warms up.
    return {
        "images_per_second": statistics.median(speeds[1:]),
        "images_per_second_limit": statistics.median(limits[1:]),
        "share_of_compute_limit": statistics.median(share(speeds, limits)),
        "training_flops_per_second": flops * statistics.median(speeds[1:]),
        "matrix_flops_per_second": 2 * size**3 / min(product_seconds),
    }


def share(speeds: list[float], limits: list[float]) -> list[float]:
    """How much of the limit was reached, round by round, without the first, which warms up."""
    return [speed / limit for speed, limit in zip(speeds[1:], limits[1:])]


def synchronize(device) -> None:
    import torch

    if device.type != "cpu":
        torch.accelerator.synchronize()


def measure_maps(model) -> dict:
    """All convolutions of two images to disk, and the same pictures just encoded and written, in turn."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    from torch import nn

    from recognizer import capture, display_image_filtered, layer_names, settings, to_input
    from recognizer.maps.colours import as_maps, colour
    from recognizer.maps.files import save_png
    from recognizer.maps.grids import draw_grid, picture_of

    names, images = layer_names(model, nn.Conv2d), two_images(settings.DATASETS)
    filters, grids = [], []
    for image in images:
        pixels = to_input(image, model.image_size)
        for name, output in capture(model, names, pixels).items():
            coloured = colour(as_maps(output[0]))
            filters += list(coloured.rgb)
            grids.append(np.asarray(draw_grid(coloured, picture_of(pixels), name, image.stem)))
    count = len(filters) + len(grids)
    speeds, limits = [], []
    for number in range(4):
        # Folders of its own for each round: where files were just deleted, some file systems are slow for a while.
        started = time.perf_counter()
        for image in images:
            display_image_filtered(f"{image.parent.name}{number}", model, names, image, show=False)
        speeds.append(count / (time.perf_counter() - started))
        assert count == sum(map(files_below, settings.WORKSPACE.glob(f"results_*{number}")))
        bare = settings.WORKSPACE / f"bare{number}"
        bare.mkdir()
        started = time.perf_counter()
        with ThreadPoolExecutor() as pool:
            for index, rgb in enumerate(filters + grids):
                pool.submit(save_png, bare / f"{index}.png", rgb)
        limits.append(count / (time.perf_counter() - started))
        assert count == files_below(bare)
    return {
        "files_per_second": statistics.median(speeds[1:]),
        "files_per_second_limit": statistics.median(limits[1:]),
        "share_of_writing_limit": statistics.median(share(speeds, limits)),
    }


def in_a_process(side: str, args: argparse.Namespace, workspace: str, dataset: str) -> dict:
    """Run one side with a fresh interpreter, so that its memory is its own."""
    report = Path(workspace) / f"{side}.json"
    command = [sys.executable, __file__, "--side", side, "--report", report]
    command += ["--seeds", args.seeds, "--plain-epochs", args.plain_epochs]
    subprocess.run(
        [str(part) for part in command],
        env=os.environ | {"RECOGNIZER_WORKSPACE": workspace, "DATASET": dataset},
        check=True,
    )
    return json.loads(report.read_text("utf-8"))


def seconds_until(curve: list[list[float]], accuracy: float) -> float | None:
    return next((seconds for seconds, found in curve if found >= accuracy), None)


def table_of(plain: dict, ours: dict, title: str) -> str:
    from recognizer.network.evaluation import wilson_interval

    best = max(accuracy for _, accuracy in plain["curve"])
    plain_seconds = seconds_until(plain["curve"], best)
    ours_seconds = seconds_until(ours["curve"], best)  # of seed 0, which has the same Val

    def accuracy(values: list[float]) -> str:
        count = ours["test_images"][len(values) > 1]  # of several seeds, each image that was in any Test once
        low, high = wilson_interval(round(statistics.mean(values) * count), count)
        seeds = f"{len(values)} seeds" if len(values) > 1 else "1 seed"
        return f"{statistics.mean(values):.1%} ({low:.1%} to {high:.1%}, {seeds})"

    def times_more(a: float | None, b: float) -> str:
        return f"{a / b:.1f}×" if a is not None else "not reached"

    rows = [
        ("", "plain", "this project", "ratio", "limit, measured in the same run"),
        (
            f"seconds to the plain version's best val accuracy ({best:.1%})",
            f"{plain_seconds:.0f}",
            f"{ours_seconds:.1f}" if ours_seconds else "–",
            times_more(ours_seconds and plain_seconds, ours_seconds or 1),
            "",
        ),
        (
            "seconds for all epochs",
            f"{plain['curve'][-1][0]:.0f} ({len(plain['curve'])} epochs)",
            f"{ours['curve'][-1][0]:.0f} ({len(ours['curve'])} epochs)",
            "",
            "",
        ),
        (
            "images a second in training",
            f"{plain['images_per_second']:.0f}",
            f"{ours['images_per_second']:.0f}",
            times_more(ours["images_per_second"], plain["images_per_second"]),
            f"{ours['images_per_second_limit']:.0f} on a batch in memory: {ours['share_of_compute_limit']:.2f} of it",
        ),
        (
            "the same with one network on both sides",
            f"{plain['images_per_second_same_network']:.0f}",
            f"{ours['images_per_second']:.0f}",
            times_more(ours["images_per_second"], plain["images_per_second_same_network"]),
            "batches of 32 and of 16",
        ),
        (
            "FLOP/s in training",
            "",
            f"{ours['training_flops_per_second'] / 1e9:.0f} G",
            "",
            f"{ours['matrix_flops_per_second'] / 1e9:.0f} G in a large matrix product",
        ),
        ("test accuracy", accuracy(plain["test_accuracy"]), accuracy(ours["test_accuracy"]), "", ""),
        (
            "files a second, feature maps",
            f"{plain['files_per_second']:.0f}",
            f"{ours['files_per_second']:.0f}",
            times_more(ours["files_per_second"], plain["files_per_second"]),
            f"{ours['files_per_second_limit']:.0f} when only encoded and written: "
            f"{ours['share_of_writing_limit']:.2f} of it",
        ),
        ("peak memory, MB", f"{plain['megabytes']:.0f} and workers", f"{ours['megabytes']:.0f}", "", ""),
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| :--- | ---: | ---: | ---: | :--- |")
    return "\n".join([title, "", *lines, ""])


def draw(plain: dict, ours: dict, title: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    from recognizer.figures import BLUE, GREY, ORANGE

    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(12, 3.6), layout="constrained", gridspec_kw={"width_ratios": [2.4, 1, 1]}
    )
    left.plot(*zip(*plain["curve"]), "o-", color=ORANGE, label="plain", markersize=4)
    for number, curve in enumerate(ours["curves"]):
        left.plot(
            *zip(*curve),
            ".-",
            color=BLUE,
            alpha=0.8,
            linewidth=1,
            label=None if number else "this project, each seed another split",
        )
    best = max(accuracy for _, accuracy in plain["curve"])
    left.axhline(best, color=GREY, linestyle=":", linewidth=1)
    left.set(xscale="log", xlabel="seconds since the start (log scale)", ylabel="accuracy on Val", ylim=(0.5, 1))
    left.set_title("Accuracy over time", loc="left")
    left.legend(frameon=False, loc="lower right")
    for axis, key, name in (
        (middle, "images_per_second", "Images a second\nin training"),
        (right, "files_per_second", "Files a second,\nfeature maps"),
    ):
        values = [plain[key], ours[key]]
        axis.bar(["plain", "this\nproject"], values, color=[ORANGE, BLUE], width=0.6)
        for x, value in enumerate(values):
            axis.text(x, value, f"{value:.0f}", ha="center", va="bottom")
        axis.axhline(ours[f"{key}_limit"], color=GREY, linestyle="--")
        axis.text(-0.4, ours[f"{key}_limit"], "limit", va="bottom", color=GREY)
        axis.set_ylim(0, 1.2 * max(*values, ours[f"{key}_limit"]))
        axis.set_title(name, loc="left")
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.savefig(path, dpi=110)


def machine() -> str:
    import torch

    device = torch.accelerator.current_accelerator(check_available=True)
    gpu = f", {torch.cuda.get_device_name()}" if device and device.type == "cuda" else ", no GPU"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text("utf-8").splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}{gpu}, PyTorch {torch.__version__.split('+')[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs of this project's side")
    parser.add_argument("--plain-epochs", type=int, default=10)
    parser.add_argument("--side", choices=("plain", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        args.report.write_text(json.dumps((run_plain if args.side == "plain" else run_ours)(args)), "utf-8")
        return

    dataset = os.environ.get("DATASET") or "sample"
    with tempfile.TemporaryDirectory() as workspace:
        os.environ["RECOGNIZER_WORKSPACE"] = workspace  # read when the package is imported
        os.environ.setdefault("RECOGNIZER_ARCHIVES", str(HERE.parent / "datasets" / "archives"))  # no download twice
        from recognizer.data import prepare
        from recognizer.settings import parameter

        record = prepare(dataset, sample_images=parameter("SAMPLE_IMAGES", 1000, at_least=1), **SHARES, seed=0)
        plain, ours = (in_a_process(side, args, workspace, dataset) for side in ("plain", "ours"))
    to_train_on = sum(row.split == "Train" for row in record.files)
    title = (
        f"{record.dataset}, {len(record.files):,} images, {to_train_on:,} of them to train on; "
        f"{date.today()}, {machine()}"
    )
    LOGS.mkdir(parents=True, exist_ok=True)
    table = table_of(plain, ours, title)
    (LOGS / f"{record.dataset}.json").write_text(json.dumps({"plain": plain, "ours": ours}), "utf-8")
    (LOGS / f"{record.dataset}.md").write_text(table, "utf-8")
    draw(plain, ours, title, LOGS / f"{record.dataset}.png")
    print(f"\n{table}\nTable and picture: logs/bench/{record.dataset}.md and .png")


if __name__ == "__main__":
    main()
