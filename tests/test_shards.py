"""Pictures that stay in shards: exactly those of Train are seen, each once per epoch, and near-copies stay together."""

import gc
import io
import os
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image, ImageOps

from recognizer import BikeCarCNN, settings
from recognizer.data import Record, choose, downloads, load_part, prepare, prepared, shards, split, streamed
from recognizer.data.batches import batches
from recognizer.data.shard_source import open_shard
from recognizer.data.shards import part_of
from recognizer.data.streamed import StreamedPictures
from recognizer.network.evaluation import evaluate
from recognizer.network.recipe import Recipe
from recognizer.network.training import fit
from recognizer.settings import Problem

from .conftest import write_zip
from .server import breaks_off, status, whole, without_ranges

pytest.importorskip("webdataset", reason="webdataset is not installed, so there are no shards: pip install webdataset")
SIDE = 32
SHARES = {"sample_images": 1, "val_share": 0.2, "test_share": 0.2, "seed": 0}
Files = list[tuple[str, bytes]]


@pytest.fixture(autouse=True)
def _(workspace, monkeypatch):
    monkeypatch.setattr(downloads, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("DATASET")


def picture(number: int) -> Image.Image:
    """Soft blobs, 32×32 pixels. Another number gives other blobs, and no near-copy."""
    blobs = np.random.default_rng(number).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blobs).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def with_cls(first: int, count: int) -> Files:
    """000000.png, 000000.cls, …: bikes and cars in turn."""
    pairs = [((f"{i:06}.png", encoded(picture(i))), (f"{i:06}.cls", b"Car\n" if i % 2 else b"Bike")) for i in
             range(first, first + count)]  # fmt: skip
    return [file for pair in pairs for file in pair]


def in_folders(first: int, count: int) -> Files:
    return [(f"{'Car' if i % 2 else 'Bike'}/{i}.png", encoded(picture(i))) for i in range(first, first + count)]


