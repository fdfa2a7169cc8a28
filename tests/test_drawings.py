"""The drawn sample: reproducible, truthful about its parts, and without a shortcut that tells the classes apart."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import recognizer.drawings as drawings
from recognizer.drawings import CLASSES, PARTS, PETS, VEHICLES, draw, draw_many, nothing, write_zips


def fingerprint(drawing: drawings.Drawing) -> str:
    return hashlib.sha256(drawing.image.tobytes() + drawing.parts.tobytes() + drawing.jpeg).hexdigest()


def test_same_arguments_give_the_same_bytes_in_another_process_and_order():
    wanted = [("Bike", 0), ("Car", 3), ("Bike", 7), ("Car", 0), ("Cat", 2), ("Dog", 1)]
    code = (
        "import hashlib; from recognizer.drawings import draw\n"
        f"for name, index in {wanted[::-1]}:\n"
        "    d = draw(name, index, seed=5, size=96)\n"
        "    print(hashlib.sha256(d.image.tobytes() + d.parts.tobytes() + d.jpeg).hexdigest())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split()[::-1] == [fingerprint(draw(name, i, seed=5, size=96)) for name, i in wanted]


def test_every_index_class_and_seed_gives_another_picture():
    pictures = [draw(name, i, seed=seed, size=48) for name in CLASSES for i in range(5) for seed in (0, 1)]
    assert len({fingerprint(picture) for picture in pictures}) == len(pictures)


def test_workers_draw_the_same():
    alone = [fingerprint(d) for d in draw_many("Car", 20, seed=2, size=48)]
    together = [fingerprint(d) for d in draw_many("Car", 20, seed=2, size=48, workers=2)]
    assert alone == together


@pytest.mark.parametrize("size", [64, 160, 224])
def test_any_size(size):
    drawing = draw("Bike", 1, size=size)
    assert drawing.image.shape == (size, size, 3) and drawing.image.dtype == np.uint8
    assert drawing.parts.shape == (size, size) and drawing.parts.dtype == np.uint8
    assert (cv2.imdecode(np.frombuffer(drawing.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] == drawing.image).all()


def test_large_and_small_show_the_same_scene():
    large, small = draw("Car", 4, size=192), draw("Car", 4, size=64)
    shrunk = large.parts[1::3, 1::3]
    assert large.kind == small.kind and (shrunk == small.parts).mean() > 0.9


def test_unknown_class_says_which_there_are():
    with pytest.raises(ValueError, match="there are drawings of Bike, Car, Cat, Dog, not of 'Boat'"):
        draw("Boat", 0)


# Enough drawings of every kind for the tests below; small, because they are many.
SAMPLE = {name: list(draw_many(name, 250, seed=11, size=96)) for name in CLASSES}

SHOWN = {
    "bicycle": {"wheel", "frame", "handlebar", "saddle"},
    "motorbike": {"wheel", "frame", "handlebar", "saddle", "tank", "engine", "headlight"},
    "cruiser": {"wheel", "frame", "handlebar", "saddle", "tank", "engine", "headlight"},
    "scooter": {"wheel", "frame", "handlebar", "saddle", "fairing", "headlight"},
    "car": {"wheel", "body", "window", "headlight", "tail light", "grille"},
    "pet": {"body", "head", "ear", "eye", "muzzle", "nose", "mouth", "leg", "tail", "collar"},
}
FAMILIES = {"Car": "car", "Cat": "pet", "Dog": "pet"}


@pytest.mark.parametrize("kind", [kind for kinds in CLASSES.values() for kind in kinds])
def test_every_kind_shows_its_parts(kind):
    class_name = next(name for name, kinds in CLASSES.items() if kind in kinds)
    family = FAMILIES.get(class_name, kind.split()[-1])
    seen = [d.parts for sample in SAMPLE.values() for d in sample if d.kind == kind]
    assert len(seen) > 5
    found = {PARTS[label] for label in np.unique(np.stack(seen))}
    assert found >= SHOWN[family] | {"background"}
    # Nothing of another class, besides what both have.
    if family == "pet":
        assert not found & {"wheel", "window", "frame"} and ("whisker" in found) == (class_name == "Cat")
        return
    shared = {"background", "wheel", "headlight", "tail light"}
    assert not found & (SHOWN["motorbike"] if family == "car" else SHOWN["car"]) - shared
    assert not found & SHOWN["pet"] - {"body"}


FACE = ("head", "eye", "muzzle", "nose", "mouth")


@pytest.mark.parametrize("name", PETS)
def test_nearly_every_animal_shows_its_head(name):
    head = [PARTS.index(part) for part in (*FACE, "ear")]
    assert np.mean([np.isin(d.parts, head).mean() > 0.01 for d in SAMPLE[name]]) > 0.95


@pytest.mark.parametrize("name", PETS)
def test_no_face_drowns_in_black_fur(name):
    """Between the darkest and the lightest of a head there is a fifth of all greys, or it would be a silhouette."""
    ranges = []
    for d in SAMPLE[name]:
        grey = cv2.cvtColor(d.image, cv2.COLOR_RGB2GRAY)[np.isin(d.parts, [PARTS.index(p) for p in FACE])]
        ranges += [np.ptp(np.percentile(grey, (3, 97)))] if len(grey) else []
    assert np.mean(np.array(ranges) > 51) > 0.98


def test_labels_are_parts():
    for sample in SAMPLE.values():
        assert max(int(d.parts.max()) for d in sample) < len(PARTS)
    assert PARTS[0] == "background" and len(set(PARTS)) == len(PARTS)


def inside(ellipse: tuple, size: int, margin: float) -> np.ndarray:
    """Where (bool, size×size) a pixel's middle lies inside an ellipse that is `margin` pixels larger."""
    x, y, a, b, angle = ellipse
    rows, columns = np.mgrid[:size, :size] + 0.5
    along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
    return (along / max(a + margin, 0.1)) ** 2 + (across / max(b + margin, 0.1)) ** 2 < 1


