"""What happens to a user's pictures: downloads, extraction, the split, and how they reach the network."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from recognizer import drawings
from recognizer.data import choose, extraction, fetch, prepare, prepared, read_record, sources, taking_in
from recognizer.data.augmentation import augment
from recognizer.data.batches import batches
from recognizer.data.dataset import Pictures
from recognizer.data.downloads import Download
from recognizer.data.masks import part_masks, part_sizes
from recognizer.data.neither import empty_scenes, scenes_to_learn_from
from recognizer.drawings import PETS, VEHICLES
from recognizer.inputs import open_rgb, to_input
from recognizer.settings import DATASETS, Problem, parameter

from .conftest import picture, write_zip

PARTS = ("Train", "Val", "Test")


def prepare_from(folder: Path, *, val_share=0.2, test_share=0.2, seed=0):
    return prepare(str(folder), sample_images=0, val_share=val_share, test_share=test_share, seed=seed)


def images_in(workspace: Path) -> dict[str, bytes]:
    files = [p for part in PARTS for p in (workspace / "datasets" / part).rglob("*") if p.is_file()]
    return {p.relative_to(workspace / "datasets").as_posix(): p.read_bytes() for p in files}


def packed_tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def many(pattern: str, first: int = 0) -> dict[str, bytes]:
    return {pattern.format(i): picture(first + i) for i in range(6)}


# --- the split ---


def test_split_is_a_stratified_partition(workspace, own_zips):
    prepare_from(own_zips)
    files = images_in(workspace)
    assert Counter(tuple(key.split("/")[:2]) for key in files) == {
        (part, name): count for name in ("Bike", "Car") for part, count in zip(PARTS, (12, 4, 4))
    }
    expected = {hashlib.sha256(picture(i)).digest() for i in range(20)}
    expected |= {hashlib.sha256(picture(100 + i, bright=True)).digest() for i in range(20)}
    assert {hashlib.sha256(content).digest() for content in files.values()} == expected


def test_split_depends_only_on_the_seed(workspace, own_zips):
    prepare_from(own_zips, seed=3)
    first = images_in(workspace)
    prepare_from(own_zips, seed=4)
    assert images_in(workspace).keys() != first.keys()
    prepare_from(own_zips, seed=3)
    assert images_in(workspace) == first


def test_other_shares_split_again_from_the_whole(workspace, own_zips):
    prepare_from(own_zips)
    prepare_from(own_zips, val_share=0.1, test_share=0.4)
    counts = Counter(key.split("/")[0] for key in images_in(workspace))
    assert counts == {"Train": 20, "Val": 4, "Test": 16}


def test_second_run_changes_nothing(workspace, own_zips):
    prepare_from(own_zips)
    before = {p: p.stat().st_mtime_ns for p in workspace.rglob("*") if p.is_file() and p.name != "split.json"}
    record = (workspace / "datasets" / "split.json").read_bytes()
    prepare_from(own_zips)
    assert {p: p.stat().st_mtime_ns for p in workspace.rglob("*") if p.is_file() and p.name != "split.json"} == before
    assert (workspace / "datasets" / "split.json").read_bytes() == record


def test_record_tells_where_every_file_is(workspace, own_zips):
    prepare_from(own_zips)
    record = json.loads((workspace / "datasets" / "split.json").read_text())
    assert (record["seed"], record["val_share"], record["test_share"]) == (0, 0.2, 0.2)
    digests = {f"{row['class_name']}/{row['name']}": row["sha256"] for row in record["files"]}
    splits = {f"{row['class_name']}/{row['name']}": row["split"] for row in record["files"]}
    for key, content in images_in(workspace).items():
        part, _, name = key.partition("/")
        assert splits[name] == part
        assert digests[name] == hashlib.sha256(content).hexdigest()
    row = next(row for row in record["files"] if row["name"] == "bike_3.png")
    assert (row["origin"], row["group"]) == ("Bike.zip/Bike/bike_3.png", "Bike/bike_3.png")


def test_another_data_set_leaves_a_users_own_files(workspace, own_zips, tmp_path):
    prepare_from(own_zips)
    mine = workspace / "datasets" / "Train" / "Bike" / "mine.png"
    mine.write_bytes(picture(777))
    clash = workspace / "datasets" / "Train" / "Car" / "new_0.png"
    clash.write_bytes(picture(778))
    for name in ("Bike", "Car"):
        write_zip(
            tmp_path / "other" / f"{name}.zip",
            {f"new_{i}.png": picture(i + 200 * (name == "Car")) for i in range(10)},
        )
    prepare_from(tmp_path / "other")
    contents = list(images_in(workspace).values())
    assert len(contents) == 22
    assert picture(777) in contents and picture(778) in contents


def test_an_own_file_that_an_archive_also_holds_stays_own(workspace, own_zips, tmp_path):
    prepare_from(own_zips)
    mine = workspace / "datasets" / "Train" / "Bike" / "new_3.png"
    mine.write_bytes(picture(3))
    for name in ("Bike", "Car"):
        write_zip(tmp_path / "other" / f"{name}.zip", {f"new_{i}.png": picture(i) for i in range(10)})
    assert len(prepare_from(tmp_path / "other").files) == 20  # the own file is one of them
    prepare_from(own_zips)
    assert picture(3) in images_in(workspace).values()
    assert [row.name for row in read_record().files if row.is_own] == ["new_3.png"]


def test_pictures_inside_datasets_are_not_a_data_set(workspace, own_zips):
    prepare_from(own_zips)
    before = images_in(workspace)
    with pytest.raises(Problem, match="Train is inside datasets/.*leave DATASET unset"):
        prepare_from(workspace / "datasets" / "Train")
    assert images_in(workspace) == before


def test_files_that_are_not_images_are_left_alone_and_listed(workspace, own_zips, capsys):
    prepare_from(own_zips)
    folder = workspace / "datasets" / "Train" / "Bike"
    others = {"notes.txt": b"x", "Thumbs.db": b"x", "photo.heic": b"x", "._photo.png": b"x"}
    for name, content in others.items():
        (folder / name).write_bytes(content)
    (folder / "more").mkdir()
    prepare_from(own_zips)
    assert "2 file(s) in datasets/ do not have an image's file name" in capsys.readouterr().out
    assert {name for name in others if (folder / name).exists()} == others.keys()
    assert len(Pictures(folder.parent, 32)) == 24
    for path in folder.glob("*.png"):
        path.unlink()  # a class of clutter only
    assert Pictures(folder.parent, 32).classes == ["Car"]


def test_an_own_image_that_was_deleted_is_forgotten(workspace, own_zips):
    mine = workspace / "datasets" / "Train" / "Bike" / "mine.png"
    prepare_from(own_zips)
    mine.write_bytes(picture(777))
    assert len(prepare_from(own_zips).files) == 41
    next((workspace / "datasets").glob("*/Bike/mine.png")).unlink()
    choice = choose(str(own_zips))
    record = extraction.extract_into_train(choice.name, fetch(choice, sample_images=0))
    assert len(record.files) == 40


def test_an_own_image_replaced_by_one_of_the_same_size_is_checked_again(workspace, own_zips):
    prepare_from(own_zips)
    (workspace / "datasets" / "Train" / "Bike" / "mine.bmp").write_bytes(bitmap(1))
    prepare_from(own_zips)
    next((workspace / "datasets").glob("*/Bike/mine.bmp")).write_bytes(bitmap(2))
    record = prepare_from(own_zips)
    (row,) = (row for row in record.files if row.name == "mine.bmp")
    assert row.sha256 == hashlib.sha256(bitmap(2)).hexdigest()


def bitmap(number: int) -> bytes:
    content = io.BytesIO()
    Image.open(io.BytesIO(picture(number))).save(content, "BMP")
    return content.getvalue()


def stopped_after(count, monkeypatch, folder) -> None:
    """Prepare the data set in `folder`, with Ctrl-C after `count` moves of files."""
    moves = iter(range(count))
    real_move = taking_in.move

    def move_some(*arguments):
        if next(moves, None) is None:
            raise KeyboardInterrupt
        real_move(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(taking_in, "move", move_some)
        prepare_from(folder)


@pytest.mark.parametrize("count", [7, 50])  # during and after the move of the first set
def test_stopped_while_another_data_set_comes_and_continued_in_a_later_notebook(
    count, workspace, own_zips, tmp_path, monkeypatch
):
    prepare_from(own_zips)
    for name in ("Bike", "Car"):
        write_zip(tmp_path / "other" / f"{name}.zip", {f"new_{i}.png": picture(i) for i in range(10)})
    monkeypatch.delenv("DATASET", raising=False)
    stopped_after(count, monkeypatch, tmp_path / "other")
    record = prepared()
    assert (record.dataset, len(record.files), record.is_split) == ("other", 20, True)
    assert not any(row.is_own for row in record.files)


def test_stopped_between_extraction_and_its_end(workspace, own_zips, monkeypatch):
    prepare_from(own_zips)
    expected = images_in(workspace)
    (own_zips / "Car.zip").rename(own_zips / "Lorry.zip")
    stopped_after(7, monkeypatch, own_zips)
    (own_zips / "Lorry.zip").rename(own_zips / "Car.zip")
    prepare_from(own_zips)
    assert images_in(workspace) == expected


@pytest.mark.parametrize(
    ("val_share", "test_share", "sentence"),
    [(0.0, 0.2, "leave a part empty"), (0.6, 0.4, "leave a part empty"), (0.01, 0.2, "Bike has 20 image")],
)
def test_shares_that_leave_a_part_empty(workspace, own_zips, val_share, test_share, sentence):
    with pytest.raises(Problem, match=sentence):
        prepare_from(own_zips, val_share=val_share, test_share=test_share)


# --- extraction ---


def test_what_is_not_an_image_is_kept_separately_with_its_reason(workspace, own_zips):
    prepare_from(own_zips)
    reasons = {row.name: row.reason for row in read_record().rejected}
    assert reasons.keys() == {"empty.jpg", "page.jpg", "cut.png"}
    assert reasons["empty.jpg"] == "empty file" and reasons["page.jpg"] == "a web page, not an image"
    assert reasons["cut.png"].startswith("does not decode completely")
    assert {p.name for p in (workspace / "datasets" / "Rejected").rglob("*.*")} == reasons.keys()


def test_names_that_meet_when_folders_are_flattened(workspace, tmp_path):
    folder = tmp_path / "own"
    write_zip(folder / "Bike.zip", {f"{where}/bike.png": picture(i) for i, where in enumerate("abcdef")})
    write_zip(folder / "Car.zip", {f"car_{i}.png": picture(50 + i) for i in range(6)})
    prepare_from(folder)
    assert sum(key.split("/")[1] == "Bike" for key in images_in(workspace)) == 6


def test_an_archive_in_an_archive_and_plain_folders(workspace, tmp_path):
    inner = packed_tar({f"all/Bike/bike_{i}.png": picture(i) for i in range(5)})
    write_zip(tmp_path / "own" / "Bike.zip", {"inner.tar.gz": inner})
    cars = tmp_path / "own" / "Car"
    cars.mkdir()
    for i in range(5):
        (cars / f"car_{i}.png").write_bytes(picture(60 + i))
    prepare_from(tmp_path / "own")
    assert Counter(key.split("/")[1] for key in images_in(workspace)) == {"Bike": 5, "Car": 5}
    assert len(list(cars.iterdir())) == 5  # the user's folder is copied, not moved


def test_every_image_that_decodes_reaches_the_network(workspace, tmp_path):
    """Odd file endings, no ending, and formats that ImageFolder would skip."""

    def encoded(number, file_format):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(picture(number))).save(buffer, file_format)
        return buffer.getvalue()

    odd = {f"{i}.jfif": encoded(i, "JPEG") for i in range(4)} | {f"{i}.gif": encoded(10 + i, "GIF") for i in range(4)}
    odd |= {f"noending{i}": encoded(20 + i, "PNG") for i in range(4)}
    write_zip(tmp_path / "own" / "Bike.zip", odd)
    write_zip(tmp_path / "own" / "Car.zip", {f"car_{i}.png": picture(50 + i) for i in range(12)})
    prepare_from(tmp_path / "own")
    loaded = [Pictures(workspace / "datasets" / part, 32) for part in PARTS]
    assert sum(len(pictures) for pictures in loaded) == 24
    stamp = (workspace / "datasets" / "cache").stat().st_mtime_ns
    before = {p: p.stat().st_ino for p in (workspace / "datasets").glob("T*/*/*")}
    prepare_from(tmp_path / "own")
    assert {p: p.stat().st_ino for p in (workspace / "datasets").glob("T*/*/*")} == before
    assert (workspace / "datasets" / "cache").stat().st_mtime_ns == stamp


def test_the_same_file_under_the_same_name_three_times(workspace, tmp_path):
    write_zip(tmp_path / "own" / "Bike.zip", many("{}.png") | {f"{where}/x.png": picture(99) for where in "abc"})
    write_zip(tmp_path / "own" / "Car.zip", many("{}.png", 50))
    record = prepare_from(tmp_path / "own")
    assert sum(key.split("/")[1] == "Bike" for key in images_in(workspace)) == 9
    (copies,) = record.copies()
    assert {row.origin for row in copies} == {f"Bike.zip/{where}/x.png" for where in "abc"}
    assert len({row.split for row in copies}) == 1


def test_a_tar_that_ends_in_a_zip(workspace, tmp_path):
    inner = write_zip(tmp_path / "extra.zip", many("inner_{}.png", 50)).read_bytes()
    with tarfile.open(tmp_path / "plain.tar", "w") as archive:
        for name, content in (many("outer_{}.png") | {"extra.zip": inner}).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "own").mkdir()
    (tmp_path / "plain.tar").rename(tmp_path / "own" / "Bike.tar")
    write_zip(tmp_path / "own" / "Car.zip", many("car_{}.png", 100))
    assert len([row for row in prepare_from(tmp_path / "own").files if row.class_name == "Bike"]) == 12


def test_long_names_in_any_script(workspace, tmp_path):
    names = [f"{'車' * 100}{number}.png" for number in range(6)]  # 300 bytes and more
    write_zip(tmp_path / "own" / "Bike.zip", {name: picture(i) for i, name in enumerate(names)})
    write_zip(tmp_path / "own" / "Car.zip", many("car_{}.png", 100))
    rows = [row for row in prepare_from(tmp_path / "own").files if row.class_name == "Bike"]
    assert len(rows) == 6 and all(row.name.startswith("車車") and row.name.endswith(".png") for row in rows)
    assert all(len(row.name.encode()) < 200 for row in rows)


def test_two_masks_of_one_name(workspace, tmp_path):
    for name in ("Bike", "Car"):
        write_zip(tmp_path / "own" / f"{name}.zip", many(f"{name}_{{}}.png", 50 * len(name)))
        for folder in ("a", "b"):
            path = tmp_path / "own" / "masks" / name / folder / "x.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(picture(ord(folder)))
    with pytest.raises(Problem, match="Two masks of Bike are called x.png"):
        prepare_from(tmp_path / "own")


@pytest.mark.parametrize(
    "content, sentence",
    [(b"", "does not decode"), (b"nonsense", "does not decode"), (picture(1), "is not a mask of parts")],
)
def test_a_file_that_is_not_a_mask(workspace, own_zips, content, sentence):
    prepare_from(own_zips)
    path = workspace / "datasets" / "Masks" / "Bike" / "bike_3.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(Problem, match=f"bike_3.png {sentence}"):
        for part in PARTS:
            part_masks(Pictures(workspace / "datasets" / part, 32), 32)


def test_a_tar_as_people_make_it(workspace, tmp_path):
    (tmp_path / "own").mkdir()
    for name, first in (("Bike", 0), ("Car", 50)):
        members = {f"./{name}_{i}.png": picture(first + i) for i in range(5)}
        (tmp_path / "own" / f"{name}.tar.gz").write_bytes(packed_tar(members))
    prepare_from(tmp_path / "own")
    assert len(images_in(workspace)) == 10


def test_a_flipped_byte_in_an_archive_gives_a_message_and_loses_nothing(workspace, own_zips):
    prepare_from(own_zips)
    before = images_in(workspace)
    damaged = bytearray((own_zips / "Car.zip").read_bytes())
    damaged[200] ^= 0xFF
    (own_zips / "Car.zip").write_bytes(damaged)
    with pytest.raises(Problem, match="Car.zip is damaged"):
        prepare_from(own_zips)
    assert images_in(workspace) == before


def test_another_content_under_the_same_names_is_noticed(workspace, own_zips, tmp_path):
    prepare_from(own_zips)
    other = tmp_path / "elsewhere" / own_zips.name
    for name in ("Bike", "Car"):
        write_zip(other / f"{name}.zip", {f"{name.lower()}_{i}.png": picture(500 + i) for i in range(20)})
    prepare_from(other)
    assert picture(500) in images_in(workspace).values() and picture(0) not in images_in(workspace).values()


def test_a_file_that_the_user_changed_is_the_users_own(workspace, own_zips, tmp_path):
    prepare_from(own_zips)
    changed = next((workspace / "datasets" / "Train" / "Bike").iterdir())
    changed.write_bytes(picture(4711))
    for name in ("Bike", "Car"):
        write_zip(tmp_path / "other" / f"{name}.zip", {f"new_{name}_{i}.png": picture(i + 300) for i in range(10)})
    prepare_from(tmp_path / "other")
    assert picture(4711) in images_in(workspace).values()
    assert len(images_in(workspace)) == 21


def test_a_lost_record_duplicates_nothing(workspace, own_zips):
    prepare_from(own_zips)
    before = images_in(workspace)
    (workspace / "datasets" / "split.json").unlink()
    prepare_from(own_zips)
    assert images_in(workspace) == before


LAYOUTS = {  # small versions of the downloads of each source
    "motorbikes": {
        "car-vs-bike.zip": many("Car-Bike-Dataset/Bike/Bike ({}).png") | many("Car-Bike-Dataset/Car/Car ({}).jpeg", 50)
    },
    "street": {
        "ig02-bikes.zip": many("bikes/bike_{}.image.png") | many("bikes/bike_{}.mask.0.png", 20) | {"readme.txt": b"-"},
        "ig02-cars.zip": many("cars/carsgraz_{}.image.png", 50) | many("cars/carsgraz_{}.mask.0.png", 70),
    },
    "caltech": {
        "caltech-101.zip": {
            "caltech-101/101_ObjectCategories.tar.gz": packed_tar(
                many("101_ObjectCategories/Motorbikes/image_{}.jpg")
                | many("101_ObjectCategories/car_side/image_{}.jpg", 50)
                | many("101_ObjectCategories/airplanes/image_{}.jpg", 80)
            ),
            "caltech-101/Annotations.tar": packed_tar({"Annotations/car_side/annotation_1.mat": b"not an image"}),
        }
    },
    "pets": {
        "cats_and_dogs_filtered.zip": {
            f"cats_and_dogs_filtered/{'train' if i < 4 else 'validation'}/{name}s/{name}.{i}.jpg": picture(
                i + 50 * (name == "dog")
            )
            for name in ("cat", "dog")
            for i in range(6)
        }
        | {"cats_and_dogs_filtered/vectorize.py": b"print()"}
    },
    "pets-full": {
        "kagglecatsanddogs_5340.zip": many("PetImages/Cat/{}.jpg")
        | many("PetImages/Dog/{}.jpg", 50)
        | {"PetImages/Cat/666.jpg": b"", "PetImages/Dog/11702.jpg": b"", "readme[1].txt": b"-"}
        | {"PetImages/Cat/Thumbs.db": b"-", "PetImages/Dog/Thumbs.db": b"-"}
    },
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layout_of_each_source(workspace, name, monkeypatch):
    source = sources.SOURCES[name]
    unchecked = tuple(replace(wanted, checksum=None) for wanted in source.downloads)
    monkeypatch.setitem(sources.SOURCES, name, replace(source, downloads=unchecked))
    for file_name, members in LAYOUTS[name].items():
        write_zip(workspace / "datasets" / "archives" / name / file_name, members)
    assert {wanted.file_name for wanted in sources.SOURCES[name].downloads} == LAYOUTS[name].keys()
    record = prepare(name, sample_images=0, val_share=0.2, test_share=0.2, seed=0)
    contents = set(images_in(workspace).values())
    assert Counter(key.split("/")[1] for key in images_in(workspace)) == dict.fromkeys(source.classes, 6)
    assert contents == {picture(i) for i in range(6)} | {picture(50 + i) for i in range(6)}
    empty = {"Cat/666.jpg": "empty file", "Dog/11702.jpg": "empty file"} if name == "pets-full" else {}
    assert {row.key: row.reason for row in record.rejected} == empty
    assert len(list((workspace / "datasets").glob("Masks/*/*"))) == (12 if name == "street" else 0)


def test_masks_travel_beside_the_images(workspace):
    prepare("sample", sample_images=6, val_share=0.2, test_share=0.2, seed=0)
    for key in images_in(workspace):
        _, class_name, name = key.split("/")
        mask = workspace / "datasets" / "Masks" / class_name / f"{Path(name).stem}.png"
        assert mask.exists(), mask.name


def test_messages_say_what_to_do(workspace, tmp_path):
    with pytest.raises(Problem, match="neither a folder nor one of auto, sample, motorbikes"):
        choose("bikes-and-cars")
    write_zip(tmp_path / "one" / "Bike.zip", {"a.png": picture(1)})
    with pytest.raises(Problem, match="at least two are needed"):
        fetch(choose(str(tmp_path / "one")), sample_images=0)
    write_zip(tmp_path / "one" / "Car.zip", {"readme.txt": b"no images here"})
    with pytest.raises(Problem, match="No image of Car"):
        prepare_from(tmp_path / "one")
    (tmp_path / "one" / "Car.zip").write_bytes(b"PK\x03\x04 not really a zip")
    with pytest.raises(Problem, match="Car.zip is neither a zip nor a tar"):
        prepare_from(tmp_path / "one")
    with pytest.raises(Problem, match="run notebook 01"):
        Pictures(workspace / "datasets" / "Train", 32)


# --- where the data comes from (what goes wrong on the way: test_bad_inputs.py) ---


def test_archives_over_http_become_a_data_set(workspace, server, own_zips):
    addresses = [server.serve(name, (own_zips / name).read_bytes()) for name in ("Bike.zip", "Car.zip")]
    record = prepare_from(" ".join(addresses))
    assert len(images_in(workspace)) == 40
    assert [archive["address"] for archive in record.archives.values()] == addresses


def test_auto_tries_the_next_source_only_if_no_server_answers(workspace, server, monkeypatch):
    def source_at(url):
        return sources.Source("motorbikes", "", "", (Download(url, None, "x.zip"),), {"Bike": "*", "Car": "*"})

    monkeypatch.setattr(sources, "AUTOMATIC", {VEHICLES: ("motorbikes",), PETS: ("motorbikes",)})
    monkeypatch.setitem(sources.SOURCES, "motorbikes", source_at("http://127.0.0.1:9/x.zip"))  # no server listens there
    assert choose("auto").name == "sample"
    assert "drawn sample, because no source" in choose("auto").reason
    assert choose("auto", PETS).name == "drawn-pets"
    monkeypatch.setitem(sources.SOURCES, "motorbikes", source_at(f"{server.address}/x.zip"))
    assert choose("auto").name == "motorbikes"
    with pytest.raises(Problem, match="404"):
        fetch(choose("auto"), sample_images=0)


def test_drawn_pets_replace_drawn_vehicles_and_the_other_way_round(workspace):
    def prepare_sample(dataset, classes=VEHICLES):
        return prepare(dataset, sample_images=6, val_share=0.2, test_share=0.2, seed=0, classes=classes).classes

    assert prepare_sample("sample") == ["Bike", "Car"]
    before = images_in(workspace)
    assert prepare_sample("sample", PETS) == ["Cat", "Dog"]
    assert {key.split("/")[1] for key in images_in(workspace)} == {"Cat", "Dog"}
    there = images_in(workspace)
    assert prepare_sample("drawn-pets") == ["Cat", "Dog"] and images_in(workspace) == there
    assert prepare_sample("sample") == ["Bike", "Car"] and images_in(workspace) == before


def test_addresses_need_two_classes_and_two_names(workspace, server, own_zips):
    address = server.serve("Bike.zip", (own_zips / "Bike.zip").read_bytes())
    with pytest.raises(Problem, match="at least two are needed"):
        prepare_from(address)
    with pytest.raises(Problem, match="same name"):
        prepare_from(f"{address} {server.address}/other/Bike.zip")


# --- from files to batches ---


def save(tmp_path: Path, image: Image.Image, name: str, **options) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_images_load_upright_and_in_true_colours(tmp_path):
    red = Image.new("RGB", (8, 6), (255, 0, 0))
    tall = Image.new("RGB", (4, 8), "white")
    tall.paste((0, 0, 255), (0, 0, 4, 4))  # blue on top
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90° to see it upright
    sixteen_bit = Image.fromarray(np.full((6, 8), 40000, dtype=np.uint16))
    clear = Image.new("RGBA", (8, 6), (0, 0, 0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path, place, expected in [
            (save(tmp_path, red.convert("P"), "palette.png"), (0, 0), (255, 0, 0)),
            (save(tmp_path, red.convert("CMYK"), "cmyk.jpg", quality=100), (0, 0), (254, 0, 0)),
            (save(tmp_path, red, "webp.jpg", format="WEBP", lossless=True), (0, 0), (255, 0, 0)),
            (save(tmp_path, clear, "clear.png"), (0, 0), (255, 255, 255)),
            (save(tmp_path, sixteen_bit, "deep.png"), (0, 0), (156, 156, 156)),
            (save(tmp_path, Image.new("L", (8, 6), 77), "grey.png"), (0, 0), (77, 77, 77)),
            (save(tmp_path, tall, "turned.png", exif=exif), (7, 0), (0, 0, 255)),
        ]:
            image = open_rgb(path)
            assert image.mode == "RGB"
            assert image.getpixel(place) == pytest.approx(expected, abs=2), path.name


def test_to_input_is_what_the_network_sees_in_validation(workspace, own_zips):
    prepare_from(own_zips)
    val = Pictures(workspace / "datasets" / "Val", 32)
    ((images, _),) = batches(val, len(val))
    for path, image in zip(val.paths, images):
        found = to_input(path, 32)
        assert found.dtype == torch.float32 and found.shape == (3, 32, 32)
        torch.testing.assert_close(found, image)
        reference = v2.functional.pil_to_tensor(
            Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
        )
        torch.testing.assert_close(found, reference / 255)


def test_pixels_are_decoded_once_and_follow_the_files(workspace, own_zips):
    prepare_from(own_zips)
    folder = workspace / "datasets" / "Val"
    before = Pictures(folder, 32)
    cache = list((workspace / "datasets" / "cache").glob("Val-*"))
    assert len(cache) == 1
    stamp = cache[0].stat().st_mtime_ns
    Pictures(folder, 32)
    assert cache[0].stat().st_mtime_ns == stamp
    before.paths[0].write_bytes(picture(4711, size=(30, 30)))
    assert not torch.equal(Pictures(folder, 32).pixels[0], before.pixels[0])


def test_two_notebooks_decode_at_the_same_time(workspace, own_zips):
    prepare_from(own_zips)
    code = (
        "import sys; from recognizer.data.dataset import Pictures; "
        "print(Pictures(sys.argv[1], 128).pixels.sum().item())"
    )
    folder = workspace / "datasets" / "Train"
    environment = os.environ | {"RECOGNIZER_WORKSPACE": str(workspace)}
    both = [
        subprocess.Popen([sys.executable, "-c", code, folder], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    sums = [process.communicate()[0].split()[-1] for process in both]
    assert sums == [str(Pictures(folder, 128).pixels.sum().item())] * 2


def test_unfinished_cache_files_of_a_killed_run_are_removed(workspace, own_zips):
    prepare_from(own_zips)
    Pictures(workspace / "datasets" / "Val", 32)
    (whole,) = (workspace / "datasets" / "cache").glob("Val-*.npy")
    left_over, in_work = (whole.with_suffix(f".{number}.part") for number in (1, 2))
    for path in (left_over, in_work):
        path.write_bytes(b"half")
    os.utime(left_over, (0, 0))
    whole.unlink()
    Pictures(workspace / "datasets" / "Val", 32)
    assert whole.exists() and in_work.exists() and not left_over.exists()


def test_hidden_and_empty_folders_are_not_classes(workspace, own_zips):
    prepare_from(own_zips)
    for name in (".ipynb_checkpoints", "Empty"):
        (workspace / "datasets" / "Val" / name).mkdir()
    (workspace / "datasets" / "Val" / "Empty" / ".gitkeep").touch()
    (workspace / "datasets" / "Val" / ".ipynb_checkpoints" / "x.png").write_bytes(picture(1))
    assert Pictures(workspace / "datasets" / "Val", 32).classes == ["Bike", "Car"]


def test_augmentation_is_seeded_and_stays_in_range():
    images = torch.rand(6, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    one, two, other = (augment(images, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert one.shape == images.shape and one.min() >= 0 and one.max() <= 1


def test_augmentation_moves_pixels_but_does_not_invent_colours():
    """A picture of one grey stays a picture of one colour, apart from light and tint."""
    augmented = augment(torch.full((4, 3, 16, 16), 0.5), torch.Generator().manual_seed(0))
    assert augmented.flatten(2).std(dim=2).max() < 1e-5


def test_batches_of_odd_sizes(workspace, own_zips):
    prepare_from(own_zips)
    train = Pictures(workspace / "datasets" / "Train", 32)
    assert [len(images) for images, _ in batches(train, 100, shuffle=torch.Generator())] == [24]
    assert [len(images) for images, _ in batches(train, 10)] == [10, 10, 4]
    with pytest.raises(Problem, match="BATCH_SIZE of 1 or more"):
        next(batches(train, 0))


def test_later_notebooks_use_environment_variables(workspace, own_zips, monkeypatch):
    prepare_from(own_zips)
    monkeypatch.delenv("DATASET")
    assert prepared().seed == 0
    monkeypatch.setenv("SEED", "5")
    assert prepared().seed == 5
    monkeypatch.setenv("DATASET", "sample")
    monkeypatch.setenv("SAMPLE_IMAGES", "6")
    assert prepared().dataset == "sample"


def test_parameters_from_the_environment(monkeypatch):
    monkeypatch.setenv("EPOCHS", "7")
    monkeypatch.setenv("TENSORBOARD", "0")
    assert parameter("EPOCHS", 25) == 7 and parameter("TENSORBOARD", True) is False
    assert parameter("NOT_SET_ANYWHERE", 0.5) == 0.5
    monkeypatch.setenv("EPOCHS", "many")
    with pytest.raises(Problem, match="EPOCHS='many' is not an integer; try EPOCHS=25"):
        parameter("EPOCHS", 25)


def test_the_tests_do_not_touch_a_users_data():
    assert not DATASETS.is_relative_to(Path(__file__).resolve().parents[1])


def test_masks_of_the_drawn_sample_are_what_was_drawn(workspace):
    prepare("sample", sample_images=10, val_share=0.2, test_share=0.4, seed=0)
    test = Pictures(workspace / "datasets" / "Test", 64)
    masks, parts = part_masks(test, 160)
    assert masks.shape == (8, 160, 160) and parts == list(drawings.PARTS)
    for path, mask in zip(test.paths, masks):
        drawn = drawings.draw(path.parent.name, int(path.stem.split("_")[1]) - 1)
        assert (mask == drawn.parts).all()


def test_masks_of_objects_show_the_class(workspace):
    """As in IG02: several masks per image, one per object."""
    for class_name, number in (("Bike", 1), ("Car", 2)):
        for part in ("Train", "Masks"):
            (workspace / "datasets" / part / class_name).mkdir(parents=True)
        image = workspace / "datasets" / "Train" / class_name / f"x_{number}.image.png"
        image.write_bytes(picture(number, size=(40, 40)))
        for index, columns in enumerate((slice(0, 10), slice(30, 40))):
            mask = np.zeros((40, 40, 3), np.uint8)
            mask[:, columns, 1] = 255
            Image.fromarray(mask).save(workspace / "datasets" / "Masks" / class_name / f"x_{number}.mask.{index}.png")
    pictures = Pictures(workspace / "datasets" / "Train", 32)
    masks, parts = part_masks(pictures, 40)
    assert parts == ["background", "Bike", "Car"]
    for label, mask in enumerate(masks, start=1):
        assert (mask[:, :10] == label).all() and (mask[:, 30:] == label).all() and (mask[:, 10:30] == 0).all()
    assert part_sizes(masks, parts, 40) == {"Bike": 40, "Car": 40}


def test_images_without_masks(workspace, own_zips, capsys):
    prepare(str(own_zips), sample_images=0, val_share=0.2, test_share=0.2, seed=0)
    test = Pictures(workspace / "datasets" / "Test", 32)
    assert part_masks(test, 16) is None
    mask = workspace / "datasets" / "Masks" / "Bike" / f"{test.paths[0].stem}.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(np.full((8, 8), 3, np.uint8)).save(mask)
    masks, _ = part_masks(test, 16)
    assert (masks[0] == 3).all() and not masks[1:].any()
    assert "7 of 8 images have no mask" in capsys.readouterr().out


def test_a_part_cut_by_another_part_keeps_its_size():
    """A wheel of 41 pixels behind a tube of three pixels, and far away a small piece of another wheel."""
    rows, columns = np.ogrid[:64, :64]
    mask = ((rows - 30) ** 2 + (columns - 30) ** 2 <= 20**2).astype(np.uint8)
    mask[29:32] = 2 * (mask[29:32] > 0)
    mask[60:62, 60:62] = 1
    assert part_sizes(mask[None], ["background", "wheel", "frame"], 64) == {"wheel": 41, "frame": 41}


# --- pictures of neither ---


def test_scenes_without_a_vehicle_are_drawn_only_for_the_sample(workspace, own_zips):
    record = prepare("sample", sample_images=4, val_share=0.2, test_share=0.2, seed=0)
    train = Pictures(workspace / "datasets" / "Train", 32, detail=1.25)
    to_learn, to_ask = scenes_to_learn_from(record, train), empty_scenes(record, 4, 32)
    assert to_learn.shape == (1, 3, 40, 40) and to_learn.dtype == torch.uint8  # one, of fewer than ten images
    assert to_ask.shape == (4, 3, 32, 32) and len(to_ask.flatten(1).unique(dim=0)) == 4
    assert torch.equal(to_ask, empty_scenes(record, 4, 32))
    record = prepare(str(own_zips), sample_images=0, val_share=0.2, test_share=0.2, seed=0)
    assert empty_scenes(record, 4, 32) is None


def test_images_stored_larger_are_reduced_to_the_image_size():
    images = torch.full((5, 3, 40, 40), 0.5)
    generator = torch.Generator().manual_seed(0)
    assert augment(images, generator, 32).shape == (5, 3, 32, 32)
    assert augment(images, generator).shape == images.shape
