"""Average precision over chance, against scikit-learn and planted filters."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

from recognizer.evidence.average_precision import precision_over_chance
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
    found = precision_over_chance(Channels(), ["layer"], pixels, masks, 3)["layer"]
    for colour in range(3):
        for part in range(3):
            shows = (masks == part).ravel()
            expected = average_precision_score(shows, pixels[:, colour].numpy().ravel()) / shows.mean()
            assert found[colour, part] == pytest.approx(expected, rel=0.01)


def test_a_filter_that_marks_another_part_as_well_scores_lower_and_noise_scores_chance(scene):
    found = precision_over_chance(Channels(), ["layer"], *scene, 3)["layer"]
    assert found[0, 1] > 2 * found[1, 1] > 4
    assert found[2] == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("size", [8, 19])
def test_a_constant_filter_scores_chance_and_a_part_that_never_appears_has_none(size):
    masks = np.random.default_rng(0).integers(0, 2, (4, size, size))
    found = precision_over_chance(Channels(), ["layer"], torch.full((4, 3, 8, 8), 0.7), masks, 3)["layer"]
    assert found[:, :2] == pytest.approx(1)
    assert np.isnan(found[:, 2]).all()


def test_masks_of_other_images_are_refused():
    with pytest.raises(Problem, match="as many masks"):
        precision_over_chance(Channels(), ["layer"], torch.rand(4, 3, 8, 8), np.zeros((3, 8, 8), int), 2)
    with pytest.raises(Problem, match="from 0 to 2"):
        precision_over_chance(
            Channels(), ["layer"], torch.rand(3, 3, 8, 8), np.eye(3, dtype=int)[:, :, None] * [0, 2], 2
        )
