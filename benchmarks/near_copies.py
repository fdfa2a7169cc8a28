"""How time and memory of the search for near-copies grow with the number of images, and what it misses.

    python benchmarks/near_copies.py                        # 5,000 to 1,000,000 thumbnails
    python benchmarks/near_copies.py --peer faiss 20000     # the same with an index of faiss: pip install faiss-cpu

Thumbnails are made: random pictures whose power falls with frequency as it does in photographs, one in ten a changed
copy of another. Up to 20,000, all pairs are compared as well, and recall is the share of all pairs' pairs in one group
that are in one group. Of copies, recall is the share of copies with a correlation of at least 0.95 that are in the
group of their original. Each number of thumbnails gets a process of its own.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.fft import idctn

from recognizer.data import duplicates
from recognizer.data.duplicates import near_copies

COPIES = 0.1
PIECE = 20_000  # thumbnails that are made at a time


def random_pictures(count: int, random: np.random.Generator) -> np.ndarray:
    """Pictures of mean 0 and deviation 1, float32 N×16×16. Their power falls with frequency to the power of 2.3.

    So the correlations of pairs have a standard deviation of 0.27, as those of the photographs in README.md have.
    """
    frequency = np.hypot(*np.mgrid[:16, :16])
    amplitude = np.divide(1, frequency**1.15, out=np.zeros((16, 16)), where=frequency > 0).astype(np.float32)
    pictures = idctn(random.standard_normal((count, 16, 16), np.float32) * amplitude, axes=(1, 2), norm="ortho")
    return pictures / pictures.std(axis=(1, 2), keepdims=True)


def changed(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Copies with other brightness and contrast, half of them mirrored, each with one of three further changes.

    These are noise, a shift by up to a pixel of the thumbnail, and another picture that shines through.
    """
    each = (len(pictures), 1, 1)
    share = random.uniform(0, 1, each)
    noisy = pictures + 0.35 * share * random.standard_normal(pictures.shape)
    shifted = (1 - share) * pictures + share * np.roll(pictures, 1, axis=2)
    blended = pictures + 0.35 * share * random_pictures(len(pictures), random)
    kind = random.integers(0, 3, each)
    copies = np.choose(kind, [noisy, shifted, blended])
    copies = np.where(random.random(each) < 0.5, copies, copies[:, :, ::-1])
    return copies * random.uniform(0.6, 1.2, each)


def as_bytes(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return (pictures * 45 + random.normal(120, 20, (len(pictures), 1, 1))).clip(0, 255).astype(np.uint8)


def made(count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Fingerprints, and the numbers of copies and of their originals."""
    random = np.random.default_rng(0)
    fingerprints: list[str] = []
    originals = []
    for start in range(0, count, PIECE):
        size = min(PIECE, count - start)
        copies = int(size * COPIES)
        pictures = random_pictures(size - copies, random)
        of = random.integers(0, len(pictures), copies)
        originals.append((start + len(pictures) + np.arange(copies), start + of))
        thumbnails = as_bytes(np.concatenate([pictures, changed(pictures[of], random)]), random)
        fingerprints += [base64.b64encode(thumbnail.tobytes()).decode() for thumbnail in thumbnails]
    return fingerprints, *np.concatenate(originals, axis=1)


def peer_faiss(queries: np.ndarray, points: np.ndarray, distance: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What `close_pairs` does, with an inverted file index of faiss: the same cells and probes, and trained centres."""
    import faiss

    faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    cells = len(points) // 256
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(points.shape[1]), points.shape[1], cells)
    index.train(points[np.random.default_rng(0).permutation(len(points))[: 40 * cells]])
    index.add(points)
    index.nprobe = 24
    for start in range(0, len(queries), PIECE):
        limits, _, found = index.range_search(queries[start : start + PIECE], distance**2)
        yield start + np.repeat(np.arange(len(limits) - 1), np.diff(limits).astype(int)), found


def pairs_together(*groups: np.ndarray) -> int:
    """The number of pairs that share a group in each of the groupings."""
    sizes = np.unique(np.stack(groups), axis=1, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def are_alike(fingerprints: list[str], copies: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """Whether each copy is still a near-copy of its original by the project's definition."""
    alike = []
    for start in range(0, len(copies), PIECE):
        pair = (
            duplicates.as_thumbnails([fingerprints[i] for i in some[start : start + PIECE]])
            for some in (copies, originals)
        )
        alike.append(duplicates._pairs_are_alike(*pair))
    return np.concatenate(alike)


def megabytes() -> float:
    """The most memory that this process had since the last call (Linux)."""
    most = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3
    Path("/proc/self/clear_refs").write_text("5")
    return most


def child(count: int, peer: str | None) -> None:
    fingerprints, copies, originals = made(count)
    megabytes()
    found = {"before": megabytes()}
    if peer:
        duplicates.close_pairs = peer_faiss
    duplicates.MANY = 0
    started = time.perf_counter(), time.process_time()
    groups = near_copies(fingerprints)
    found |= {"seconds": time.perf_counter() - started[0], "processor": time.process_time() - started[1]}
    found["MB"] = megabytes()
    together, alike = groups[copies] == groups[originals], are_alike(fingerprints, copies, originals)
    found["copies"] = together[alike].mean()
    found["joined"] = len(groups) - len(np.unique(groups))
    if count <= 20_000:
        duplicates.MANY = count
        started_all = time.perf_counter()
        expected = near_copies(fingerprints)
        found["all pairs"] = time.perf_counter() - started_all
        found["recall"] = pairs_together(expected, groups) / pairs_together(expected)
    print("\n" + json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[5_000, 20_000, 100_000, 500_000, 1_000_000])
    parser.add_argument("--peer", choices=["faiss"], help="an index to use instead of the project's own")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.counts[0], args.peer)
    columns = (
        "images",
        "seconds",
        "processor",
        "µs each",
        "peak MB",
        "before",
        "joined",
        "copies",
        "recall",
        "all pairs",
    )
    print("{:>9} {:>8} {:>9} {:>8} {:>8} {:>7} {:>8} {:>8} {:>8} {:>9}".format(*columns))
    for count in args.counts:
        command = [sys.executable, __file__, "--child", *(["--peer", args.peer] if args.peer else []), str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.rsplit("\n", 2)[-2])
        print(
            f"{count:9,} {found['seconds']:8.1f} {found['processor']:9.1f} {1e6 * found['seconds'] / count:8.0f} "
            f"{found['MB']:8,.0f} {found['before']:7,.0f} {found['joined']:8,} {found['copies']:8.5f}"
            + (f" {found['recall']:8.5f} {found['all pairs']:7.1f} s" if "recall" in found else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
