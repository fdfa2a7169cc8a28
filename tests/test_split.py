"""Near-copies are found, stay together, and shares are kept all the same."""

import base64
import io
import random
import tracemalloc
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

from recognizer.data import duplicates, prepare, split_images
from recognizer.data.duplicates import ALIKE, fingerprint, near_copies
from recognizer.data.images import ImageFile
from recognizer.data.split import deal
from recognizer.drawings import draw_many
from recognizer.settings import Problem

from .conftest import picture, write_zip

# --- which images are near-copies ---


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Sixty drawings, of either class thirty; none shows what another one shows."""
    drawings = [*draw_many("Bike", 30, seed=7, size=160), *draw_many("Car", 30, seed=7, size=160)]
    return [Image.fromarray(drawing.image) for drawing in drawings]


def saved_again(image: Image.Image, file_format: str = "JPEG", quality: int = 30) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, file_format, quality=quality)
    return Image.open(buffer).convert("RGB")


CHANGES = {
    "saved again as JPEG": saved_again,
    "saved again as WEBP": lambda image: saved_again(image, "WEBP"),
    "half as large": lambda image: image.resize((80, 80)),
    "twice as large, squeezed": lambda image: image.resize((320, 240)),
    "mirrored": ImageOps.mirror,
    "mirrored and saved again": lambda image: saved_again(ImageOps.mirror(image)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "paler": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "grey": ImageOps.grayscale,
    "a pale watermark": lambda image: Image.composite(Image.new("RGB", image.size, "white"), image, stripe(image)),
    "a pixel cut off on each side": lambda image: ImageOps.crop(image, 1),
}


def stripe(image: Image.Image) -> Image.Image:
    mask = Image.new("L", image.size)
    mask.paste(128, (100, 150, 155, 156))
    return mask


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_are_found(photographs, change):
    copies = [CHANGES[change](image) for image in photographs]
    groups = near_copies([fingerprint(image) for image in photographs + copies])
    together = groups[: len(photographs)] == groups[len(photographs) :]
    assert together.mean() >= (0.85 if "watermark" in change else 0.95)  # which adds what was not there
    assert max(Counter(groups).values()) <= 4


def test_different_pictures_are_left_apart(photographs):
    assert len(set(near_copies([fingerprint(image) for image in photographs]))) == len(photographs)


def test_groups_agree_with_numpys_correlation_and_a_plain_search():
    """Random walks among thumbnails, so that there are chains, against np.corrcoef and a union by hand."""
    rng = np.random.default_rng(0)
    thumbnails = [rng.integers(0, 256, 256)]
    for _ in range(120):
        start = thumbnails[rng.integers(len(thumbnails))].reshape(16, 16)
        noisy = start[:, :: rng.choice([1, -1])].ravel() + rng.normal(0, rng.choice([5, 25, 60]), 256)
        thumbnails.append(noisy.clip(0, 255).astype(int))
    mirrored = [t.reshape(16, 16)[:, ::-1].ravel() for t in thumbnails]
    alike = np.maximum(np.corrcoef(thumbnails), np.corrcoef(thumbnails, mirrored)[:121, 121:]) >= ALIKE
    expected = list(range(121))
    for i, j in np.argwhere(alike):
        expected = [expected[i] if number == expected[j] else number for number in expected]
    found = near_copies([base64.b64encode(t.astype(np.uint8).tobytes()).decode() for t in thumbnails])
    assert 5 < len(set(expected)) < 100
    assert len(set(zip(expected, found))) == len(set(expected)) == len(set(found))


def test_blocks_make_no_difference(photographs, monkeypatch):
    prints = [fingerprint(image) for image in photographs + [saved_again(image) for image in photographs]]
    expected = near_copies(prints)
    monkeypatch.setattr("recognizer.data.duplicates.BLOCK", 7)
    assert len(set(zip(expected, near_copies(prints)))) == len(set(expected))


def test_of_many_images_the_same_groups_are_found_without_comparing_all(monkeypatch):
    """10,000 made thumbnails, smooth as photographs are, one in ten a changed copy, some far in a chain."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(0, 1, (9000, 16, 16)), (0, 2, 2), mode="wrap")
    smooth = 128 + 45 * smooth / smooth.std(axis=(1, 2), keepdims=True)
    copies = smooth[:1000] + rng.normal(0, 1, (1000, 16, 16)) * rng.uniform(0, 15, (1000, 1, 1))
    copies[::3] = np.roll(copies[::3], 1, axis=2) * 0.3 + copies[::3] * 0.7
    copies[::2] = copies[::2, :, ::-1]
    plain = np.full((2, 16, 16), [[[30]], [[200]]])
    thumbnails = np.concatenate([smooth, copies, plain, plain]).clip(0, 255).astype(np.uint8)
    prints = [base64.b64encode(thumbnail).decode() for thumbnail in thumbnails]
    expected = near_copies(prints)
    monkeypatch.setattr("recognizer.data.duplicates.MANY", 5000)
    found = near_copies(prints)
    assert 800 < len(prints) - len(set(expected)) < 1100
    assert len(set(zip(expected, found))) == len(set(found)) == len(set(expected))
    order = rng.permutation(len(prints))
    again = near_copies([prints[place] for place in order])
    assert np.array_equal(again, found[order])


