"""The folder of a data set: several processes at once, links, other disks, several data sets, odd names."""

import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer.data import (
    downloads,
    extraction,
    place,
    prepare,
    prepared,
    read_record,
    sources,
    split,
    split_images,
    taking_in,
)
from recognizer.data.dataset import Pictures
from recognizer.data.masks import part_masks
from recognizer.data.record import images_on_disk
from recognizer.drawings import PETS
from recognizer.settings import Problem

from .conftest import Started, picture, write_zip

SHARES = {"val_share": 0.2, "test_share": 0.2}


def prepare_from(dataset: Path | str, seed: int = 0, **options):
    return prepare(str(dataset), sample_images=6, **SHARES, seed=seed, **options)


def pictures_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*.png") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def in_datasets(workspace: Path) -> dict[str, bytes]:
    return {
        name: content for part in place.SPLITS for name, content in pictures_in(workspace / "datasets" / part).items()
    }


def write_pictures(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this system makes no links")


@pytest.fixture
def other(tmp_path) -> Path:
    """Another data set of the same classes: ten images per class."""
    for number, name in enumerate(("Bike", "Car")):
        write_zip(
            tmp_path / "other" / f"{name}.zip", {f"new_{i}.png": picture(300 + 50 * number + i) for i in range(10)}
        )
    return tmp_path / "other"


# --- several processes at once ---


def test_the_second_process_says_so_waits_and_gets_a_complete_data_set(workspace, own_zips, tmp_path, monkeypatch):
    """The first process is moving files. The second one must neither delete nor use the incomplete data set."""
    real_move, moved, go_on = taking_in.move, [], tmp_path / "go on"

    def move_and_wait(*arguments):
        if len(moved) == 7:
            print("half")
            while not go_on.exists():
                time.sleep(0.01)
        moved.append(real_move(*arguments))

    monkeypatch.delenv("DATASET", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(taking_in, "move", move_and_wait)
        first = Started(tmp_path / "first", prepare_from, own_zips)
        first.wait_for("half")
    second = Started(tmp_path / "second", lambda: print(len(prepared().files)))
    second.wait_for("Another notebook is at work in datasets/; this one continues when it is done.")
    go_on.touch()
    first.end()
    assert second.end().endswith("\n40\n")
    assert len(in_datasets(workspace)) == 40


@pytest.fixture
def at_work(workspace, tmp_path) -> Started:
    """A process that works in `datasets/` for a minute."""

    def hold():
        with place.alone_in(workspace / "datasets"):
            print("held")
            time.sleep(60)

    first = Started(tmp_path / "first", hold)
    first.wait_for("held")
    yield first
    first.process.kill()


def test_a_process_that_is_killed_leaves_no_lock(workspace, own_zips, at_work, capsys):
    at_work.process.kill()
    at_work.process.join(60)
    assert len(prepare_from(own_zips).files) == 40
    assert "at work" not in capsys.readouterr().out


def test_ctrl_c_ends_the_waiting(at_work, tmp_path):
    second = Started(tmp_path / "second", prepared)
    second.wait_for("Another notebook is at work")
    os.kill(second.process.pid, signal.SIGINT)
    second.process.join(10)
    assert second.process.exitcode == 1


@pytest.fixture
def quick_drawings(monkeypatch) -> None:
    """Six tiny pictures per class with masks instead of drawings. They take half a second; a line says they started."""

    def write_zips(folder, classes, **_):
        print("pencil")
        time.sleep(0.5)
        for number, name in enumerate(classes):
            write_zip(folder / f"{name}.zip", {f"{i}.png": picture(50 * number + i) for i in range(6)})
            for i in range(6):
                mask = folder / "masks" / name / f"{i}.png"
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 8), 1 + number, np.uint8)).save(mask)

    monkeypatch.setattr(sources.drawings, "write_zips", write_zips)


def test_two_processes_draw_the_same_sample(workspace, tmp_path, quick_drawings):
    both = [Started(tmp_path / str(number), prepare_from, "sample") for number in range(2)]
    assert sum("pencil" in process.end() for process in both) == 1
    assert len(in_datasets(workspace)) == 12
    assert not list((workspace / "datasets" / "archives").glob("*.part"))


def test_two_processes_download_the_same_archive(workspace, server, own_zips, tmp_path):
    names = ("Bike.zip", "Car.zip")
    addresses = " ".join(server.serve(name, (own_zips / name).read_bytes()) for name in names)
    both = [Started(tmp_path / str(number), prepare_from, addresses) for number in range(2)]
    for process in both:
        process.end()
    assert len(in_datasets(workspace)) == 40
    assert sum(path.endswith("Car.zip") for path, _ in server.requests) == 1  # the second one found it there


