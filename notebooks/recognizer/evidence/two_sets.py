"""Two sets of pictures that no network has seen: one to choose filters on, one to report scores on."""

import torch

from ..data.dataset import Pictures
from ..data.masks import part_masks
from ..data.record import Record
from ..drawings import PARTS
from .experiments import MASK_SIZE, TO_CHOOSE, TO_REPORT, Scenes, redraw


def to_choose_and_report(record: Record, test: Pictures, per_class: int) -> tuple[Scenes, Scenes, list[str]]:
    """Two disjoint sets of at most `per_class` pictures of each class, and the names of their parts.

    If the best of many filters is chosen and reported on the same pictures, part of its score is due to chance. If the
    network learned from drawings, both sets are new drawings. Otherwise, they are two halves of `test`. If these
    pictures have no masks, everything is background and there are no names.
    """
    if record.dataset == "sample":
        sets = (redraw(test.classes, per_class, test.image_size, first=first) for first in (TO_CHOOSE, TO_REPORT))
        return *sets, list(PARTS)
    masks, parts = part_masks(test, MASK_SIZE[0]) or (None, [])
    masks = torch.zeros(len(test), *MASK_SIZE, dtype=torch.uint8) if masks is None else torch.from_numpy(masks)
    of_class = [(test.labels == label).nonzero()[:, 0] for label in range(len(test.classes))]
    per_class = max(1, min(per_class, *(len(indices) // 2 for indices in of_class)))
    halves = (torch.cat([indices[half::2][:per_class] for indices in of_class]) for half in range(2))
    sets = (Scenes(test.pixels[i], test.labels[i], masks[i], torch.ones(len(i), dtype=torch.bool)) for i in halves)
    return *sets, parts
