"""Which patterns hand-made filters prefer, what the machine reader learns, and what layers keep of the picture."""

import numpy as np
import pytest
import torch
from torch import nn

from recognizer.evidence import reader
from recognizer.evidence.kept_picture import kept_picture
from recognizer.evidence.probes import KINDS, PER_KIND, best_responses, kind_selectivity, preferred_kinds
from recognizer.evidence.reader import read_filters
from recognizer.settings import Problem

from .networks import conv

AWAY = np.arange(9) - 4


def filters(*kernels: np.ndarray, rectified: bool = True) -> nn.Sequential:
    """A convolution with grey kernels, 9×9, with mean 0, so that brightness alone excites none of them."""
    weights = torch.tensor(np.stack([k - k.mean() for k in kernels]), dtype=torch.float32)
    layer = nn.Conv2d(3, len(kernels), 9, padding=4, bias=False)
    layer.weight = nn.Parameter(weights[:, None].expand(-1, 3, -1, -1) / 3)
    return nn.Sequential(layer, nn.ReLU() if rectified else nn.Identity())


def test_every_kind_has_equally_many_patterns_of_full_contrast():
    for name, kind in KINDS.items():
        stimuli = kind(32)
        assert stimuli.shape == (PER_KIND, 3, 32, 32) and set(stimuli.unique().tolist()) == {0, 1}, name
        assert len({tuple(s.flatten().tolist()) for s in stimuli}) > 0.9 * PER_KIND, name


def gabor(angle: float, phase: float, period: float = 8) -> np.ndarray:
    """A Gabor filter: with phase 0 it is even and responds to lines, with phase 90 it is odd and responds to edges."""
    across = AWAY * np.cos(np.deg2rad(angle)) - AWAY[:, None] * np.sin(np.deg2rad(angle))
    envelope = np.exp(-(AWAY**2 + AWAY[:, None] ** 2) / (2 * 2.0**2))
    return envelope * np.cos(2 * np.pi / period * across + np.deg2rad(phase))


@pytest.mark.parametrize("size", [32, 33, 128])
def test_vertical_and_horizontal_stripes_are_straight(size):
    """The first of the 12 angles is vertical, and the seventh is horizontal."""
    stimuli = KINDS["stripes"](size)[:, 0].numpy()
    vertical, horizontal = stimuli[:12], stimuli[6 * 12 : 7 * 12]
    assert (vertical == vertical[:, :1]).all()
    assert (horizontal == horizontal[:, :, :1]).all()
    for number, width in enumerate((1, 1.5, 2, 3)):
        period = int(2 * width)
        rows = horizontal[3 * number : 3 * number + 3]
        assert (rows[:, period:] == rows[:, :-period]).all(), width


@pytest.mark.parametrize("size", [32, 33, 128])
def test_corners_are_wedges_without_notches(size):
    """A wedge of less than 180° intersects each row and each column in one piece."""
    for wedge in KINDS["corners"](size)[::2, 0].numpy().astype(int):
        for lines in (wedge, wedge.T):
            starts = (np.diff(lines, axis=1, prepend=0) == 1).sum(axis=1)
            assert starts.max() <= 1


def test_hand_made_filters_prefer_their_own_patterns():
    edge = np.tile(np.sign(AWAY), (9, 1)).astype(float)
    quarter = ((AWAY[:, None] < 1) & (AWAY[None, :] > -1)).astype(float)
    distance = np.hypot(AWAY[:, None], AWAY)
    disc = (distance < 3).astype(float)
    centre_surround = np.exp(-(distance**2) / 4) / 4 - np.exp(-(distance**2) / 12) / 12
    chequers = ((np.arange(9)[:, None] + np.arange(9)) % 2).astype(float)
    gabors = [gabor(angle, phase) for angle in (0, 30, 70) for phase in (0, 90, 180)]
    fine = gabor(30, 90, period=3)
    kernels = (edge, *gabors, quarter, disc, centre_surround, chequers, fine)
    responses = best_responses(filters(*kernels, 0 * edge), ["1"], 48)["1"]
    names = np.array(list(KINDS))[responses.argmax(axis=1)].tolist()
    assert names[0] == "edges" and set(names[1:10]) <= {"edges", "stripes"}
    assert names[10:15] == ["corners", "blobs", "blobs", "textures", "stripes"]
    assert preferred_kinds(responses).sum() == pytest.approx(15 / 16)  # the last filter responds to nothing
    assert np.isnan(kind_selectivity(responses)[-1]) and (kind_selectivity(responses)[:-1] > 1e-3).all()


def test_a_filter_with_equal_responses_prefers_no_kind():
    constant = conv(np.zeros((1, 3, 3, 3)), bias=2.0, padding=1)
    responses = best_responses(nn.Sequential(constant, nn.ReLU()), ["1"], 20)["1"]
    assert preferred_kinds(responses).tolist() == [0] * 5 and kind_selectivity(responses)[0] == 0


