"""Two sets of pictures that no network has seen: one to choose filters on, and one to report on."""

import torch

from ..data.dataset import Pictures
from ..data.masks import part_masks
from ..data.record import Record
from ..drawings import PARTS
from .experiments import MASK_SIZE, TO_CHOOSE, TO_REPORT, Scenes, redraw


def to_choose_and_report(record: Record, test: Pictures, per_class: int) -> tuple[Scenes, Scenes, list[str]]:
    """Two sets of at most `per_class` pictures of each class, none of them in both, and the names of their parts.

    Whoever chooses the best of many filters and reports its score on the same pictures takes luck for a finding. Where
    the network learned from drawings, both sets are drawn afresh. Otherwise they are two halves of `test`; where these
    have no masks, all is background and there are no names.
    """
    if record.dataset == "sample":
        sets = (redraw(test.classes, per_class, test.image_size, first=first) for first in (TO_CHOOSE, TO_REPORT))
        return *sets, list(PARTS)
    masks, parts = part_masks(test, MASK_SIZE[0]) or (None, [])
    masks = torch.zeros(len(test), *MASK_SIZE, dtype=torch.uint8) if masks is None else torch.from_numpy(masks)
    of_class = [(test.labels == label).nonzero()[:, 0] for label in range(len(test.classes))]
    per_class = max(1, min(per_class, *(len(each) // 2 for each in of_class)))
    halves = (torch.cat([each[half::2][:per_class] for each in of_class]) for half in range(2))
    sets = (Scenes(test.pixels[i], test.labels[i], masks[i], torch.ones(len(i), dtype=torch.bool)) for i in halves)
    return *sets, parts