def test_thumbnails_that_few_components_cannot_tell_apart_are_compared_in_blocks(monkeypatch):
    """White pictures with one odd pixel each. Two are near-copies only if the pixel is the same one, or its mirror."""
    places = np.repeat(np.arange(256), 12)
    thumbnails = np.full((len(places), 256), 255, np.uint8)
    thumbnails[np.arange(len(places)), places] = np.tile(np.arange(12), 256) * 10
    checked = []
    check = duplicates._pairs_are_alike
    monkeypatch.setattr(duplicates, "_pairs_are_alike", lambda *pairs: checked.append(len(pairs[0])) or check(*pairs))
    monkeypatch.setattr(duplicates, "MANY", 1000)
    groups = near_copies([base64.b64encode(thumbnail).decode() for thumbnail in thumbnails])
    assert sum(checked) < len(places) ** 2 // 100
    columns = places % 16
    expected = np.minimum(places, places - columns + 15 - columns)  # a pixel and its mirror image
    assert len(set(zip(expected, groups))) == len(set(groups)) == 128


def test_many_copies_of_one_picture_take_little_memory_and_time(monkeypatch):
    """3,000 frames of a camera that does not move: millions of near-copies in one group, and other pictures."""
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (16, 16)) + rng.normal(0, 3, (3000, 16, 16))
    others = rng.integers(0, 256, (300, 16, 16))
    thumbnails = np.concatenate([frames, others]).clip(0, 255).astype(np.uint8)
    monkeypatch.setattr("recognizer.data.duplicates.MANY", 2000)
    tracemalloc.start()
    groups = near_copies([base64.b64encode(thumbnail).decode() for thumbnail in thumbnails])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(groups[:3000])) == 1
    assert len(set(groups)) == 301
    assert peak < 300e6


def test_pictures_of_one_colour_are_copies_of_that_colour_only():
    prints = [fingerprint(Image.new("RGB", (50, 50), colour)) for colour in ("white", "black", "white")]
    groups = near_copies(prints)
    assert groups[0] == groups[2] != groups[1]


# --- who goes where ---


def rows_in_groups(sizes: dict[str, list[int]]) -> list[ImageFile]:
    return [
        ImageFile(name, f"{number}_{i}.png", "", "", group=f"{name} {number}")
        for name, groups in sizes.items()
        for number, size in enumerate(groups)
        for i in range(size)
    ]


