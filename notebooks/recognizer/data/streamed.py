"""The pixels of Train, Val and Test if the images stay in shards.

Train is streamed from the shards in every epoch. Val and Test are decoded once, into a memory-mapped file in
`datasets/cache/`, as all pixels are if the images are files.
"""

import contextlib
import hashlib
import itertools
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import settings
from ..inputs import as_pixels, from_bytes, without_warnings
from ..progress import progress_bar
from ..settings import Problem, room_on_disk
from .dataset import PixelSet
from .images import ImageFile
from .record import Record
from .shard_members import members, webdataset
from .shard_source import open_shard
from .shards import kept_pictures

AT_ONCE = 32  # images that one thread decodes at a time
SHUFFLED_BYTES = 256_000_000  # pixels of the images among which the next one is drawn
MOST_SHUFFLED = 10_000  # the same as a number of images
AHEAD = 4  # batches that are ready before the network asks for them
LEFT_OVER = 600  # seconds after which nobody writes an unfinished file any more: its run was killed
HELD = ("Val", "Test")


class StreamedPictures:
    """The images of Train in shards. They are read and decoded again in every epoch, and are never all in memory.

    `labels` is int64 N, in the order of the shards, with indices into `classes`.
    """

    def __init__(self, record: Record, image_size: int, detail: float = 1) -> None:
        self.record, self.image_size, self.stored_size = record, image_size, round(detail * image_size)
        self.classes, self.labels = record.classes, _labels(record, "Train")

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int, shuffle: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of pixels, uint8 B×3×D×D, and labels, int64 B, in the order of `labels` or shuffled.

        With the generator `shuffle`, shards are read in random order. Each image is drawn from a buffer of up to 10,000
        images (256 MB), which is refilled as they leave. So images far apart in one order of shards do not meet.
        An incomplete last batch is then left out.
        """
        seed = None if shuffle is None else int(torch.randint(2**62, (), generator=shuffle))
        batches = self._batches(batch_size, seed)
        with without_warnings(), ThreadPoolExecutor(1) as reader:
            ready = deque(reader.submit(next, batches, None) for _ in range(AHEAD))
            try:
                while batch := ready.popleft().result():
                    ready.append(reader.submit(next, batches, None))
                    yield batch
            finally:
                reader.shutdown(cancel_futures=True)
                batches.close()

    def _batches(self, batch_size: int, seed: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        label_of = {name: label for label, name in enumerate(self.classes)}
        shards = list(self.record.shards)
        rng = random.Random(seed)
        if seed is not None:
            rng.shuffle(shards)
        images = _decoded(self.record, ("Train",), self.stored_size, shards)
        if seed is not None:
            size = max(batch_size, min(MOST_SHUFFLED, SHUFFLED_BYTES // (3 * self.stored_size**2)))
            images = webdataset().shuffle(size, initial=size // 4, rng=rng)(images)
        while chunk := list(itertools.islice(images, batch_size)):
            if seed is not None and len(chunk) < batch_size:
                return
            labels = torch.tensor([label_of[row.class_name] for row, _ in chunk])
            yield torch.stack([pixels for _, pixels in chunk]), labels


class HeldPictures(PixelSet):
    """The images of Val or Test in shards, with memory-mapped pixels. `paths` are some of them as files, to look at."""

    def __init__(self, record: Record, part: str, image_size: int, detail: float = 1) -> None:
        pixels = _held(record, part, round(detail * image_size))
        super().__init__(pixels, _labels(record, part), record.classes, image_size)
        kept = kept_pictures(record)
        self.paths: list[Path] = [kept[row.key] for row in record.files if row.split == part and row.key in kept]


def _labels(record: Record, part: str) -> Tensor:
    label_of = {name: label for label, name in enumerate(record.classes)}
    return torch.tensor([label_of[row.class_name] for row in record.files if row.split == part], dtype=torch.int64)


def _held(record: Record, part: str, side: int) -> Tensor:
    """The pixels of `part`, uint8 N×3×D×D with D = `side`. Val and Test are decoded in one pass through the shards."""
    cache = settings.DATASETS / "cache"
    files: dict[str, Path] = {}
    for each in HELD:
        listing = hashlib.sha256(repr([row.sha256 for row in record.files if row.split == each]).encode()).hexdigest()
        files[each] = cache / f"{record.dataset}-{each}-{side}px-{listing[:16]}.npy"
    if not all(path.exists() for path in files.values()):
        _decode_to(files, record, side)
    return torch.from_numpy(np.load(files[part], mmap_mode="c"))  # as in `pixel_cache`


def _decode_to(files: dict[str, Path], record: Record, side: int) -> None:
    count = {part: sum(row.split == part for row in record.files) for part in HELD}
    needed = 3 * side**2 * sum(count.values())
    parts = {part: path.with_suffix(f".{os.getpid()}.part") for part, path in files.items()}
    with contextlib.ExitStack() as stack:
        stack.enter_context(room_on_disk("storing the pixels of Val and Test", files["Val"].parent, needed=needed))
        stack.enter_context(without_warnings())
        progress = stack.enter_context(progress_bar("decode Val and Test", sum(count.values()), "images"))
        opened = {}
        for part, path in parts.items():
            stack.callback(path.unlink, missing_ok=True)  # what is left of an interrupted run
            opened[part] = stack.enter_context(path.open("wb"))
            header = {"descr": "|u1", "fortran_order": False, "shape": (count[part], 3, side, side)}
            np.lib.format.write_array_header_1_0(opened[part], header)
        for row, pixels in _decoded(record, HELD, side, list(record.shards)):
            opened[row.split].write(pixels.numpy().tobytes())
            progress.update()
        for part, path in files.items():
            opened[part].close()
            for outdated in path.parent.glob(f"{record.dataset}-{part}-{side}px-*"):
                # Windows does not delete a file that is still mapped. Another notebook may write a new .part file.
                with contextlib.suppress(PermissionError, FileNotFoundError):
                    if outdated.suffix == ".npy" or time.time() - outdated.stat().st_mtime > LEFT_OVER:
                        outdated.unlink()
            try:
                os.replace(parts[part], path)
            except PermissionError:  # Windows: another notebook was faster and has already mapped the same pixels
                if not path.exists():
                    raise


def _decoded(
    record: Record, parts: Sequence[str], side: int, shards: Sequence[str]
) -> Iterator[tuple[ImageFile, Tensor]]:
    """The images of `parts`, shard by shard, with their pixels, uint8 3×D×D with D = `side`."""
    images = _stored(record, parts, shards)
    chunks = iter(lambda: list(itertools.islice(images, AT_ONCE)), [])
    with ThreadPoolExecutor() as pool:
        for chunk in _in_order(pool, partial(_decode, as_pixels(side)), chunks, 2 * (os.cpu_count() or 1)):
            yield from chunk


def _decode(transform: Callable, chunk: list[tuple[ImageFile, bytes]]) -> list[tuple[ImageFile, Tensor]]:
    return [(row, transform(from_bytes(content, row.origin)).as_subclass(Tensor)) for row, content in chunk]


def _in_order(pool: Executor, function: Callable, items: Iterable, at_once: int) -> Iterator:
    """As `pool.map`, which would first take all of `items`."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > at_once:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _stored(record: Record, parts: Sequence[str], shards: Sequence[str]) -> Iterator[tuple[ImageFile, bytes]]:
    """The images of `parts`, shard by shard, as the bytes of their files. Raises `Problem` if a shard has changed."""
    place_of = _places(record)
    for shard in shards:
        rows = {row.origin: row for row in record.files[slice(*place_of[shard])]}
        file, stamp = open_shard(shard, record.shards[shard])
        with file:
            if stamp == record.stamps[shard]:
                for member in members(shard, file):
                    row = rows.pop(f"{shard}/{member.inner}", None)
                    if row is not None and row.split in parts:
                        yield row, member.content
        if rows:
            raise Problem(
                f"The shard {shard} has changed since notebook 01 read it. Run notebook 01 again with VERIFY=1."
            )


def _places(record: Record) -> dict[str, tuple[int, int]]:
    """Where the images of each shard start and end in `record.files`."""
    places, start = {}, 0
    for shard in record.shards:
        stop = start
        while stop < len(record.files) and record.files[stop].origin.startswith(f"{shard}/"):
            stop += 1
        places[shard], start = (start, stop), stop
    return places