def seen_from_the_side(size: int) -> list[tuple[str, drawings.Drawing]]:
    return [
        (name, d) for name in VEHICLES for d in draw_many(name, 60, seed=3, size=size) if abs(np.cos(d.view.yaw)) < 0.35
    ]


def test_wheel_masks_lie_on_the_projected_circles():
    """The ellipses are computed from the camera's matrix alone, the masks are painted."""
    checked, covered = 0, []
    for name, d in seen_from_the_side(160):
        wheel = d.parts == PARTS.index("wheel")
        # Between the circle in the middle of the tyre and its sides there is half a tyre's width.
        widest = max(max(ellipse[2:4]) for ellipse in d.wheels)
        around = np.any([inside(ellipse, 160, 2 + 0.15 * widest) for ellipse in d.wheels], axis=0)
        assert (wheel & ~around).sum() <= 0.03 * wheel.sum() + 3, d.kind
        # A car hides the wheels of its far side: of each pair, the one that the camera's side shows remains.
        near = d.wheels[:2] if name == "Bike" else d.wheels[int(d.view.yaw > 0) :: 2]
        for ellipse in near:
            disc = inside(ellipse, 160, -1)
            x, y, a, b, _ = ellipse
            if disc.sum() < 60 or not (a < x < 160 - a and a < y < 160 - a):
                continue
            checked += 1
            if name == "Bike":  # frame, fork and exhaust are painted over the wheel
                covered.append((d.parts[disc] != 0).mean())
            else:
                covered.append(wheel[disc].mean())
                if covered[-1] > 0.99:
                    rows, columns = np.nonzero(wheel & inside(ellipse, 160, 2))
                    assert (
                        abs(columns.mean() + 0.5 - x) < 0.04 * a + 0.5 and abs(rows.mean() + 0.5 - y) < 0.04 * a + 0.5
                    )
                    assert abs(len(rows) / (np.pi * a * b) - 1) < 0.15
    assert checked > 40
    # Where nothing stands in front, which is nearly always, the whole disc is wheel.
    assert np.median(covered) == 1 and np.mean(np.array(covered) > 0.97) > 0.8


