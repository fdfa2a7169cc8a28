"""What people say about feature maps, as one number per network, so that networks can be compared."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from ..drawings import PARTS, without
from ..network.hardware import choose_device
from ..progress import progress_bar
from .ablation import ablate
from .average_precision import scores_of_maps
from .claims import Claim, image_error
from .experiments import TO_REPORT, Scenes, ask, log_odds
from .graph import start_of
from .kept_picture import kept_picture
from .matching import best_matches
from .orientation import orientation_tuning
from .probes import KINDS, best_responses, preferred_kinds
from .reader import read_filters
from .receptive_field import receptive_fields
from .responses import all_maps, spatial_means
from .selectivity import auroc
from .total_effects import share_of_classes

TO_ABLATE = 30  # scenes: each filter of the last layers is taken out for all of them
FIRST, LAST = "first layer minus last", "last layer minus first"
# Number of a network → what people say, what was measured, and the smallest difference worth naming.
SAID = {
    "edges": ("Early layers detect edges", "share of the first two layers' filters that prefer edges", 0.1),
    "corners": ("Early layers detect corners", "share of the first two layers' filters that prefer corners", 0.1),
    "blobs": ("Early layers detect blobs", "share of the first two layers' filters that prefer blobs", 0.1),
    "textures": ("Early layers detect textures", "share of the first two layers' filters that prefer textures", 0.1),
    "tuning": ("The first layer is tuned to orientations", "1 − circular variance, mean of the first layer", 0.05),
    "picture": ("Early layers keep the picture", f"share of the pixels' variance, {FIRST}", 0.1),
    "reader": ("Early layers are easier to interpret", f"a machine reader's right answers, {FIRST}", 0.05),
    "class": ("Late layers are specific to a class", f"mean preference for a class, {LAST}", 0.1),
    "abstract": ("Deep layers are abstract", f"share of variance between the classes, {LAST}", 0.1),
    "few": ("A few filters carry most of it", "change of the answers by a tenth of the last layer's filters", 0.1),
    "alike": (
        "Networks learn the same filters",
        "correlation of the last layer's with their best matches in another",
        0.05,
    ),
    "wheel": ("Late layers detect wheels", "best filter for wheels, average precision over chance, worse class", 0.5),
    "window": ("Late layers detect windows", "best filter for windows, average precision over chance", 0.5),
}


def numbers_of(model: nn.Module, layer_names: Sequence[str], choose: Scenes, report: Scenes) -> dict[str, float]:
    """One number of a network for each of `SAID`. `layer_names` are layers after a ReLU, from the first to the last.

    Filters are chosen on the scenes `choose`, and all numbers are measured on `report`. Numbers that need masks are
    left out where there are none.
    """
    first, last = layer_names[0], layer_names[-1]
    labels = report.labels.numpy()
    start, side = start_of(model, layer_names[:2], report.pixels.shape[-1])
    kinds = best_responses(start, layer_names[:2], side)
    kept = kept_picture(model, [first, last], choose.pixels, report.pixels)
    means = spatial_means(model, [first, last], report.pixels)
    preference = {name: 2 * np.abs(auroc(each, labels) - 0.5) for name, each in means.items()}
    read = read_filters(model, [first, last], choose.pixels, report.pixels)
    of_classes = {name: np.nanmean(share_of_classes(each, labels)) for name, each in means.items()}
    shares = dict(zip(KINDS, preferred_kinds(np.concatenate([*kinds.values()]))))
    found = {kind: share for kind, share in shares.items() if kind in SAID}
    found |= {
        "tuning": np.nanmean(orientation_tuning(start, [first], side, num_phases=4)[first].strength),
        "picture": kept[first] - kept[last],
        "reader": np.nanmean(read[first]) - np.nanmean(read[last]),
        "class": preference[last].mean() - preference[first].mean(),
        "abstract": of_classes[last] - of_classes[first],
        "few": _of_a_tenth(model, last, choose, report),
    }
    if report.masks.any():
        late = layer_names[len(layer_names) // 2 :]
        (in_bikes,) = _best_filters(model, late, choose, report, 0, ["wheel"])
        in_cars, window = _best_filters(model, late, choose, report, 1, ["wheel", "window"])
        found |= {"wheel": min(in_bikes, in_cars), "window": window}
    return {name: float(value) for name, value in found.items()}


def numbers_of_all(
    networks: Mapping[str, Sequence[nn.Module]], layer_names: Sequence[str], choose: Scenes, report: Scenes
) -> dict[str, list[dict[str, float]]]:
    """`numbers_of` each network of each kind, on the device that is fastest: kind → one dict per network.

    Where there are several of a kind, each is also compared with the next one: do they have the same filters?
    """
    found, device = {}, choose_device()
    with progress_bar("measure", sum(map(len, networks.values())), "networks") as progress:
        for kind, those in networks.items():
            found[kind] = []
            for network in those:
                found[kind].append(numbers_of(network.to(device), layer_names, choose, report))
                progress.update()
            for numbers, network, other in zip(found[kind], those, [*those[1:], those[0]]):
                if other is not network:
                    alike = best_matches(network, other, layer_names[-1], report.pixels)
                    numbers["alike"] = float(np.nanmean(alike))
    return found


def usual_claims(numbers: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Claim]:
    """A claim for each number: `numbers` maps a kind of network, the trained ones first, to those of each network."""
    trained, *controls = numbers
    return [
        Claim(
            said,
            measure,
            np.array([each[name] for each in numbers[trained]]),
            {control: np.array([each[name] for each in numbers[control]]) for control in controls},
            smallest,
        )
        for name, (said, measure, smallest) in SAID.items()
        if name in numbers[trained][0]
    ]


def recognised_by(
    part: str, networks: Sequence[nn.Module], per_class: int, first: int = TO_REPORT, smallest: float = 0.5
) -> list[Claim]:
    """For each class the claim that networks recognise it by `part`: its answer falls further than in the control.

    Log-odds in nats, of `per_class` scenes. A difference of `smallest` is worth naming.
    """
    gone = {"edit": without(part)}
    questions = {"whole": {}, "gone": gone, "control": gone | {"control": True}}
    answers, claims = ask(networks, questions, log_odds, per_class, first), []
    for k, name in enumerate(networks[0].classes):
        of = slice(k * per_class, (k + 1) * per_class)
        fall, control = (answers["whole"][:, of] - answers[what][:, of] for what in ("gone", "control"))
        fall[np.isnan(control)] = np.nan
        claims.append(
            Claim(
                f"A {name.lower()} is recognised by its {part}",
                f"fall of the log-odds without a {part}",
                np.nanmean(fall, axis=1),
                {"as much elsewhere": np.nanmean(control, axis=1)},
                smallest,
                {"as much elsewhere": image_error(fall, control)},
            )
        )
    return claims


def _of_a_tenth(model: nn.Module, layer_name: str, choose: Scenes, report: Scenes) -> float:
    """The share of all changes of the log-odds that is due to the tenth of a layer's filters that changes them most.

    Changes are absolute. Signed ones would cancel over two classes.
    """
    changes = []
    for scenes in (choose, report):
        some = torch.linspace(0, len(scenes.labels) - 1, min(TO_ABLATE, len(scenes.labels))).long()
        ablation = ablate(model, layer_name, scenes.pixels[some], scenes.labels[some])
        changes.append(np.abs(ablation.drops).mean(axis=0))
    top = changes[0].argsort()[::-1][: max(1, len(changes[0]) // 10)]
    return float(changes[1][top].sum() / max(changes[1].sum(), 1e-12))


def _best_filters(
    model: nn.Module, layer_names: Sequence[str], choose: Scenes, report: Scenes, label: int, parts: Sequence[str]
) -> list[float]:
    """The average precision over chance of the best filter for each of `parts`, in pictures of the class `label`.

    Masks are taken at half their resolution, 32×32: the maps of late layers are no finer.
    """
    scores = []
    for scenes in (choose, report):
        of = scenes.labels == label
        shown = scenes.masks[of][:, 1::2, 1::2].numpy()
        masks = sum(k * (shown == PARTS.index(part)) for k, part in enumerate(parts, start=1))
        maps, side = all_maps(model, layer_names, scenes.pixels[of]), scenes.pixels.shape[-1]
        fields = receptive_fields(model, side)
        found = [scores_of_maps(maps[name], fields[name], side, masks, len(parts) + 1) for name in layer_names]
        scores.append(np.concatenate([each.precision[:, 1:] for each in found]))
    return [float(scores[1][np.nanargmax(best), k]) for k, best in enumerate(scores[0].T)]
