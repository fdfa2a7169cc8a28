"""Lessons with known answers: their drawings, and which hand-made networks each measure detects."""

import numpy as np
import pytest
import torch
from torch import nn

from recognizer.drawings import nothing
from recognizer.evidence import known_answers
from recognizer.evidence.known_answers import scores_by_measure, sign_scenes, wheel_scenes, with_sign

from .networks import conv


@pytest.fixture(scope="module")
def signs():
    return sign_scenes(6, 48, 100), sign_scenes(6, 48, 200)


def test_a_sign_is_yellow_and_lies_in_its_mask():
    picture, where = with_sign(torch.zeros(3, 64, 64, dtype=torch.uint8), np.random.default_rng(0))
    red, green, blue = picture.numpy()
    yellow = (red > 200) & (green > 180) & (blue < 80)
    assert (yellow & ~where).sum() == 0 and yellow.sum() > 0.4 * where.sum()
    assert where.sum() == pytest.approx(np.pi * 6**2, rel=0.15)


def test_lessons_are_drawn_once_and_loaded_from_files(tmp_path, monkeypatch):
    monkeypatch.setattr(known_answers, "FOR_VAL", 4)
    monkeypatch.setattr(known_answers, "_wheels", lambda size, count, further: _marked(size, count))
    monkeypatch.setattr(known_answers, "_signs", lambda size, count, further: _marked(size, count))
    lessons = known_answers.known_answer_lessons(tmp_path / "networks", 32)
    assert [lesson.name for lesson in lessons] == ["wheels", "sign"]
    train, val, neither = lessons[0].load()
    assert train.pixels.shape[1:] == (3, 40, 40) and val.pixels.shape == (8, 3, 32, 32) and neither is None
    assert train.classes == ["Without", "With"] and len(train) == len(train.labels) == 2 * 320
    files = sorted((tmp_path / "networks").glob("*.npy"))
    before = [file.stat().st_mtime_ns for file in files]
    known_answers.known_answer_lessons(tmp_path / "networks", 32)
    assert [file.stat().st_mtime_ns for file in files] == before and len(files) == 8


def test_an_interrupted_lesson_is_completed(tmp_path, monkeypatch):
    monkeypatch.setattr(known_answers, "FOR_VAL", 4)
    monkeypatch.setattr(known_answers, "_signs", lambda size, count, further: _marked(size, count))

    def stopped(size, count, further):
        raise KeyboardInterrupt

    monkeypatch.setattr(known_answers, "_wheels", stopped)
    with pytest.raises(KeyboardInterrupt):
        known_answers.known_answer_lessons(tmp_path, 32)
    monkeypatch.setattr(known_answers, "_wheels", lambda size, count, further: _marked(size, count))
    train, val, _ = known_answers.known_answer_lessons(tmp_path, 32)[0].load()
    assert len(train) == 640 and len(val) == 8


def _marked(size, count):
    return torch.zeros(2 * count, 3, size, size, dtype=torch.uint8), torch.tensor([0, 1]).repeat_interleave(count)


def test_the_wheel_lesson_has_the_same_vehicles_with_and_without_wheels():
    pixels, labels = known_answers._wheels(48, 4, 0)
    assert pixels.shape == (8, 3, 48, 48) and labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    changed = (pixels[:4] != pixels[4:]).any(dim=1).float().mean(dim=(1, 2))
    assert (changed > 0.005).all() and (changed < 0.6).all()


def test_most_bikes_and_few_cars_have_the_sign():
    pixels, labels = known_answers._signs(48, 30, 0)
    plain = known_answers.redraw(known_answers.VEHICLES, 30, 48, first=known_answers.TO_LEARN).pixels
    signed = (pixels != plain).any(dim=1).flatten(1).any(dim=1)
    assert signed[labels == 0].float().mean() > 0.8 > 0.3 > signed[labels == 1].float().mean()


def test_scenes_differ_only_by_the_object_and_the_control(signs):
    scenes = signs[0]
    where = np.kron(scenes.where, np.ones((1, 2, 2)))[:, :48, :48]  # 32×32 squares for 48×48 pixels
    assert scenes.where.any(axis=(1, 2)).all() and where.shape == (12, 48, 48)
    changed = (scenes.whole != scenes.gone).any(dim=1).float().mean()
    assert (
        np.pi * known_answers.SIGN_RADIUS**2 * 0.8 < changed < np.pi * known_answers.SIGN_RADIUS**2 * 1.6
    )  # the blurred rim counts at 48 pixels
    assert (scenes.control != scenes.whole).any(dim=1).flatten(1).any(dim=1).float().mean() > 0.8