def tar(files: Files, mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def write_shards(folder: Path, *contents: bytes) -> str:
    folder.mkdir(exist_ok=True)
    for number, content in enumerate(contents):
        (folder / f"shard-{number:02}.tar").write_bytes(content)
    return str(folder / f"shard-{{00..{len(contents) - 1:02}}}.tar")


def three_shards(make=with_cls) -> list[bytes]:
    return [tar(make(40 * number, 40)) for number in range(3)]


def parts_of(record: Record) -> dict[str, str]:
    return {row.origin: row.split for row in record.files}


def seen_in(part, size: int = 7, seed: int | None = None) -> list[tuple[bytes, int]]:
    """The pixels and the label of each image, in the order of the batches."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    pixels, labels = (torch.cat(each) for each in zip(*batches(part, size, shuffle=generator)))
    as_bytes = (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return [(image.numpy().tobytes(), int(label)) for image, label in zip(as_bytes, labels)]


def truth(*contents: bytes) -> list[tuple[bytes, int]]:
    """The same from tarfile and PIL alone, for shards with class folders or with `.cls` files."""
    found = []
    for content in contents:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for name in archive.getnames():
                if name.endswith(".png"):
                    pixels = np.asarray(Image.open(archive.extractfile(name)).convert("RGB"))
                    beside = name[:-3] + "cls"
                    text = archive.extractfile(beside).read() if beside in archive.getnames() else name.encode()
                    found.append((pixels.tobytes(), int(text.startswith(b"Car"))))
    return found


@pytest.mark.parametrize("make", [with_cls, in_folders])
@pytest.mark.parametrize("over_http", [False, True])
def test_each_epoch_shows_every_image_of_train_once(tmp_path, server, make, over_http):
    contents = three_shards(make)
    dataset = write_shards(tmp_path / "own", *contents)
    if over_http:
        for number, content in enumerate(contents):
            server.serve(f"shard-{number:02}.tar", content)
        dataset = f"{server.address}/shard-{{00..02}}.tar"
    record = prepare(dataset, **SHARES)
    assert record.classes == ["Bike", "Car"]
    train, val, test = (load_part(record, part, SIDE) for part in ("Train", "Val", "Test"))
    everything = truth(*contents)
    assert sorted(seen_in(train) + seen_in(val) + seen_in(test)) == sorted(everything)
    assert len(train) == len(seen_in(train)) == sum(row.split == "Train" for row in record.files)
    assert [label for _, label in seen_in(train)] == train.labels.tolist()
    in_order = seen_in(train)
    assert in_order == [image for image in everything if image in in_order]

    generator = torch.Generator().manual_seed(3)
    first, second = ([batch[0] for batch in batches(train, len(train), shuffle=generator)][0] for _ in range(2))
    assert not torch.equal(first, second)
    in_any_order = [sorted(image.numpy().tobytes() for image in epoch) for epoch in (first, second)]
    assert in_any_order[0] == in_any_order[1]
    assert seen_in(train, seed=3) == seen_in(train, seed=3) != seen_in(train, seed=4)
    assert not (settings.DATASETS / "Train").exists()


def test_an_incomplete_last_batch_is_left_out_as_for_files(tmp_path):
    record = prepare(write_shards(tmp_path / "own", *three_shards()), **SHARES)
    train = load_part(record, "Train", SIDE)
    sizes = [len(labels) for _, labels in batches(train, 16, shuffle=torch.Generator().manual_seed(0))]
    assert sizes == [16] * (len(train) // 16)
    assert sum(len(labels) for _, labels in batches(train, 16)) == len(train)


def test_a_network_learns_from_shards_and_is_tested_on_them(tmp_path):
    record = prepare(write_shards(tmp_path / "own", *three_shards()), **SHARES)
    train, val, test = (load_part(record, part, SIDE) for part in ("Train", "Val", "Test"))
    assert isinstance(train, StreamedPictures)
    model = BikeCarCNN(train.classes, SIDE)
    history = fit(model, train, val, Recipe(num_epochs=2), tmp_path / "model.pt")
    assert len(history.epochs) == 2
    assert evaluate(model, test).confusion.sum() == len(test)
    kept = {path.name: Image.open(path) for path in test.paths}
    assert {np.asarray(image).tobytes() for image in kept.values()} == {pixels for pixels, _ in seen_in(test)}


def test_the_part_of_an_image_does_not_depend_on_other_shards(tmp_path):
    write_shards(tmp_path / "own", *three_shards())
    orders = ["{00,01,02}", "{02,00,01}", "{01,00}"]
    found = [parts_of(prepare(str(tmp_path / "own" / f"shard-{order}.tar"), **SHARES)) for order in orders]
    assert found[0] == found[1]
    assert found[2] == {origin: part for origin, part in found[0].items() if not origin.startswith("shard-02")}
    other = parts_of(prepare(str(tmp_path / "own" / "shard-{00,01,02}.tar"), **SHARES | {"seed": 1}))
    assert other != found[0]


def test_parts_have_their_shares_on_average():
    parts = [part_of(f"{number:064x}", 0.1, 0.2, seed=0) for number in range(20_000)]
    # Five standard deviations of a binomial share are 0.014 for Test and 0.011 for Val.
    assert parts.count("Test") / 20_000 == pytest.approx(0.2, abs=0.014)
    assert parts.count("Val") / 20_000 == pytest.approx(0.1, abs=0.011)


def test_near_copies_in_different_shards_land_in_the_same_part(tmp_path):
    """Mirrored, scaled and saved as JPEG. With any of ten seeds, all 40 pairs stay together."""
    originals = [picture(number) for number in range(40)]
    copies = [ImageOps.mirror(image).resize((80, 80), Image.Resampling.BICUBIC) for image in originals]
    contents = [
        tar([(f"{'Bike' if i % 2 else 'Car'}/{i}.jpg", encoded(image, "JPEG")) for i, image in enumerate(images)])
        for images in (originals, copies)
    ]
    dataset = write_shards(tmp_path / "own", *contents)
    for seed in range(10):
        parts = parts_of(prepare(dataset, **SHARES | {"seed": seed}))
        first = {origin: part for origin, part in parts.items() if origin.startswith("shard-00")}
        pairs = [(part, parts[origin.replace("shard-00", "shard-01")]) for origin, part in first.items()]
        assert len(pairs) == 40
        assert all(one == other for one, other in pairs)
        assert len(set(pairs)) == 3


def test_images_that_cannot_be_used_are_left_out_and_counted(tmp_path, capsys):
    bad = [
        ("a.png", b"<html>not here</html>"),
        ("a.cls", b"Bike"),
        ("b.png", encoded(picture(900))),
        ("c.png", encoded(picture(901))),
        ("c.cls", b"../Bike"),
        ("d.cls", b"Bike"),
        ("e.json", b"{}"),
    ]
    record = prepare(write_shards(tmp_path / "own", tar(with_cls(0, 40) + bad), tar(with_cls(40, 40))), **SHARES)
    assert len(record.files) == 80
    assert {row.origin: row.reason.split(";")[0] for row in record.rejected} == {
        "shard-00.tar/a.png": "a web page, not an image",
        "shard-00.tar/b.png": "no .cls file next to it and no folder names a class",
        "shard-00.tar/c.png": "its class '../Bike' cannot be the name of a folder",
        "shard-00.tar/d.cls": "there is no image of this name next to it",
    }
    assert "4 image(s) in the shards cannot be used" in capsys.readouterr().out
    train = load_part(record, "Train", SIDE)
    assert len(seen_in(train)) == len(train)


def test_of_two_files_of_the_same_path_the_first_counts_even_if_it_is_broken(tmp_path):
    files = [("Bike/x.png", b"<html>"), *in_folders(0, 40), ("Bike/x.png", encoded(picture(900)))]
    record = prepare(write_shards(tmp_path / "own", tar(files)), **SHARES)
    assert len(record.files) == 40 and len(record.rejected) == 2
    assert sum(len(seen_in(load_part(record, part, SIDE))) for part in ("Train", "Val", "Test")) == 40


def test_pixels_that_another_notebook_has_just_stored_are_used(tmp_path, monkeypatch):
    """Windows does not replace a file that is mapped."""
    record = prepare(write_shards(tmp_path / "own", *three_shards()), **SHARES)
    replace = os.replace

    def refused(source, target):
        replace(source, target)
        raise PermissionError(13, "is mapped", target)

    monkeypatch.setattr(streamed.os, "replace", refused)
    cache = settings.DATASETS / "cache"
    cache.mkdir()
    left_over = cache / f"{record.dataset}-Val-{SIDE}px-0123456789abcdef.1.part"
    left_over.touch()
    os.utime(left_over, (0, 0))
    assert len(load_part(record, "Val", SIDE)) == sum(row.split == "Val" for row in record.files)
    assert not list(cache.glob("*.part"))


def test_no_other_notebook_deals_shards_at_the_same_time(tmp_path, monkeypatch):
    prepare(write_shards(tmp_path / "own", *three_shards()), **SHARES)
    held = []
    monkeypatch.setattr(
        split, "deal_shards", lambda *_: held.append(FileLock(settings.DATASETS / ".lock", is_singleton=True).is_locked)
    )
    split.split_images(0.2, 0.2, 1)
    assert held == [True]


def test_masks_and_names_with_dots(tmp_path):
    """`1.seg.png` is the mask of `1.png`, but `2.a.png` and `2.b.png` are two images."""
    files = in_folders(0, 40)
    files += [("Bike/1000.png", encoded(picture(1000))), ("Bike/1000.seg.png", encoded(picture(1001)))]
    files += [("Car/x.a.png", encoded(picture(1002))), ("Car/x.b.png", encoded(picture(1003)))]
    record = prepare(write_shards(tmp_path / "own", tar(files)), **SHARES)
    inner = {row.origin.removeprefix("shard-00.tar/") for row in record.files}
    assert inner == {name for name, _ in files if "seg" not in name}


def test_compressed_shards_are_read_as_well(tmp_path):
    (tmp_path / "s-0.tar.gz").write_bytes(tar(in_folders(0, 60), "w:gz"))
    record = prepare(str(tmp_path / "s-{0..0}.tar.gz"), **SHARES)
    assert len(record.files) == 60


def cut_between_members(shard: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        return shard[: archive.getmembers()[20].offset]


def with_a_damaged_header(shard: bytes) -> bytes:
    start = len(cut_between_members(shard))
    return shard[:start] + b"\xff" * 512 + shard[start + 512 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda shard: shard[: len(shard) // 2 + 100], "unexpected end of data|it is cut off"),
        (cut_between_members, "it is cut off"),
        (with_a_damaged_header, r"it is damaged after \d+,\d+ bytes"),
        (lambda shard: b"<html>" + b"x" * 2000, "it is not a tar archive"),
        (lambda shard: b"", "it is empty"),
        (lambda shard: tar([]), "has no image that can be used"),
        (lambda shard: tar([("readme.txt", b"hello")]), "has no image that can be used"),
        (lambda shard: tar([("1.png", encoded(picture(1)))]), "has no image that can be used: .*no .cls file"),
        (lambda shard: tar(with_cls(1, 1) * 2), "duplicate file name"),
        (lambda shard: tar(with_cls(0, 40), "w:gz")[:-100], "Compressed file ended|it is cut off|unexpected end"),
    ],
)
def test_a_bad_shard_is_named_in_one_sentence_and_the_others_are_not_read_again(tmp_path, monkeypatch, damage, reason):
    good = three_shards()
    dataset = write_shards(tmp_path / "own", good[0], damage(good[1]), good[2])
    with pytest.raises(Problem, match=f"^The shard shard-01.tar .*({reason})") as found:
        prepare(dataset, **SHARES)
    assert "\n" not in str(found.value)
    (tmp_path / "own" / "shard-01.tar").write_bytes(good[1])
    opened = []
    monkeypatch.setattr(shards, "open_shard", lambda *shard: opened.append(shard[0]) or open_shard(*shard))
    assert len(prepare(dataset, **SHARES).files) == 120
    assert opened == ["shard-01.tar", "shard-02.tar"]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("none-{00..02}.tar", "matches no file; the first of 3 would be none-00.tar"),
        ("shard-{00..04}.tar", "2 of the 5 shards in DATASET do not exist, the first of them shard-03.tar"),
        ("shard-{00..02.tar", "The braces of DATASET=.* do not match"),
        ("shard-00..02}.tar", "The braces of DATASET=.* do not match"),
        ("shard-{0..99999999999}.tar", "stands for more than 1,000,000 shards"),
        ("http://127.0.0.1/shard.tar?part={0..3}", "have the same name; put the braces into the name"),
    ],
)
def test_patterns_that_name_no_shards(tmp_path, pattern, sentence):
    write_shards(tmp_path / "own", *three_shards())
    with pytest.raises(Problem, match=sentence):
        choose(pattern if "://" in pattern else str(tmp_path / "own" / pattern))


def test_without_the_library_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    dataset = write_shards(tmp_path / "own", *three_shards())
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(Problem, match="pip install webdataset"):
        choose(dataset)


def test_a_class_with_too_few_images_is_named_with_its_shard(tmp_path):
    files = with_cls(0, 40) + [("900.png", encoded(picture(900))), ("900.cls", b"Bkie")]
    with pytest.raises(Problem, match=r"1 image\(s\) of Bkie, the first in shard-00.tar/900.png"):
        prepare(write_shards(tmp_path / "own", tar(files)), **SHARES)


def serve_three(server, *answers) -> str:
    """Three shards on the server. `answers` are those for the second."""
    for number, content in enumerate(three_shards()):
        server.serve(f"shard-{number:02}.tar", content, *(answers if number == 1 else ()))
    return f"{server.address}/shard-{{00..02}}.tar"


@pytest.mark.parametrize(
    "answers",
    [
        (breaks_off(0.5), breaks_off(0.5), breaks_off(0.1), lambda *_: None),
        (status(503), status(429)),
        (without_ranges(breaks_off(0.6)), without_ranges(breaks_off(0.8))),
    ],
)
def test_a_server_that_breaks_off_is_asked_for_the_rest(server, answers):
    last = without_ranges(whole) if len(answers) == 2 and callable(answers[0]) else whole
    record = prepare(serve_three(server, *answers, last), **SHARES)
    assert len(record.files) == 120
    found = [load_part(record, part, SIDE) for part in ("Train", "Val", "Test")]
    assert sorted(image for part in found for image in seen_in(part)) == sorted(truth(*three_shards()))


def test_a_shard_that_is_missing_on_the_server_is_a_sentence(server):
    with pytest.raises(Problem, match="The shard shard-01.tar cannot be read: .* answered «404 Not Found»"):
        prepare(serve_three(server, status(404)), **SHARES)


@pytest.mark.parametrize("answer", [status(503), lambda *_: None])
def test_a_server_that_is_gone_in_the_middle_of_an_epoch_is_a_sentence(server, answer):
    record = prepare(serve_three(server), **SHARES)
    train = load_part(record, "Train", SIDE)
    seen_in(train)
    server.serve("shard-01.tar", three_shards()[1], answer)
    with pytest.raises(Problem, match="^The shard shard-01.tar stopped after 0 bytes: .* cannot be reached any more"):
        seen_in(train)
    server.serve("shard-01.tar", three_shards()[1])
    assert len(seen_in(train)) == len(train)


def test_shards_on_a_server_are_read_once_to_describe_them(server):
    dataset = serve_three(server)
    before = prepare(dataset, **SHARES)
    server.requests.clear()
    assert prepare(dataset, **SHARES) == before
    assert prepared(or_shards=True) == before
    assert not server.requests


@pytest.mark.parametrize("over_http", [False, True])
def test_a_shard_that_changed_is_noticed(tmp_path, server, monkeypatch, over_http):
    dataset = serve_three(server) if over_http else write_shards(tmp_path / "own", *three_shards())
    train = load_part(prepare(dataset, **SHARES), "Train", SIDE)
    other = tar(with_cls(500, 50))
    server.serve("shard-01.tar", other)
    if not over_http:
        (tmp_path / "own" / "shard-01.tar").write_bytes(other)
    with pytest.raises(Problem, match="The shard shard-01.tar has changed since notebook 01 read it"):
        seen_in(train)
    monkeypatch.setenv("VERIFY", "1")
    record = prepare(dataset, **SHARES)
    assert len(record.files) == 130
    assert len(seen_in(load_part(record, "Train", SIDE))) == sum(row.split == "Train" for row in record.files)


def test_images_in_folders_are_untouched_by_shards_and_are_used_again_when_asked_for(tmp_path):
    for name, first in (("Bike", 0), ("Car", 1)):
        members = {f"{number}.png": encoded(picture(number)) for number in range(first, 40, 2)}
        write_zip(tmp_path / "zips" / f"{name}.zip", members)
    files = prepare(str(tmp_path / "zips"), **SHARES)
    on_disk = sorted((settings.DATASETS / "Train").rglob("*.png"))
    in_shards = prepare(write_shards(tmp_path / "own", *three_shards()), **SHARES)
    assert prepared(or_shards=True) == in_shards
    assert sorted((settings.DATASETS / "Train").rglob("*.png")) == on_disk
    with pytest.raises(Problem, match="only notebooks 01 to 03"):
        prepared()
    with pytest.raises(Problem, match="only notebooks 01 to 03"):
        prepare(str(tmp_path / "own" / "shard-{00..02}.tar"), **SHARES, folder=settings.DATASETS / "cats_and_dogs")
    assert prepare(str(tmp_path / "zips"), **SHARES) == files
    assert prepared() == files


def test_looking_at_one_batch_leaves_no_thread_behind(tmp_path):
    record = prepare(write_shards(tmp_path / "own", *three_shards()), **SHARES)
    before = threading.active_count()
    images, _ = next(batches(load_part(record, "Train", SIDE, 1.25), 8, shuffle=torch.Generator()))
    gc.collect()
    assert images.shape == (8, 3, 40, 40)
    assert threading.active_count() == before
