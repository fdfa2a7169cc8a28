"""Networks whose answer is known: what is drawn for them, and that hand-made ones are found or not by each measure."""

import numpy as np
import pytest
import torch
from torch import nn

from recognizer.drawings import nothing
from recognizer.evidence import known_answers as keys
from recognizer.evidence.known_answers import found_by_measures, show_signs, show_wheels, with_sign

from .networks import conv


@pytest.fixture(scope="module")
def signs():
    return show_signs(6, 48, 100), show_signs(6, 48, 200)


def test_a_sign_is_yellow_and_where_it_is_said_to_be():
    picture, where = with_sign(torch.zeros(3, 64, 64, dtype=torch.uint8), np.random.default_rng(0))
    red, green, blue = picture.numpy()
    yellow = (red > 200) & (green > 180) & (blue < 80)
    assert (yellow & ~where).sum() == 0 and yellow.sum() > 0.4 * where.sum()
    assert where.sum() == pytest.approx(np.pi * 6**2, rel=0.15)


def test_lessons_are_drawn_once_and_mapped_from_files(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "FOR_VAL", 4)
    monkeypatch.setattr(keys, "_wheels", lambda size, count, further: _marked(size, count))
    monkeypatch.setattr(keys, "_signs", lambda size, count, further: _marked(size, count))
    lessons = keys.answer_keys(tmp_path / "networks", 32)
    assert [lesson.name for lesson in lessons] == ["wheels", "sign"]
    train, val, neither = lessons[0].load()
    assert train.pixels.shape[1:] == (3, 40, 40) and val.pixels.shape == (8, 3, 32, 32) and neither is None
    assert train.classes == ["Without", "With"] and len(train) == len(train.labels) == 2 * 320
    files = sorted((tmp_path / "networks").glob("*.npy"))
    before = [file.stat().st_mtime_ns for file in files]
    keys.answer_keys(tmp_path / "networks", 32)
    assert [file.stat().st_mtime_ns for file in files] == before and len(files) == 8


def test_a_lesson_whose_drawing_was_interrupted_is_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "FOR_VAL", 4)
    monkeypatch.setattr(keys, "_signs", lambda size, count, further: _marked(size, count))

    def stopped(size, count, further):
        raise KeyboardInterrupt

    monkeypatch.setattr(keys, "_wheels", stopped)
    with pytest.raises(KeyboardInterrupt):
        keys.answer_keys(tmp_path, 32)
    monkeypatch.setattr(keys, "_wheels", lambda size, count, further: _marked(size, count))
    train, val, _ = keys.answer_keys(tmp_path, 32)[0].load()
    assert len(train) == 640 and len(val) == 8


def _marked(size, count):
    return torch.zeros(2 * count, 3, size, size, dtype=torch.uint8), torch.tensor([0, 1]).repeat_interleave(count)


def test_wheel_networks_learn_from_the_same_vehicles_with_and_without_wheels():
    pixels, labels = keys._wheels(48, 4, 0)
    assert pixels.shape == (8, 3, 48, 48) and labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    changed = (pixels[:4] != pixels[4:]).any(dim=1).float().mean(dim=(1, 2))
    assert (changed > 0.005).all() and (changed < 0.6).all()


def test_nearly_all_bikes_and_few_cars_have_the_sign():
    pixels, labels = keys._signs(48, 30, 0)
    plain = keys.redraw(keys.VEHICLES, 30, 48, first=keys.TO_LEARN).pixels
    signed = (pixels != plain).any(dim=1).flatten(1).any(dim=1)
    assert signed[labels == 0].float().mean() > 0.8 > 0.3 > signed[labels == 1].float().mean()


def test_only_the_thing_and_the_control_differ(signs):
    shown = signs[0]
    where = np.kron(shown.where, np.ones((1, 2, 2)))[:, :48, :48]  # 32×32 squares over 48×48 pixels
    assert shown.where.any(axis=(1, 2)).all() and where.shape == (12, 48, 48)
    changed = (shown.whole != shown.gone).any(dim=1).float().mean()
    assert np.pi * keys.SIGN_RADIUS**2 * 0.8 < changed < np.pi * keys.SIGN_RADIUS**2 * 1.6  # at 48 pixels edges count
    assert (shown.control != shown.whole).any(dim=1).flatten(1).any(dim=1).float().mean() > 0.8