def test_shares_are_exact_where_most_images_are_alone():
    rows = rows_in_groups({"Bike": [5, 4, 3] + [2] * 20 + [1] * 148, "Car": [30] + [1] * 70})
    dealt = deal(rows, 0.2, 0.15, seed=3)
    counts = Counter((row.class_name, row.split) for row in dealt)
    assert counts == {
        ("Bike", "Train"): 130, ("Bike", "Val"): 40, ("Bike", "Test"): 30,
        ("Car", "Train"): 65, ("Car", "Val"): 20, ("Car", "Test"): 15,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_groups_none_is_divided_and_shares_are_near(seed):
    chance = random.Random(seed)
    sizes = {name: [chance.choice([1, 1, 1, 2, 3, 8]) for _ in range(60)] for name in ("Bike", "Car", "Lorry")}
    rows = rows_in_groups(sizes)
    for i in range(0, len(rows), 17):  # some pictures lie in two classes
        rows[i] = ImageFile("Car" if rows[i].class_name == "Bike" else "Bike", f"x{i}.png", "", "", group=rows[i].group)
    dealt = deal(rows, 0.2, 0.2, seed)
    places = defaultdict(set)
    for row in dealt:
        places[row.group].add(row.split)
    assert all(len(found) == 1 for found in places.values())
    assert sorted(row.key for row in dealt) == sorted(row.key for row in rows)
    for name, total in Counter(row.class_name for row in rows).items():
        for split in ("Val", "Test"):
            count = sum((row.class_name, row.split) == (name, split) for row in dealt)
            assert abs(count - 0.2 * total) <= 2, (name, split)


def test_every_image_has_the_same_chance():
    rows = rows_in_groups({"Bike": [1] * 30 + [2] * 5, "Car": [1] * 40})
    counts = Counter(row.key for seed in range(500) for row in deal(rows, 0.2, 0.2, seed) if row.split == "Test")
    assert len(counts) == 80
    assert all(0.2 * 500 - 45 < count < 0.2 * 500 + 45 for count in counts.values())  # five standard deviations


def test_the_order_of_the_files_makes_no_difference():
    rows = rows_in_groups({"Bike": [3, 2, 2] + [1] * 20, "Car": [4] + [1] * 30})
    expected = deal(rows, 0.2, 0.2, 0)
    random.Random(1).shuffle(rows)
    assert deal(rows, 0.2, 0.2, 0) == expected != deal(rows, 0.2, 0.2, 1)


# --- on disk ---


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def prepare_from(folder: Path, seed: int = 0):
    return prepare(str(folder), sample_images=0, val_share=0.2, test_share=0.2, seed=seed)


def test_near_copies_stay_together_on_disk(workspace, tmp_path, photographs):
    bikes = {f"{i}.jpg": encoded(image) for i, image in enumerate(photographs[:30])}
    bikes |= {f"again_{i}.jpg": encoded(saved_again(image)) for i, image in enumerate(photographs[:6])}
    bikes |= {f"mirrored_{i}.jpg": encoded(ImageOps.mirror(image)) for i, image in enumerate(photographs[:3])}
    cars = {f"{i}.jpg": encoded(image) for i, image in enumerate(photographs[30:])}
    cars |= {"a_bike.jpg": encoded(photographs[0])}
    write_zip(tmp_path / "own" / "Bike.zip", bikes)
    write_zip(tmp_path / "own" / "Car.zip", cars)
    for seed in range(5):
        record = prepare_from(tmp_path / "own", seed)
        groups = record.groups()
        assert [len(group) for group in groups] == [4, 3, 3, 2, 2, 2]
        assert {row.key for row in groups[0]} == {
            "Bike/0.jpg",
            "Bike/again_0.jpg",
            "Bike/mirrored_0.jpg",
            "Car/a_bike.jpg",
        }
        assert all(len({row.split for row in group}) == 1 for group in groups)
        assert [{row.key for row in rows} for rows in record.copies()] == [{"Bike/0.jpg", "Car/a_bike.jpg"}]
        for row in record.files:
            assert (workspace / "datasets" / row.split / row.key).exists()


def test_own_images_take_part_wherever_they_were_put(workspace, own_zips, capsys):
    prepare_from(own_zips)
    train = workspace / "datasets" / "Train" / "Bike"
    (train / "more" / "deep").mkdir(parents=True)
    (train / "more" / "deep" / "own.png").write_bytes(picture(900))
    (train / "broken.jpg").write_bytes(b"no image")
    (train / "empty.jpg").write_bytes(b"nor this")  # the archive holds an empty.jpg, too
    (train / "notes.txt").write_text("mine")
    capsys.readouterr()
    for _ in range(2):
        record = split_images(0.2, 0.2, 0)
        (own,) = (row for row in record.files if row.is_own)
        assert (workspace / "datasets" / own.split / "Bike" / "own.png").read_bytes() == picture(900)
        assert sorted(row.name for row in record.rejected if row.is_own) == [
            "broken.jpg",
            f"empty-{own_digest()}.jpg",
        ]
    said = capsys.readouterr().out
    assert "1 image(s) of your own stay and take part in the split: Bike/own.png." in said
    assert "Your own Bike/broken.jpg was moved to datasets/Rejected/: not an image." in said
    rejected = workspace / "datasets" / "Rejected" / "Bike"
    assert (rejected / "broken.jpg").read_bytes() == b"no image"
    assert (rejected / "empty.jpg").read_bytes() == b"" and (train / "notes.txt").read_text() == "mine"
    # Another data set takes away what came with the first one, and nothing else.
    write_zip(own_zips.parent / "other" / "Bike.zip", {f"{i}.png": picture(500 + i) for i in range(9)})
    write_zip(own_zips.parent / "other" / "Car.zip", {f"{i}.png": picture(600 + i) for i in range(9)})
    record = prepare_from(own_zips.parent / "other")
    assert (rejected / "broken.jpg").exists() and not (rejected / "empty.jpg").exists()
    assert sum(row.is_own for row in record.files) == 1 and len(record.files) == 19


def own_digest() -> str:
    import hashlib

    return hashlib.sha256(b"nor this").hexdigest()[:8]


def test_own_images_whose_names_differ_in_case(workspace, own_zips):
    prepare_from(own_zips)
    (workspace / "datasets" / "Train" / "Bike" / "BIKE_1.png").write_bytes(picture(900))
    with pytest.raises(Problem, match="share a name; rename one of them"):
        split_images(0.2, 0.2, 0)