def test_selectivity_of_kinds_in_closed_form():
    responses = np.array([[0, 3, 1, 0, 0], [-1, -2, 5, -1, -9], [2, 2, 0, 1, 0], [-1, -1, -1, -1, -1]])
    np.testing.assert_allclose(kind_selectivity(responses), [0.5, 1, 0, np.nan])
    assert preferred_kinds(responses).tolist() == [0, 0.25, 0.25, 0, 0]


@pytest.fixture(scope="module")
def pictures():
    """Squares of plain colours with a little noise: 2×60 images of 4×4 squares."""
    random = np.random.default_rng(0)
    squares = random.integers(0, 255, (120, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    noisy = (squares + random.normal(0, 4, squares.shape)).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(noisy[:60]), torch.from_numpy(noisy[60:])


def test_the_reader_recognises_simple_filters(pictures):
    """Filters for redness and for brightness; then, in other pictures, a filter for vertical edges."""
    model = nn.Sequential(conv([[[[1]], [[-0.5]], [[-0.5]]], [[[1]], [[1]], [[1]]]]), nn.ReLU())
    assert (read_filters(model, ["1"], *pictures)["1"] > 0.9).all()
    random = np.random.default_rng(2)
    bars = np.where(random.random((100, 1, 1, 1)) < 0.5, np.sign(AWAY), np.sign(AWAY)[:, None]).repeat(3, axis=1)
    patches = 128 + bars * random.uniform(5, 60, (100, 1, 1, 1)) + random.normal(0, 10, (100, 3, 9, 9))
    pixels = torch.from_numpy(patches.clip(0, 255).astype(np.uint8))
    vertical = nn.Sequential(conv(np.tile(np.sign(AWAY), (1, 3, 9, 1)) / 9), nn.ReLU())
    assert read_filters(vertical, ["1"], pixels[:50], pixels[50:])["1"][0] > 0.9


def test_the_reader_is_at_chance_without_information(pictures, monkeypatch):
    """Responses are random, so patches say nothing about them. A dead filter has no result."""
    random, patches = np.random.default_rng(1), reader._patches

    def shuffled(*args):
        features, values = patches(*args)["1"]
        return {"1": (features, random.random((*values.shape[:2], 60)))}

    monkeypatch.setattr(reader, "_patches", shuffled)
    accuracy = read_filters(nn.Sequential(conv([[[[1]], [[0]], [[0]]]]), nn.ReLU()), ["1"], *pictures)["1"]
    assert len(accuracy) == 60 and abs(accuracy.mean() - 0.5) < 0.05
    monkeypatch.undo()
    dead = nn.Sequential(conv([[[[0]], [[0]], [[0]]]]), nn.ReLU())
    assert np.isnan(read_filters(dead, ["1"], *pictures)["1"]).all()
    with pytest.raises(Problem, match="two or more"):
        read_filters(dead, ["1"], pictures[0], pictures[1][:1])


def test_the_order_of_the_pictures_gives_the_reader_no_hint():
    """The pictures are sorted by class, red ones first, and the filter looks for green noise.

    The noise is equally common in both classes. Most patches have no green and are equally weak. The first of them
    would all be red.
    """
    random = np.random.default_rng(0)
    pixels = np.zeros((80, 3, 8, 8), np.uint8)
    pixels[:40, 0] = 200
    pixels[random.random(80) < 0.4, 1] = 100
    model = nn.Sequential(conv([[[[0]], [[1]], [[0]]]]), nn.ReLU())
    patches = reader._patches(model, ["1"], torch.from_numpy(pixels), np.random.default_rng(0))["1"]
    (_, strong_values), (weak, weak_values) = reader._extremes(patches[0], patches[1][..., 0], 9)
    redness = weak[:, 0]
    assert (weak_values == 0).all() and strong_values.min() > 0 and 0.1 < (redness > 0.5).mean() < 0.9


def test_patches_of_the_same_kind_come_from_different_images():
    strength = np.array([[9, 8, 7], [1, 2, 3], [5, 0, 6]])
    (strong, high), (weak, low) = reader._extremes(np.arange(9).reshape(3, 3, 1), strength, 2)
    assert high.tolist() == [9, 6] and low.tolist() == [0, 1]
    assert strong[:, 0].tolist() == [0, 8] and weak[:, 0].tolist() == [7, 3]


def test_an_identity_layer_keeps_the_picture_and_averaging_layers_keep_less(pictures):
    same = conv([[[[1]], [[0]], [[0]]], [[[0]], [[1]], [[0]]], [[[0]], [[0]], [[1]]]])
    model = nn.Sequential(same, nn.AvgPool2d(8), nn.AvgPool2d(4), nn.Conv2d(3, 2, 1))
    nn.init.zeros_(model[3].weight)
    kept = kept_picture(model, ["0", "1", "2", "3"], *pictures)
    assert kept["0"] > 0.999
    # An 8×8 square has one colour and noise with a standard deviation of 4. Only the noise is lost: 16 of about 5,400.
    assert kept["1"] == pytest.approx(1 - 16 / 5400, abs=0.002)
    assert kept["2"] < 0.15 and abs(kept["3"]) < 0.01