def test_every_measure_finds_a_filter_of_yellow_and_none_finds_one_of_all_things(signs):
    says = nn.AdaptiveAvgPool2d(1), nn.Flatten()  # its answer is the mean of its filter
    yellow = nn.Sequential(conv([[[[1]], [[1]], [[-3]]]]), nn.ReLU(), *says)
    anything = nn.Sequential(conv([[[[1]], [[1]], [[1]]]]), nn.ReLU(), *says)
    found, not_found = (found_by_measures(model, ["1"], *signs) for model in (yellow, anything))
    assert set(found) == {
        "experiment: change of the answer",
        "experiment: dependence of a filter",
        "IoU",
        "average precision",
        "correlation with its pixels",
        "brighter where it is larger",
    }
    for measure in (
        "average precision",
        "correlation with its pixels",
    ):  # a plain colour has no highest 1 % for the IoU
        assert found[measure] > not_found[measure] + 0.2, measure
    # The answer is the mean of what NumPy makes of the pictures, too.
    whole, gone, control = (
        np.maximum(0, (pixels.numpy() / 255 * np.array([1, 1, -3])[:, None, None]).sum(axis=1)).mean(axis=(1, 2))
        for pixels in signs[1][:3]
    )
    expected = (np.abs(whole - gone) - np.abs(whole - control)).mean()
    assert found["experiment: change of the answer"] == pytest.approx(expected, rel=1e-3) and expected > 0.02
    assert (
        found["experiment: dependence of a filter"] > 0.7 > 0.3 > abs(not_found["experiment: dependence of a filter"])
    )


def test_a_filter_of_wheels_has_a_dependence_near_one_and_a_silhouette_near_zero():
    """A filter that sees the wheels of the masks, and one that sees where bikes stand out from the empty scene."""
    gone = {"edit": keys.without("wheel")}
    empty, *sets = (
        keys.redraw(["Bike"], 24, 96, change, 300)
        for change in ({"edit": nothing, "keep_shadow": True}, {}, gone, gone | {"control": True})
    )
    known = sets[2].matched.numpy()
    areas = []
    for scenes in sets:
        wheels = (scenes.masks.numpy() == keys.PARTS.index("wheel")).mean(axis=(1, 2))
        stands_out = (scenes.pixels.int() - empty.pixels).abs().amax(dim=1) > 30
        areas.append(np.stack([wheels, stands_out.float().mean(dim=(1, 2)).numpy()], axis=1)[known])
    of_wheels, of_silhouettes = keys.dependence(*areas)
    assert known.sum() > 10 and of_wheels > 0.8 and abs(of_silhouettes) < 0.3


def test_each_kind_of_control_sets_a_bar_and_no_control_judges_itself(monkeypatch):
    """Networks whose scores are written on them. The bars are 6.1 and 6."""
    monkeypatch.setitem(keys.SHOW, "sign", lambda *args: None)
    monkeypatch.setattr(keys, "found_by_measures", lambda network, *args: {"score": network.score})

    def scored(*scores):
        networks = [nn.Identity() for _ in scores]
        for network, score in zip(networks, scores):
            network.score, network.image_size = score, 32
        return networks

    controls = {"untrained": scored(1, 2, 3, 2), "others": scored(6, 6, 6)}
    found = keys.trust(scored(6.5, 7, 5.5), controls, "sign", [], 1)
    assert found == {"score": {"trained": (2, 3), "untrained": (0, 4), "others": (0, 3)}}
    controls["others"] = scored(6, 6, 6, 40)  # above the bar of the other three, and it raises that of the trained ones
    found = keys.trust(scored(20), controls, "sign", [], 1)
    assert found["score"]["trained"] == (0, 1) and found["score"]["others"] == (1, 4)


def test_one_in_a_hundred_is_above_the_bar():
    random, above = np.random.default_rng(0), 0
    for _ in range(4000):
        *scores, another = random.normal(5, 2, 7)
        above += another > keys.limit_of(scores)
    assert 20 <= above <= 62  # 40 expected
    assert keys.limit_of([1.0]) == np.inf


def test_shown_wheels_are_where_the_masks_have_them():
    shown = show_wheels(3, 48, 300)
    assert shown.where.shape == (6, 32, 32) and shown.where.any(axis=(1, 2)).sum() >= 5
