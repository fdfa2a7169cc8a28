"""Common claims about feature maps, as one number per network, so that networks can be compared."""

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

TO_ABLATE = 30  # scenes that are classified again without each filter of the last layer
FIRST, LAST = "first layer minus last", "last layer minus first"
# Name of the number → the claim, what is measured, and the smallest difference worth naming.
CLAIMS = {
    "edges": ("Early layers detect edges", "share of the first two layers' filters that prefer edges", 0.1),
    "corners": ("Early layers detect corners", "share of the first two layers' filters that prefer corners", 0.1),
    "blobs": ("Early layers detect blobs", "share of the first two layers' filters that prefer blobs", 0.1),
    "textures": ("Early layers detect textures", "share of the first two layers' filters that prefer textures", 0.1),
    "tuning": ("The first layer is tuned to orientations", "1 − circular variance, mean of the first layer", 0.05),
    "picture": ("Early layers keep the picture", f"share of the pixels' variance, {FIRST}", 0.1),
    "reader": ("Early layers are easier to interpret", f"a machine reader's right answers, {FIRST}", 0.05),
    "class": ("Late layers are specific to a class", f"mean preference for a class, {LAST}", 0.1),
    "abstract": ("Deep layers are abstract", f"share of variance between the classes, {LAST}", 0.1),
    "few": ("A few filters do most of the work", "change of the answers by a tenth of the last layer's filters", 0.1),
    "alike": (
        "Networks learn the same filters",
        "correlation of the last layer's filters with their best matches in another network",
        0.05,
    ),
    "wheel": ("Late layers detect wheels", "best filter for wheels, average precision over chance, worse class", 0.5),
    "window": ("Late layers detect windows", "best filter for windows, average precision over chance", 0.5),
}


def claim_numbers(model: nn.Module, layer_names: Sequence[str], choose: Scenes, report: Scenes) -> dict[str, float]:
    """One number of a network for each of `CLAIMS`. `layer_names` are layers after a ReLU, from first to last.

    Filters are chosen on the scenes `choose`, and all numbers are measured on `report`. Without masks, the numbers that
    need them are missing.
    """
    first, last = layer_names[0], layer_names[-1]
    labels = report.labels.numpy()
    start, side = start_of(model, layer_names[:2], report.pixels.shape[-1])
    kinds = best_responses(start, layer_names[:2], side)
    kept = kept_picture(model, [first, last], choose.pixels, report.pixels)
    means = spatial_means(model, [first, last], report.pixels)
    preference = {name: 2 * np.abs(auroc(values, labels) - 0.5) for name, values in means.items()}
    reader = read_filters(model, [first, last], choose.pixels, report.pixels)
    class_shares = {name: np.nanmean(share_of_classes(values, labels)) for name, values in means.items()}
    shares = dict(zip(KINDS, preferred_kinds(np.concatenate([*kinds.values()]))))
    numbers = {kind: share for kind, share in shares.items() if kind in CLAIMS}
    numbers |= {
        "tuning": np.nanmean(orientation_tuning(start, [first], side, num_phases=4)[first].strength),
        "picture": kept[first] - kept[last],
        "reader": np.nanmean(reader[first]) - np.nanmean(reader[last]),
        "class": preference[last].mean() - preference[first].mean(),
        "abstract": class_shares[last] - class_shares[first],
        "few": _share_of_top_tenth(model, last, choose, report),
    }
    if report.masks.any():
        late = layer_names[len(layer_names) // 2 :]
        (in_bikes,) = _best_filters(model, late, choose, report, 0, ["wheel"])
        in_cars, window = _best_filters(model, late, choose, report, 1, ["wheel", "window"])
        numbers |= {"wheel": min(in_bikes, in_cars), "window": window}
    return {name: float(value) for name, value in numbers.items()}


def claim_numbers_by_kind(
    networks: Mapping[str, Sequence[nn.Module]], layer_names: Sequence[str], choose: Scenes, report: Scenes
) -> dict[str, list[dict[str, float]]]:
    """`claim_numbers` of each network of each kind, on the fastest device: kind → one dict per network.

    If there are several networks of a kind, each is also compared with the next one: do they have the same filters?
    """
    by_kind, device = {}, choose_device()
    with progress_bar("measure", sum(map(len, networks.values())), "networks") as progress:
        for kind, of_kind in networks.items():
            by_kind[kind] = []
            for network in of_kind:
                by_kind[kind].append(claim_numbers(network.to(device), layer_names, choose, report))
                progress.update()
            for numbers, network, other in zip(by_kind[kind], of_kind, [*of_kind[1:], of_kind[0]]):
                if other is not network:
                    similarity = best_matches(network, other, layer_names[-1], report.pixels)
                    numbers["alike"] = float(np.nanmean(similarity))
    return by_kind


def usual_claims(numbers: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Claim]:
    """A claim for each number of `claim_numbers_by_kind`: `numbers` maps a kind to one dict per network.

    The first kind is the trained networks, and the others are controls.
    """
    trained, *controls = numbers
    return [
        Claim(
            claim,
            measure,
            np.array([network[name] for network in numbers[trained]]),
            {control: np.array([network[name] for network in numbers[control]]) for control in controls},
            smallest,
        )
        for name, (claim, measure, smallest) in CLAIMS.items()
        if name in numbers[trained][0]
    ]


def recognised_by(
    part: str, networks: Sequence[nn.Module], per_class: int, first: int = TO_REPORT, smallest: float = 0.5
) -> list[Claim]:
    """For each class, the claim that networks recognise it by `part`.

    The measure is how far the log-odds fall without the part, compared with the control. They are in nats, for
    `per_class` scenes. `smallest` is the smallest difference worth naming.
    """
    gone = {"edit": without(part)}
    questions = {"whole": {}, "gone": gone, "control": gone | {"control": True}}
    answers, claims = ask(networks, questions, log_odds, per_class, first), []
    for k, name in enumerate(networks[0].classes):
        of_class = slice(k * per_class, (k + 1) * per_class)
        fall, control = (
            answers["whole"][:, of_class] - answers[question][:, of_class] for question in ("gone", "control")
        )
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


def _share_of_top_tenth(model: nn.Module, layer_name: str, choose: Scenes, report: Scenes) -> float:
    """The share of all changes of the log-odds that is due to a tenth of a layer's filters.

    These are the filters with the largest changes. The changes are absolute, because signed changes would cancel over
    two classes.
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

    Masks are used at half their resolution, 32×32, because the maps of late layers are no finer.
    """
    scores = []
    for scenes in (choose, report):
        of_class = scenes.labels == label
        shown = scenes.masks[of_class][:, 1::2, 1::2].numpy()
        masks = sum(k * (shown == PARTS.index(part)) for k, part in enumerate(parts, start=1))
        maps, side = all_maps(model, layer_names, scenes.pixels[of_class]), scenes.pixels.shape[-1]
        fields = receptive_fields(model, side)
        layer_scores = [scores_of_maps(maps[name], fields[name], side, masks, len(parts) + 1) for name in layer_names]
        scores.append(np.concatenate([of_layer.precision[:, 1:] for of_layer in layer_scores]))
    return [float(scores[1][np.nanargmax(best), k]) for k, best in enumerate(scores[0].T)]
