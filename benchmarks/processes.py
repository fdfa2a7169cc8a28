"""Training in one and in two processes: speed, accuracy, and what a step consists of.

    python benchmarks/processes.py                  # all of it
    python benchmarks/processes.py speed steps      # parts of it

`speed` trains on noise with one thread, with two threads, and in two processes with one thread each, in turn.
`accuracy` trains on the drawn sample (`--images` per class, `--size` pixels, `--epochs`), in one and in two processes.
`steps` measures the parts of a training step, and the all-reduce of real gradients between two processes.
Everything is written to a temporary folder; downloads are kept.
"""

import argparse
import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import temporary_workspace  # before the package, because it says where that works
from recognizer import BikeCarCNN, settings
from recognizer.data import prepare, read_record
from recognizer.data.augmentation import augment
from recognizer.data.batches import batches
from recognizer.data.dataset import Pictures, PixelSet
from recognizer.data.neither import scenes_to_learn_from
from recognizer.network import DETAIL, processes
from recognizer.network.evaluation import evaluate
from recognizer.network.hardware import autocast, fastest_memory_format, keep_freed_memory
from recognizer.network.recipe import Recipe, optimizer_and_average
from recognizer.network.training import fit, loss_of

CLASSES, SIZE, BATCH_SIZE = ["Bike", "Car"], 128, 16
CPU = torch.device("cpu")


def noise(count: int, size: int) -> PixelSet:
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    return PixelSet(pixels, torch.arange(count) % 2, CLASSES, SIZE)


def new_model(seed: int = 0, size: int = SIZE) -> BikeCarCNN:
    torch.manual_seed(seed)
    return BikeCarCNN(CLASSES, size)


def speed_of_training() -> tuple[float, float]:
    """In the second and third epoch of 15 steps: images per second of all processes together, and per second of a core.

    The second number does not depend much on what else the machine does.
    """
    torch.manual_seed(0)
    train, val = noise(15 * BATCH_SIZE, round(DETAIL * SIZE)), noise(8, SIZE)
    path, cpu_seconds = Path(temporary_workspace.FOLDER.name) / f"{os.getpid()}.pt", []
    after_epoch = [lambda epoch: cpu_seconds.append(time.process_time())]
    history = fit(new_model(), train, val, Recipe(3, BATCH_SIZE), path, after_epoch)
    of_core = 2 * len(train) / processes.count() / (cpu_seconds[-1] - cpu_seconds[0])
    return float(np.mean([epoch.images_per_second for epoch in history.epochs[1:]])), of_core


def accuracy(epochs: int, seed: int, size: int) -> tuple[float, float, float]:
    """Accuracy on the test images, and its interval."""
    train = Pictures(settings.DATASETS / "Train", size, DETAIL)
    val, test = (Pictures(settings.DATASETS / part, size) for part in ("Val", "Test"))
    model, neither = new_model(seed, size), scenes_to_learn_from(read_record(), train)
    path = Path(temporary_workspace.FOLDER.name) / f"{os.getpid()}.pt"
    fit(model, train, val, Recipe(epochs, BATCH_SIZE, seed=seed), path, neither=neither)
    evaluation = evaluate(model, test)
    return evaluation.accuracy, *evaluation.interval()


