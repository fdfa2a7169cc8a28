"""How well filters locate parts, compared with scikit-learn, NumPy and planted filters."""

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
    """A network with one layer that passes each colour on, so that its maps are the images themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.layer.weight[:, :, 0, 0] = torch.eye(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


@pytest.fixture
def scene():
    """Images whose red marks part 1, whose green marks parts 1 and 2 equally, and whose blue is noise."""
    random = np.random.default_rng(0)
    masks = random.choice(3, p=(0.8, 0.05, 0.15), size=(40, 16, 16))
    noise = random.random((40, 3, 16, 16)).astype(np.float32) * 0.5
    noise[:, 0] += 0.4 * (masks == 1)
    noise[:, 1] += 0.4 * (masks > 0)
    return torch.from_numpy(noise), masks


def test_precision_is_scikit_learns_average_precision_over_the_parts_share(scene):
    pixels, masks = scene
    precision = part_scores(Channels(), ["layer"], pixels, masks, 3)["layer"].precision
    for colour in range(3):
        for part in range(3):
            shows = (masks == part).ravel()
            expected = average_precision_score(shows, pixels[:, colour].numpy().ravel()) / shows.mean()
            assert precision[colour, part] == pytest.approx(expected, rel=0.01)


def test_a_few_huge_values_do_not_change_the_scores(scene):
    pixels, masks = scene
    pixels[0, :, 0, 0] = 1000
    precision = part_scores(Channels(), ["layer"], pixels, masks, 3)["layer"].precision
    shows = (masks == 1).ravel()
    expected = average_precision_score(shows, pixels[:, 0].numpy().ravel()) / shows.mean()
    assert precision[0, 1] == pytest.approx(expected, rel=0.01)


def test_marking_a_second_part_lowers_the_score_and_noise_scores_at_chance(scene):
    precision = part_scores(Channels(), ["layer"], *scene, 3)["layer"].precision
    assert precision[0, 1] > 2 * precision[1, 1] > 4
    assert precision[2] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("size", [8, 19])
def test_a_constant_filter_scores_at_chance_and_an_absent_part_has_no_score(size):
    masks = np.random.default_rng(0).integers(0, 2, (4, size, size))
    precision = part_scores(Channels(), ["layer"], torch.full((4, 3, 8, 8), 0.7), masks, 3)["layer"].precision
    assert precision[:, :2] == pytest.approx(1)
    assert np.isnan(precision[:, 2]).all()


def test_masks_that_do_not_fit_the_images_are_an_error():
    with pytest.raises(Problem, match="as many masks"):
        part_scores(Channels(), ["layer"], torch.rand(4, 3, 8, 8), np.zeros((3, 8, 8), int), 2)
    with pytest.raises(Problem, match="from 0 to 2"):
        part_scores(Channels(), ["layer"], torch.rand(3, 3, 8, 8), np.eye(3, dtype=int)[:, :, None] * [0, 2], 2)


def test_correlation_agrees_with_numpy(scene):
    pixels, masks = scene
    scores = part_scores(Channels(), ["layer"], pixels, masks, 4)["layer"]
    values = pixels.numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    for part in range(3):
        expected = [np.corrcoef(filter_values, masks.ravel() == part)[0, 1] for filter_values in values]
        np.testing.assert_allclose(scores.correlation[:, part], expected, atol=1e-4)
    assert np.isnan(scores.correlation[:, 3]).all()  # no pixel shows this part
    flat = part_scores(Channels(), ["layer"], torch.full_like(pixels, 0.3), masks, 3)["layer"]
    assert np.isnan(flat.correlation).all()  # a constant filter has no correlation


def test_within_a_class_a_filter_that_marks_the_whole_class_locates_no_part(scene):
    """Red is bright everywhere in images of class 1, and only these images show part 1."""
    pixels, masks = (array.clone() if torch.is_tensor(array) else array.copy() for array in scene)
    labels = np.arange(40) % 2
    masks[(labels == 0)[:, None, None] & (masks == 1)] = 0
    pixels[:, 0] = torch.rand(40, 16, 16) * 0.5 + torch.from_numpy(labels)[:, None, None] * 0.5
    over_all = part_scores(Channels(), ["layer"], pixels, masks, 3)["layer"]
    within = part_scores_within(Channels(), ["layer"], pixels, masks, 3, labels)
    assert list(within) == [0, 1] and np.isnan(within[0]["layer"].precision[:, 1]).all()
    assert over_all.precision[0, 1] > 1.7 and over_all.correlation[0, 1] > 0.1
    assert within[1]["layer"].precision[0, 1] == pytest.approx(1, abs=0.15)
    assert within[1]["layer"].correlation[0, 1] == pytest.approx(0, abs=0.05)
    assert within[1]["layer"].precision[1, 1] > 2  # green does mark part 1


@pytest.fixture(scope="module")
def wheels():
    """The masks of the wheels in 8 bikes and 8 cars, bool 16×32×32: about an eighth of the pixels."""
    return redraw(VEHICLES, 8, 32).masks[:, 1::2, 1::2].numpy() == PARTS.index("wheel")


def marked_by(wheels: np.ndarray, case: str) -> np.ndarray:
    """What a filter marks that finds all wheels, only those in half of the images, or as many other pixels as well."""
    marked = wheels.copy()
    if case == "missing labels":
        marked[::2] = False
    if case == "extra labels":
        rest = np.argwhere(~wheels)
        marked[tuple(np.random.default_rng(0).permutation(rest)[: wheels.sum()].T)] = True
    return marked


def measures_of(marked: np.ndarray, wheels: np.ndarray) -> dict[str, float]:
    pixels = torch.from_numpy(marked).float()[:, None].expand(-1, 3, -1, -1)
    scores = part_scores(Channels(), ["layer"], pixels, wheels.astype(int), 2)["layer"]
    iou = dissect(Channels(), ["layer"], pixels, wheels.astype(int), top=0.4)["layer"].iou
    truth, response = wheels.ravel(), marked.ravel()
    return {
        "average precision": scores.precision[0, 1] * truth.mean(),
        "correlation": scores.correlation[0, 1],
        "IoU": iou[0, 1],
        "AUROC": roc_auc_score(truth, response),
        "precision": precision_score(truth, response),
        "recall": recall_score(truth, response),
    }


def test_some_measures_fall_for_missing_and_for_extra_labels_and_others_do_not(wheels):
    """The checks of Oikarinen et al. (2025): a reliable measure falls in both cases."""
    cases = ("right", "missing labels", "extra labels")
    right, missing, extra = (measures_of(marked_by(wheels, case), wheels) for case in cases)
    for measure in ("average precision", "correlation", "IoU"):
        assert right[measure] == pytest.approx(1, abs=1e-3)
        assert missing[measure] < 0.75 and extra[measure] < 0.75
    assert missing["precision"] == 1 and extra["precision"] < 0.6  # blind to missing labels
    assert extra["recall"] == 1 and missing["recall"] < 0.6  # blind to extra labels
    assert extra["AUROC"] > 0.9 and missing["AUROC"] < 0.8  # nearly blind to extra labels