def test_a_disk_without_locks_gives_a_message_and_is_used(workspace, own_zips, monkeypatch, capsys):
    def no_lock(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(place.FileLock, "acquire", no_lock)
    assert len(prepare_from(own_zips).files) == 40
    assert "datasets/ does not support file locks: run only one notebook at a time there." in capsys.readouterr().out


def test_a_picture_that_disappears_while_it_is_loaded(workspace, own_zips, monkeypatch):
    prepare_from(own_zips)
    real_images_in = Pictures.make_dataset

    def then_one_vanishes(*arguments, **options):
        found = real_images_in(*arguments, **options)
        Path(found[3][0]).unlink()
        return found

    monkeypatch.setattr(Pictures, "make_dataset", staticmethod(then_one_vanishes))
    with pytest.raises(Problem, match=r"datasets/Val/Bike/bike_\d+.png disappeared; .* Run again"):
        Pictures(workspace / "datasets" / "Val", 32)


# --- links ---


def test_a_class_folder_that_is_a_link_is_read_and_never_emptied(workspace, own_zips, other, tmp_path, capsys):
    prepare_from(own_zips)
    mine = write_pictures(tmp_path / "mine", 20, first=700)
    deep = write_pictures(tmp_path / "elsewhere", 3, first=800)
    link(mine / "more", deep)
    before = pictures_in(tmp_path / "mine") | pictures_in(deep)
    link(workspace / "datasets" / "Train" / "Lorry", mine)
    for seed in range(3):
        record = split_images(**SHARES, seed=seed)
        assert sum(row.class_name == "Lorry" for row in record.files) == 23
        assert len(in_datasets(workspace)) == 63
    prepare_from(other)
    assert pictures_in(tmp_path / "mine") | pictures_in(deep) == before and len(before) == 23
    assert "23 linked image(s) were copied into datasets/" in capsys.readouterr().out


def test_links_to_single_images_and_to_folders_below_a_class(workspace, own_zips, tmp_path):
    prepare_from(own_zips)
    mine = write_pictures(tmp_path / "mine", 6, first=700)
    train = workspace / "datasets" / "Train"
    for number in (700, 701, 702):
        link(
            train / "Bike" / "deep" / f"{number}.png",
            Path(os.path.relpath(mine / f"{number}.png", train / "Bike" / "deep")),
        )
    (tmp_path / "others").mkdir()
    (mine / "703.png").rename(tmp_path / "others" / "703.png")
    link(train / "Car" / "others", tmp_path / "others")
    link(train / "Car" / "nowhere.png", tmp_path / "nothing.png")
    link(train / "Car" / "itself", train / "Car" / "itself")
    before = pictures_in(mine) | pictures_in(tmp_path / "others")
    for seed in range(3):
        assert len(split_images(**SHARES, seed=seed).files) == 44
    assert pictures_in(mine) | pictures_in(tmp_path / "others") == before
    assert {picture(700 + i) for i in range(4)} <= set(in_datasets(workspace).values())


def test_a_class_folder_that_was_moved_away_and_linked_stays_complete(workspace, own_zips, tmp_path):
    """Files that the project put there belong to the user as soon as they are behind such a link."""
    prepare_from(own_zips)
    folder = workspace / "datasets" / "Train" / "Bike"
    folder.rename(tmp_path / "bikes")
    link(folder, tmp_path / "bikes")
    before = pictures_in(tmp_path / "bikes")
    split_images(**SHARES, seed=5)
    assert pictures_in(tmp_path / "bikes") == before and len(in_datasets(workspace)) == 40


def test_a_link_that_leads_into_the_same_folder(workspace, own_zips):
    prepare_from(own_zips)
    train = workspace / "datasets" / "Train"
    link(train / "Bike" / "again", train)
    before = in_datasets(workspace)
    with pytest.raises(Problem, match="datasets/Train/Bike/again is a link that leads into datasets/ itself"):
        split_images(**SHARES, seed=1)
    assert in_datasets(workspace) == before


def test_train_as_a_link_to_own_pictures_is_refused(workspace, own_zips, other, tmp_path):
    for name, first in (("Bike", 0), ("Car", 50)):
        write_pictures(tmp_path / "mine" / name, 10, first)
    link(workspace / "datasets" / "Train", tmp_path / "mine")
    before = pictures_in(tmp_path / "mine")
    for dataset in (own_zips, other):
        with pytest.raises(Problem, match="datasets/Train is a link to a folder with pictures .* Give them as DATASET"):
            prepare_from(dataset)
    assert pictures_in(tmp_path / "mine") == before
    # The same after these pictures were copied into Train: the originals are not the copies.
    (workspace / "datasets" / "Train").unlink()
    prepare_from(tmp_path / "mine")
    for part in place.SPLITS:
        for path in (workspace / "datasets" / part).rglob("*.png"):
            path.unlink()
    for folder in sorted((workspace / "datasets" / "Train").iterdir()):
        folder.rmdir()
    (workspace / "datasets" / "Train").rmdir()
    link(workspace / "datasets" / "Train", tmp_path / "mine")
    with pytest.raises(Problem, match="datasets/Train is a link"):
        split_images(**SHARES, seed=1)
    assert pictures_in(tmp_path / "mine") == before


def leading_into_datasets(workspace: Path, tmp_path: Path) -> dict[str, Path]:
    """Folders that lead into `datasets/`, or contain it, in every way that a user may try."""
    datasets, given = workspace / "datasets", tmp_path / "given"
    link(given / "a link" / "own", datasets / "Train")
    for name in ("Bike", "Car"):
        link(given / "linked classes" / name, datasets / "Train" / name)
        link(given / "one deeper" / name / "all", datasets / "Val" / name)
        for path in (datasets / "Train" / name).iterdir():
            link(given / "linked images" / name / path.name, path)
    link(given / "the project" / "Bike", workspace)
    return {
        "itself": datasets,
        "Train": datasets / "Train",
        "dots": datasets / "Train" / ".." / "Val",
        "link": given / "a link" / "own",
        "linked classes": given / "linked classes",
        "one deeper": given / "one deeper",
        "linked images": given / "linked images",
        "the project": given / "the project",
        "a folder around it": workspace,
        "far around it": tmp_path,
    }


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_dataset_that_leads_into_datasets_is_refused_and_loses_nothing(workspace, tmp_path, is_linked, monkeypatch):
    (tmp_path / "disk").mkdir()
    if is_linked:
        link(workspace / "datasets", tmp_path / "disk")
    for name, first in (("Bike", 0), ("Car", 50)):
        write_pictures(workspace / "datasets" / "Train" / name, 10, first)
        write_pictures(workspace / "datasets" / "Val" / name, 2, first + 20)
    before = in_datasets(workspace)
    for kind, folder in leading_into_datasets(workspace, tmp_path).items():
        with pytest.raises(Problem, match="inside datasets/|leads into datasets/|contains datasets/ itself"):
            prepare_from(folder)
        assert in_datasets(workspace) == before, kind
    monkeypatch.setattr(sources, "PROJECT", workspace)
    with pytest.raises(Problem, match="inside datasets/"):
        prepare_from("datasets/Train")


def test_pictures_inside_the_folder_that_is_prepared_are_refused(workspace, tmp_path):
    for name, first in (("Bike", 0), ("Car", 50)):
        write_pictures(tmp_path / "side" / "Train" / name, 10, first)
    before = pictures_in(tmp_path / "side")
    with pytest.raises(Problem, match="Train is inside side/"):
        prepare_from(tmp_path / "side" / "Train", folder=tmp_path / "side")
    with pytest.raises(Problem, match="side contains split/ itself"):
        prepare_from(tmp_path / "side", folder=tmp_path / "side" / "split")
    assert pictures_in(tmp_path / "side") == before


def test_pictures_where_aside_leads_are_refused_and_no_own_files_in_it_are_removed(workspace, own_zips, tmp_path):
    for name, first in (("Bike", 0), ("Car", 50)):
        write_pictures(tmp_path / "big" / "photos" / name, 10, first)
    before = pictures_in(tmp_path / "big")
    link(workspace / "datasets" / "aside", tmp_path / "big")
    with pytest.raises(Problem, match="photos is inside"):
        prepare_from(tmp_path / "big" / "photos")
    write_pictures(tmp_path / "big" / "own", 3, 200)  # with the name of the data set that is prepared next
    prepare_from(own_zips)
    assert len(pictures_in(tmp_path / "big" / "own")) == 3
    assert pictures_in(tmp_path / "big" / "photos") == {k.removeprefix("photos/"): v for k, v in before.items()}


def test_images_that_are_added_beside_masks_are_noticed(workspace, tmp_path):
    for name, first in (("Bike", 0), ("Car", 50)):
        write_pictures(tmp_path / "own" / name, 10, first)
        write_pictures(tmp_path / "own" / "masks" / name, 10, first)
    assert len(prepare_from(tmp_path / "own").files) == 20
    write_pictures(tmp_path / "own" / "Bike", 5, 20)
    assert len(prepare_from(tmp_path / "own").files) == 25


def test_a_link_back_up_puts_no_class_into_another(workspace, tmp_path):
    for name, first in (("Bike", 0), ("Car", 50)):
        write_pictures(tmp_path / "own" / name, 10, first)
        link(tmp_path / "own" / name / "up", tmp_path / "own")
    record = prepare_from(tmp_path / "own")
    assert [sum(row.class_name == name for row in record.files) for name in ("Bike", "Car")] == [10, 10]


def test_originals_of_copied_links_are_not_mistaken_for_the_copies(workspace, tmp_path):
    originals = write_pictures(tmp_path / "mine" / "Bike", 10, 0)
    write_pictures(tmp_path / "mine" / "Car", 10, 50)
    prepare_from(tmp_path / "mine")
    datasets = workspace / "datasets"
    for part in place.SPLITS:
        shutil.rmtree(datasets / part)
    for name in ("Bike", "Car"):
        link(datasets / "Train" / name, tmp_path / "mine" / name)
    split_images(**SHARES)
    for part in place.SPLITS:
        shutil.rmtree(datasets / part)
    link(datasets / "Train", tmp_path / "mine")
    with pytest.raises(Problem, match="datasets/Train is a link"):
        split_images(**SHARES, seed=1)
    assert len(list(originals.iterdir())) == 10


def test_a_dataset_of_links_to_folders_elsewhere_is_read(workspace, tmp_path):
    for name, first in (("Bike", 0), ("Car", 50)):
        link(tmp_path / "own" / name, write_pictures(tmp_path / f"my {name}s", 10, first))
    before = pictures_in(tmp_path / "my Bikes")
    for seed in range(2):
        assert len(prepare_from(tmp_path / "own", seed).files) == 20
    assert pictures_in(tmp_path / "my Bikes") == before


# --- another disk ---


@pytest.fixture
def disk(tmp_path, monkeypatch) -> Path:
    """A folder that files cannot be renamed into or out of, as on another disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    real_replace = os.replace

    def replace(source, target):
        if len({folder in Path(os.path.realpath(path)).parents for path in (source, target)}) == 2:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(source), None, str(target))
        real_replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    return folder


@pytest.mark.parametrize("name", ["Train", "Test", "Masks", "Rejected", "aside"])
def test_a_folder_on_another_disk(workspace, own_zips, other, disk, name):
    link(workspace / "datasets" / name, disk)
    prepare_from(own_zips)
    assert len(in_datasets(workspace)) == 40
    prepare_from(own_zips, seed=7)
    assert len(in_datasets(workspace)) == 40
    assert len(prepare_from(other).files) == 20 and len(in_datasets(workspace)) == 20
    assert len(prepare_from(own_zips).files) == 40 and len(in_datasets(workspace)) == 40
    assert not list(disk.rglob("*.part"))


def test_incoming_must_not_be_a_link(workspace, own_zips, disk):
    link(workspace / "datasets" / "incoming", disk)
    with pytest.raises(Problem, match="datasets/incoming is a link; remove it"):
        prepare_from(own_zips)


# --- recorded and unchanged files are not checked again ---


def test_a_second_start_opens_no_image_and_compares_none(workspace, own_zips, other, monkeypatch):
    expected = prepare_from(own_zips)
    opened = []
    monkeypatch.setattr("recognizer.data.record.file_digest", lambda path: opened.append(path))
    monkeypatch.setattr("recognizer.data.extraction.file_digest", lambda path: opened.append(path))
    monkeypatch.setattr(split, "near_copies", lambda prints: opened.append(prints))
    monkeypatch.setattr(split, "deal", lambda *arguments: opened.append(arguments))
    assert prepare_from(own_zips) == expected
    monkeypatch.delenv("DATASET", raising=False)
    for name in ("VAL_SHARE", "TEST_SHARE"):
        monkeypatch.setenv(name, "0.2")
    assert prepared() == expected
    assert not opened


def test_another_seed_splits_again_and_compares_nothing(workspace, own_zips, monkeypatch):
    groups = {row.key: row.group for row in prepare_from(own_zips).files}
    monkeypatch.setattr(split, "near_copies", None)
    record = prepare_from(own_zips, seed=1)
    assert {row.key: row.group for row in record.files} == groups
    assert all((workspace / "datasets" / row.split / row.key).exists() for row in record.files)


def test_a_changed_image_is_checked_whatever_its_size(workspace, own_zips, monkeypatch):
    prepare_from(own_zips)
    path = next((workspace / "datasets").glob("*/Bike/bike_3.png"))
    content = bytearray(path.read_bytes())
    content[-20] ^= 0xFF  # in the checksum of the pixels
    path.write_bytes(content)
    record = split_images(**SHARES)
    assert "Bike/bike_3.png" in {row.key for row in record.rejected if row.is_own}


def test_verify_finds_a_change_that_keeps_size_and_time(workspace, own_zips, monkeypatch):
    prepare_from(own_zips)
    path = next((workspace / "datasets").glob("*/Bike/bike_3.png"))
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(split_images(**SHARES).files) == 40
    monkeypatch.setenv("VERIFY", "1")
    assert len(split_images(**SHARES).files) == 39


def test_an_archive_that_changed_is_noticed(workspace, own_zips):
    prepare_from(own_zips)
    write_zip(own_zips / "Car.zip", {f"Car/car_{i}.png": picture(100 + i, bright=True) for i in range(15)})
    assert len(prepare_from(own_zips).files) == 35
    (own_zips / "Bike.zip").unlink()
    write_pictures(own_zips / "Bike", 9)
    assert len(prepare_from(own_zips).files) == 24
    write_pictures(own_zips / "Bike", 1, first=9)
    assert len(prepare_from(own_zips).files) == 25


def test_a_download_is_read_once_and_again_when_it_changed(workspace, server, own_zips, monkeypatch):
    addresses = " ".join(server.serve(name, (own_zips / name).read_bytes()) for name in ("Bike.zip", "Car.zip"))
    prepare_from(addresses)
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "file_digest", None)
        prepare_from(addresses)
    (archive,) = (workspace / "datasets" / "archives").glob("*/Car.zip")
    status, content = archive.stat(), bytearray(archive.read_bytes())
    content[200] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(Problem, match="Car.zip has changed since it was downloaded"):
        prepare_from(addresses)
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    prepare_from(addresses)
    monkeypatch.setenv("VERIFY", "1")
    with pytest.raises(Problem, match="Car.zip has changed since it was downloaded"):
        prepare_from(addresses)


def test_a_record_of_the_previous_version_is_read(workspace, own_zips, monkeypatch):
    """It has neither times of files nor stamps of archives."""
    expected = prepare_from(own_zips)
    path = workspace / "datasets" / "split.json"
    record = json.loads(path.read_text("utf-8"))
    for row in record["files"] + record["rejected"]:
        del row["mtime_ns"]
    del record["stamps"]
    path.write_text(json.dumps(record), "utf-8")
    monkeypatch.setattr(extraction, "_extract", None)
    assert prepare_from(own_zips).files == expected.files
    assert all(row.mtime_ns for row in read_record().files)


# --- several data sets ---


def test_data_sets_lie_side_by_side(workspace, own_zips, quick_drawings):
    prepare_from(own_zips)
    before = pictures_in(workspace / "datasets")
    pets = workspace / "datasets" / "cats_and_dogs"
    record = prepare_from("sample", classes=PETS, folder=pets)
    assert record.classes == ["Cat", "Dog"] and read_record(pets / "split.json") == record
    assert all((pets / row.split / row.key).exists() for row in record.files)
    assert pictures_in(workspace / "datasets").items() >= before.items()
    assert read_record().classes == ["Bike", "Car"]
    train = Pictures(pets / "Train", 32)
    masks, _ = part_masks(train, 32)
    assert [set(mask.flat) for mask in masks] == [{1 + label} for label in train.targets]
    assert len(Pictures(workspace / "datasets" / "Train", 32)) == 24
    assert len(list((workspace / "datasets" / "cache").glob("*Train-32px-*.npy"))) == 2
    with pytest.raises(Problem, match="inside datasets/"):
        prepare_from(pets / "Train")


def test_an_earlier_data_set_is_set_aside_and_comes_back_without_its_archives_being_read(
    workspace, own_zips, other, monkeypatch
):
    first = prepare_from(own_zips)
    before = in_datasets(workspace)
    prepare_from(other)
    mine = workspace / "datasets" / "Train" / "Bike" / "mine.png"
    mine.write_bytes(picture(777))
    assert len(list((workspace / "datasets" / "aside" / "own" / "images").rglob("*.png"))) == 40
    with monkeypatch.context() as patch:
        patch.setattr(extraction, "_extract", None)
        second = prepare_from(own_zips)
        assert {row.key for row in second.files} == {row.key for row in first.files} | {"Bike/mine.png"}
        assert second.rejected == first.rejected
        assert [path.name for path in (workspace / "datasets" / "aside").iterdir()] == ["other"]
        next((workspace / "datasets").glob("*/Bike/mine.png")).unlink()
        prepare_from(own_zips)
    assert in_datasets(workspace) == before
    assert {path.name for path in (workspace / "datasets" / "Rejected" / "Bike").iterdir()} == {
        row.name for row in first.rejected
    }


def test_what_was_set_aside_does_not_come_back_over_an_own_image_or_from_other_archives(workspace, own_zips, other):
    prepare_from(own_zips)
    prepare_from(other)
    clash = workspace / "datasets" / "Train" / "Bike" / "Bike_3.png"  # there is a bike_3.png in the other one
    clash.write_bytes(picture(777))
    record = prepare_from(own_zips)
    assert len(record.files) == 41 and picture(777) in in_datasets(workspace).values()
    prepare_from(other)
    write_zip(own_zips / "Car.zip", {f"Car/car_{i}.png": picture(600 + i) for i in range(20)})
    assert {picture(600 + i) for i in range(20)} <= {
        (workspace / "datasets" / row.split / row.key).read_bytes() for row in prepare_from(own_zips).files
    }


def test_what_was_set_aside_and_is_incomplete_is_extracted_again(workspace, own_zips, other):
    expected = prepare_from(own_zips)
    prepare_from(other)
    next((workspace / "datasets" / "aside" / "own" / "images").rglob("*.png")).unlink()
    assert {row.key for row in prepare_from(own_zips).files} == {row.key for row in expected.files}


def test_a_data_set_whose_archives_changed_leaves_no_old_state_aside(workspace, own_zips):
    prepare_from(own_zips)
    write_zip(own_zips / "Car.zip", {f"Car/car_{i}.png": picture(600 + i) for i in range(20)})
    prepare_from(own_zips)
    assert not list((workspace / "datasets" / "aside").glob("*"))


# --- odd names and places ---


def test_a_class_in_two_unicode_forms_is_one(workspace, own_zips):
    """One is macOS's form of é, the other is the usual one."""
    composed, taken_apart = "V\u00e9lo", "Ve\u0301lo"
    for name, first in (("Auto", 100), (composed, 0)):
        write_zip(own_zips.parent / "two" / f"{name}.zip", {f"{i}.png": picture(first + i) for i in range(10)})
    prepare_from(own_zips.parent / "two")
    write_pictures(workspace / "datasets" / "Train" / taken_apart, 4, first=800)
    (workspace / "datasets" / "Train" / composed / f"{taken_apart}.png").write_bytes(picture(900))
    record = split_images(**SHARES)
    assert record.classes == ["Auto", composed] and len(record.files) == 25
    assert all((workspace / "datasets" / row.split / row.key).exists() for row in record.files)
    assert Pictures(workspace / "datasets" / "Train", 32).classes == ["Auto", composed]
    assert images_on_disk().keys() == {row.key for row in record.files}


@pytest.mark.parametrize(
    "name", ["datasets", "datasets/Train", "datasets/Val", "datasets/archives", "datasets/incoming"]
)
def test_a_file_where_a_folder_is_needed(workspace, own_zips, name):
    path = workspace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a note")
    with pytest.raises(Problem, match=f"{name}.* cannot be written"):
        prepare_from("sample" if "archives" in name else own_zips)
    assert path.read_text() == "a note"


def test_a_read_only_folder_can_be_read(workspace, own_zips, monkeypatch):
    expected = prepare_from(own_zips)

    def refuse(*_, **__):
        raise PermissionError(errno.EROFS, "Read-only file system", str(workspace / "datasets" / "split.part"))

    for name in ("replace", "rename", "unlink", "mkdir"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(place.FileLock, "acquire", refuse)
    assert prepare_from(own_zips) == expected
    with pytest.raises(Problem, match=r"datasets/split.part cannot be written \(Read-only file system\)"):
        prepare_from(own_zips, seed=1)
