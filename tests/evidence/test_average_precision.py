"""How well filters find parts, against scikit-learn, NumPy and planted filters."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score
from torch import nn

from recognizer.drawings import PARTS, VEHICLES
from recognizer.evidence.average_precision import part_scores, part_scores_within
from recognizer.evidence.dissection import dissect
from recognizer.evidence.experiments import redraw
from recognizer.settings import Problem


class Channels(nn.Module):
    """Its one layer passes each colour on: the filters' maps are the images themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.layer.weight[:, :, 0, 0] = torch.eye(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.fixture
def scene():
    """Images whose red marks part 1, whose green marks parts 1 and 2 alike, and whose blue is noise."""
    random = np.random.default_rng(0)
    masks = random.choice(3, p=(0.8, 0.05, 0.15), size=(40, 16, 16))
    noise = random.random((40, 3, 16, 16)).astype(np.float32) * 0.5
    noise[:, 0] += 0.4 * (masks == 1)
    noise[:, 1] += 0.4 * (masks > 0)
    return torch.from_numpy(noise), masks


def test_it_is_scikit_learns_average_precision_over_the_parts_share(scene):
    pixels, masks = scene
    found = part_scores(Channels(), ["layer"], pixels, masks, 3)["layer"].precision
    for colour in range(3):
        for part in range(3):
            shows = (masks == part).ravel()
            expected = average_precision_score(shows, pixels[:, colour].numpy().ravel()) / shows.mean()
            assert found[colour, part] == pytest.approx(expected, rel=0.01)


def test_a_few_huge_values_do_not_blur_the_others(scene):
    pixels, masks = scene
    pixels[0, :, 0, 0] = 1000
    found = part_scores(Channels(), ["layer"], pixels, masks, 3)["layer"].precision
    shows = (masks == 1).ravel()
    expected = average_precision_score(shows, pixels[:, 0].numpy().ravel()) / shows.mean()
    assert found[0, 1] == pytest.approx(expected, rel=0.01)


def test_a_filter_that_marks_another_part_as_well_scores_lower_and_noise_scores_chance(scene):
    found = part_scores(Channels(), ["layer"], *scene, 3)["layer"].precision
    assert found[0, 1] > 2 * found[1, 1] > 4
    assert found[2] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("size", [8, 19])
def test_a_constant_filter_scores_chance_and_a_part_that_never_appears_has_none(size):
    masks = np.random.default_rng(0).integers(0, 2, (4, size, size))
    found = part_scores(Channels(), ["layer"], torch.full((4, 3, 8, 8), 0.7), masks, 3)["layer"].precision
    assert found[:, :2] == pytest.approx(1)
    assert np.isnan(found[:, 2]).all()


def test_masks_of_other_images_are_refused():
    with pytest.raises(Problem, match="as many masks"):
        part_scores(Channels(), ["layer"], torch.rand(4, 3, 8, 8), np.zeros((3, 8, 8), int), 2)
    with pytest.raises(Problem, match="from 0 to 2"):
        part_scores(Channels(), ["layer"], torch.rand(3, 3, 8, 8), np.eye(3, dtype=int)[:, :, None] * [0, 2], 2)


def test_correlation_is_numpys(scene):
    pixels, masks = scene
    found = part_scores(Channels(), ["layer"], pixels, masks, 4)["layer"]
    values = pixels.numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    for part in range(3):
        expected = [np.corrcoef(each, masks.ravel() == part)[0, 1] for each in values]
        np.testing.assert_allclose(found.correlation[:, part], expected, atol=1e-4)
    assert np.isnan(found.correlation[:, 3]).all()  # no pixel shows it
    flat = part_scores(Channels(), ["layer"], torch.full_like(pixels, 0.3), masks, 3)["layer"]
    assert np.isnan(flat.correlation).all()  # a constant filter has none


def test_within_a_class_a_filter_that_marks_the_class_finds_none_of_its_parts(scene):
    """Red is bright all over in images of class 1, and part 1 is there alone."""
    pixels, masks = (each.clone() if torch.is_tensor(each) else each.copy() for each in scene)
    labels = np.arange(40) % 2
    masks[(labels == 0)[:, None, None] & (masks == 1)] = 0
    pixels[:, 0] = torch.rand(40, 16, 16) * 0.5 + torch.from_numpy(labels)[:, None, None] * 0.5
    over_all = part_scores(Channels(), ["layer"], pixels, masks, 3)["layer"]
    within = part_scores_within(Channels(), ["layer"], pixels, masks, 3, labels)
    assert list(within) == [0, 1] and np.isnan(within[0]["layer"].precision[:, 1]).all()
    assert over_all.precision[0, 1] > 1.7 and over_all.correlation[0, 1] > 0.1
    assert within[1]["layer"].precision[0, 1] == pytest.approx(1, abs=0.15)
    assert within[1]["layer"].correlation[0, 1] == pytest.approx(0, abs=0.05)
    assert within[1]["layer"].precision[1, 1] > 2  # green does mark it


@pytest.fixture(scope="module")
def wheels():
    """Where the wheels of 8 bikes and 8 cars are, bool 16×32×32: about an eighth of the pixels."""
    return redraw(VEHICLES, 8, 32).masks[:, 1::2, 1::2].numpy() == PARTS.index("wheel")


def marked_by(wheels: np.ndarray, case: str) -> np.ndarray:
    """What a filter marks that finds all wheels; that misses them in half of the images; that marks as much again."""
    marked = wheels.copy()
    if case == "missing labels":
        marked[::2] = False
    if case == "extra labels":
        rest = np.argwhere(~wheels)
        marked[tuple(np.random.default_rng(0).permutation(rest)[: wheels.sum()].T)] = True
    return marked


def measures_of(marked: np.ndarray, wheels: np.ndarray) -> dict[str, float]:
    pixels = torch.from_numpy(marked).float()[:, None].expand(-1, 3, -1, -1)
    found = part_scores(Channels(), ["layer"], pixels, wheels.astype(int), 2)["layer"]
    iou = dissect(Channels(), ["layer"], pixels, wheels.astype(int), top=0.4)["layer"].iou
    truth, said = wheels.ravel(), marked.ravel()
    return {
        "average precision": found.precision[0, 1] * truth.mean(),
        "correlation": found.correlation[0, 1],
        "IoU": iou[0, 1],
        "AUROC": roc_auc_score(truth, said),
        "precision": precision_score(truth, said),
        "recall": recall_score(truth, said),
    }


def test_which_measures_see_missing_and_extra_labels(wheels):
    """The checks of Oikarinen et al. (2025): a measure to trust falls in both cases."""
    cases = ("right", "missing labels", "extra labels")
    right, missing, extra = (measures_of(marked_by(wheels, case), wheels) for case in cases)
    for measure in ("average precision", "correlation", "IoU"):
        assert right[measure] == pytest.approx(1, abs=1e-3)
        assert missing[measure] < 0.75 and extra[measure] < 0.75
    assert missing["precision"] == 1 and extra["precision"] < 0.6  # blind to what is missed
    assert extra["recall"] == 1 and missing["recall"] < 0.6  # blind to what is marked in addition,
    assert extra["AUROC"] > 0.9 and missing["AUROC"] < 0.8  # and so, nearly, is this one