def milliseconds(function: Callable[[], object], repeats: int = 30) -> float:
    """The time of the fastest call: other programs on the same cores slow down the others."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def parts_of_a_step() -> dict[str, float]:
    """Milliseconds for a batch in one process with one thread."""
    keep_freed_memory()
    train = noise(600, round(DETAIL * SIZE))
    np.save(Path(temporary_workspace.FOLDER.name) / "pixels.npy", train.pixels.numpy())
    mapped = np.load(Path(temporary_workspace.FOLDER.name) / "pixels.npy", mmap_mode="c")
    train.pixels = torch.from_numpy(mapped)
    model = new_model().to(memory_format=fastest_memory_format(CPU)).train()
    optimizer, _ = optimizer_and_average(model, Recipe(1, BATCH_SIZE), 1000)
    stream = (batch for _ in range(9) for batch in batches(train, BATCH_SIZE, shuffle=torch.Generator()))
    images, labels = next(stream)
    changed = augment(images, torch.Generator(), SIZE).to(memory_format=fastest_memory_format(CPU))

    def compute() -> None:
        with autocast(CPU):
            logits = model(changed)
        optimizer.zero_grad()
        loss_of(logits, labels).backward()

    return {
        "reading 16 images from the mapped file": milliseconds(lambda: next(stream)),
        "augmenting them": milliseconds(lambda: augment(images, torch.Generator(), SIZE)),
        "forward and backward": milliseconds(compute),
        "optimizer and running average": milliseconds(optimizer.step),
    }


def exchange() -> dict[str, float]:
    """Milliseconds for what two processes tell each other in a step, without training."""
    count = sum(p.numel() for p in new_model().parameters())
    gradients, flag = torch.ones(count), torch.zeros(1)
    return {
        f"all-reduce of {4 * count / 1e6:.2f} MB of gradients": milliseconds(lambda: dist.all_reduce(gradients), 200),
        "all-reduce of the flag for Ctrl-C": milliseconds(lambda: dist.all_reduce(flag), 200),
    }


def _work(rank: int, count: int, threads: int, port: int, answer: Path, function: Callable, arguments: tuple) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(count), "RANK": str(rank), "GOMP_SPINCOUNT": "1000"}
    torch.set_num_threads(threads)
    settings.DATASETS = answer.parent / "datasets"  # that of the process that started this one
    with processes.joined(), open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        result = function(*arguments)
    if not rank:
        torch.save(result, answer)


def in_processes(function: Callable, *arguments, count: int, threads: int):
    """What `function` returns in the first of `count` processes."""
    answer = settings.WORKSPACE / "answer.pt"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    torch.multiprocessing.spawn(_work, (count, threads, port, answer, function, arguments), nprocs=count)
    return torch.load(answer)


def report_speed(rounds: int) -> None:
    ways = {
        "one process, one thread": (1, 1),
        "one process, two threads": (1, 2),
        "two processes, one thread each": (2, 1),
    }
    print("| | images a second | images per second of a core |\n| :--- | ---: | ---: |", flush=True)
    for _ in range(rounds):
        for name, (count, threads) in ways.items():
            speed, of_core = in_processes(speed_of_training, count=count, threads=threads)
            print(f"| {name} | {speed:.0f} | {of_core:.0f} |", flush=True)


def report_accuracy(images: int, epochs: int, seeds: int, size: int) -> None:
    prepare("sample", sample_images=images, val_share=0.1, test_share=0.4, seed=0)
    print(f"\n| {epochs} epochs, {size} px | one process | two processes |\n| :--- | ---: | ---: |", flush=True)
    for seed in range(seeds):
        found = [in_processes(accuracy, epochs, seed, size, count=count, threads=2 // count) for count in (1, 2)]
        cells = [f"{value:.1%} ({low:.1%} to {high:.1%})" for value, low, high in found]
        print(f"| seed {seed} | {' | '.join(cells)} |", flush=True)


def report_steps() -> None:
    parts = in_processes(parts_of_a_step, count=1, threads=1) | in_processes(exchange, count=2, threads=1)
    print("\n| part of a step | ms |\n| :--- | ---: |")
    for name, value in parts.items():
        print(f"| {name} | {value:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="speed, steps, accuracy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    parts = args.parts or ["speed", "steps", "accuracy"]
    if "speed" in parts:
        report_speed(args.rounds)
    if "steps" in parts:
        report_steps()
    if "accuracy" in parts:
        report_accuracy(args.images, args.epochs, args.seeds, args.size)


if __name__ == "__main__":
    main()