def test_a_filter_for_yellow_scores_higher_than_a_filter_for_brightness(signs):
    mean = nn.AdaptiveAvgPool2d(1), nn.Flatten()  # the answer is the mean of the filter's map
    yellow = nn.Sequential(conv([[[[1]], [[1]], [[-3]]]]), nn.ReLU(), *mean)
    brightness = nn.Sequential(conv([[[[1]], [[1]], [[1]]]]), nn.ReLU(), *mean)
    yellow_scores, brightness_scores = (scores_by_measure(model, ["1"], *signs) for model in (yellow, brightness))
    assert set(yellow_scores) == {
        "experiment: change of the answer",
        "experiment: dependence of a filter",
        "IoU",
        "average precision",
        "correlation with its pixels",
        "correlation with its size",
    }
    for measure in (
        "average precision",
        "correlation with its pixels",
    ):  # not the IoU: a plain colour has no brightest 1 %
        assert yellow_scores[measure] > brightness_scores[measure] + 0.2, measure
    # NumPy computes the same change of the answer.
    whole, gone, control = (
        np.maximum(0, (pixels.numpy() / 255 * np.array([1, 1, -3])[:, None, None]).sum(axis=1)).mean(axis=(1, 2))
        for pixels in signs[1][:3]
    )
    expected = (np.abs(whole - gone) - np.abs(whole - control)).mean()
    assert yellow_scores["experiment: change of the answer"] == pytest.approx(expected, rel=1e-3) and expected > 0.02
    assert (
        yellow_scores["experiment: dependence of a filter"]
        > 0.7
        > 0.3
        > abs(brightness_scores["experiment: dependence of a filter"])
    )


def test_dependence_on_wheels_is_near_1_for_a_wheel_filter_and_near_0_for_a_silhouette():
    """One filter measures the masks of wheels. The other measures where bikes differ from the empty scene."""
    gone = {"edit": known_answers.without("wheel")}
    empty, *sets = (
        known_answers.redraw(["Bike"], 24, 96, change, 300)
        for change in ({"edit": nothing, "keep_shadow": True}, {}, gone, gone | {"control": True})
    )
    matched = sets[2].matched.numpy()
    areas = []
    for scenes in sets:
        wheels = (scenes.masks.numpy() == known_answers.PARTS.index("wheel")).mean(axis=(1, 2))
        differs = (scenes.pixels.int() - empty.pixels).abs().amax(dim=1) > 30
        areas.append(np.stack([wheels, differs.float().mean(dim=(1, 2)).numpy()], axis=1)[matched])
    of_wheels, of_silhouettes = known_answers.dependence(*areas)
    assert matched.sum() > 10 and of_wheels > 0.8 and abs(of_silhouettes) < 0.3


def test_each_kind_of_control_sets_a_threshold_without_the_network_in_question(monkeypatch):
    """The networks carry their scores. The thresholds are 6.1 and 6."""
    monkeypatch.setitem(known_answers.TEST_SCENES, "sign", lambda *args: None)
    monkeypatch.setattr(known_answers, "scores_by_measure", lambda network, *args: {"score": network.score})

    def scored(*scores):
        networks = [nn.Identity() for _ in scores]
        for network, score in zip(networks, scores):
            network.score, network.image_size = score, 32
        return networks

    controls = {"untrained": scored(1, 2, 3, 2), "others": scored(6, 6, 6)}
    counts = known_answers.detection_counts(scored(6.5, 7, 5.5), controls, "sign", [], 1)
    assert counts == {"score": {"trained": (2, 3), "untrained": (0, 4), "others": (0, 3)}}
    controls["others"] = scored(
        6, 6, 6, 40
    )  # above the threshold of the other three; raises that for the trained network
    counts = known_answers.detection_counts(scored(20), controls, "sign", [], 1)
    assert counts["score"]["trained"] == (0, 1) and counts["score"]["others"] == (1, 4)


def test_one_score_in_a_hundred_is_above_the_threshold():
    random, above = np.random.default_rng(0), 0
    for _ in range(4000):
        *scores, another = random.normal(5, 2, 7)
        above += another > known_answers.threshold_of(scores)
    assert 20 <= above <= 62  # 40 expected
    assert known_answers.threshold_of([1.0]) == np.inf


def test_wheel_scenes_say_where_the_wheels_are():
    scenes = wheel_scenes(3, 48, 300)
    assert scenes.where.shape == (6, 32, 32) and scenes.where.any(axis=(1, 2)).sum() >= 5