def test_picture_and_mask_are_of_the_same_thing():
    """Along the outline of the mask the picture changes more than elsewhere."""
    ratios = []
    for name in CLASSES:
        for d in SAMPLE[name][:60]:
            grey = cv2.cvtColor(d.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
            change = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3)))
            shape = (d.parts > 0).astype(np.uint8)
            outline = cv2.morphologyEx(shape, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
            ratios.append(change[outline].mean() / change[cv2.dilate(shape, np.ones((9, 9))) == 0].mean())
    assert np.median(ratios) > 2


@pytest.mark.parametrize("classes", [VEHICLES, PETS])
def test_zips_and_masks(tmp_path, classes):
    calls = []
    zips = write_zips(tmp_path / "a", classes, images_per_class=3, size=64, progress=lambda *call: calls.append(call))
    again = write_zips(tmp_path / "b", classes, images_per_class=3, size=64)
    assert tuple(zips) == classes
    assert calls[-1] == (6, 6)
    for name, path in zips.items():
        assert path.name == f"{name}.zip" and path.read_bytes() == again[name].read_bytes()
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == [f"{name}/{name.lower()}_{i:04d}.jpg" for i in (1, 2, 3)]
            for i, member in enumerate(archive.namelist()):
                assert archive.read(member) == draw(name, i, size=64).jpeg
                mask = cv2.imread(
                    str(tmp_path / "a" / "masks" / Path(member).with_suffix(".png")), cv2.IMREAD_UNCHANGED
                )
                assert (mask == draw(name, i, size=64).parts).all()


def colour_histogram(d: drawings.Drawing) -> np.ndarray:
    return np.histogramdd(d.image.reshape(-1, 3), bins=5, range=[(0, 256)] * 3)[0].ravel() / d.image[..., 0].size


def mean_image(d: drawings.Drawing) -> np.ndarray:
    return cv2.resize(d.image, (8, 8), interpolation=cv2.INTER_AREA).astype(float).ravel() / 255


def area_and_position(d: drawings.Drawing) -> np.ndarray:
    rows, columns = np.nonzero(d.parts)
    rows, columns = (rows, columns) if len(rows) else (np.array([48]), np.array([48]))
    area, x, y = len(rows) / d.parts.size, columns.mean() / len(d.parts), rows.mean() / len(d.parts)
    return np.array([area, area**2, x, x**2, y, y**2])


def hues_of_the_face(d: drawings.Drawing) -> np.ndarray:
    """Of eyes, ears, nose and tongue: which share of the coloured pixels has which hue, and whether there are any."""
    hue, saturation, _ = cv2.split(cv2.cvtColor(d.image, cv2.COLOR_RGB2HSV))
    found = []
    for part in ("eye", "ear", "nose", "tongue"):
        coloured = hue[(d.parts == PARTS.index(part)) & (saturation > 60)]
        counts = np.histogram(coloured, bins=9, range=(0, 180))[0]
        found += [*(counts / max(1, counts.sum())), counts.sum() > 0]
    return np.array(found, float)


@pytest.mark.parametrize(
    ("feature", "classes"),
    [
        *((each, VEHICLES) for each in (colour_histogram, mean_image, area_and_position)),
        *((each, PETS) for each in (colour_histogram, mean_image, area_and_position, hues_of_the_face)),
    ],
)
def test_no_shortcut_separates_the_classes(feature, classes):
    features = np.array([feature(d) for name in classes for d in SAMPLE[name]])
    labels = np.repeat([0, 1], [len(SAMPLE[name]) for name in classes])
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert cross_val_score(regression, features, labels, cv=folds).mean() < 0.65


# --- edits ---


@pytest.mark.parametrize("name", CLASSES)
def test_an_edit_that_changes_nothing_gives_the_same_bytes(name):
    assert all(draw(name, i, size=96).jpeg == draw(name, i, size=96, edit=lambda shape: shape).jpeg for i in range(6))


@pytest.mark.parametrize("name", VEHICLES)
def test_an_empty_scene_is_the_same_scene_without_the_vehicle(name):
    """Away from the vehicle most pixels are unchanged, except where its shadow was."""
    same = []
    for index in range(20):
        whole, empty = draw(name, index), draw(name, index, edit=nothing)
        assert not empty.parts.any() and not len(empty.wheels) and empty.scene == whole.scene
        change = np.abs(whole.image.astype(int) - empty.image).max(axis=2)
        assert change[whole.parts > 0].mean() > 10
        far = cv2.dilate((whole.parts > 0).astype(np.uint8), np.ones((41, 41))) == 0
        if far.sum() > 2000:
            same.append((change[far] == 0).mean())
    assert len(same) >= 10 and np.mean(same) > 0.85
