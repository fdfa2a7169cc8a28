"""Real-world pictures, archives, folders and addresses: how they are read, or the message to expect."""

import errno
import gzip
import io
import os
import struct
import tarfile
import threading
import time
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from recognizer import inputs, settings, to_input
from recognizer.data import archives, choose, fetch, prepare, read_record
from recognizer.data.addresses import of_the_file
from recognizer.data.dataset import Pictures
from recognizer.data.images import check
from recognizer.data.masks import part_masks
from recognizer.data.record import images_on_disk
from recognizer.inputs import open_rgb
from recognizer.settings import Problem, room_on_disk

from .conftest import picture, write_zip

COUNT = 8  # images of a class


def prepare_from(dataset: Path | str):
    return prepare(str(dataset), sample_images=0, val_share=0.2, test_share=0.2, seed=0)


def some(first: int = 0) -> dict[str, bytes]:
    return {f"{first + i}.png": picture(first + i) for i in range(COUNT)}


def put(folder: Path, first: int = 0) -> Path:
    folder.mkdir(parents=True)
    for name, content in some(first).items():
        (folder / name).write_bytes(content)
    return folder


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


NOISE = Image.open(io.BytesIO(picture(5, size=(40, 30))))


# --- errors that are not the picture's fault ---


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError("out of memory error when reading image file"),  # Pillow's message
        OSError(errno.EIO, "Input/output error"),
        KeyboardInterrupt(),
        AssertionError("a mistake in the program"),
    ],
)
def test_a_system_error_rejects_no_image(workspace, own_zips, monkeypatch, error):
    expected = MemoryError if "out of memory" in str(error) else type(error)

    def load(image):
        raise error

    def with_no_memory(work):
        with monkeypatch.context() as patch, pytest.raises(expected):
            patch.setattr(ImageFile.ImageFile, "load", load)
            work()

    with_no_memory(lambda: prepare_from(own_zips))
    assert read_record() is None and not list(workspace.glob("datasets/*/*/*.png"))
    assert len(prepare_from(own_zips).files) == 40
    with_no_memory(lambda: Pictures(workspace / "datasets" / "Train", 8))
    train = Pictures(workspace / "datasets" / "Train", 8)
    for path in train.paths:
        mask = workspace / "datasets" / "Masks" / path.parent.name / path.name
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 10), 1).save(mask)
    with_no_memory(lambda: part_masks(train, 8))


def test_a_system_error_does_not_count_as_a_damaged_archive(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "Bike.zip", some())

    def failing(error):
        def open_member(*_, **__):
            raise error

        monkeypatch.setattr(zipfile.ZipFile, "open", open_member)
        list(archives.members(path, lambda inner: True))

    with pytest.raises(Problem, match=r"Bike.zip cannot be read \(Input/output error\)"):
        failing(OSError(errno.EIO, "Input/output error"))
    for error in (MemoryError(), RuntimeError("can't start new thread")):
        with pytest.raises(type(error)):
            failing(error)


@pytest.mark.parametrize("limit", [100, 10_000])
def test_large_images_are_decoded_one_at_a_time(workspace, own_zips, monkeypatch, limit):
    """This holds for all images above the pixel limit, both when checking and when filling the cache."""
    monkeypatch.setattr(inputs, "LARGE", limit)
    load, at_once, most = ImageFile.ImageFile.load, [], []
    lock = threading.Lock()

    def slow(image):
        with lock:
            at_once.append(image)
            most.append(len(at_once))
        time.sleep(0.005)
        with lock:
            at_once.pop()
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", slow)
    prepare_from(own_zips)
    checked, most[:] = max(most), []
    Pictures(workspace / "datasets" / "Train", 8)
    assert (checked == max(most) == 1) if limit == 100 else (checked > 1 and max(most) > 1)


# --- pictures ---


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(kind: bytes, data: bytes, before: bytes = b"IDAT") -> bytes:
    png = encoded(NOISE, "PNG")
    start = png.find(before) - 4
    return png[:start] + chunk(kind, data) + png[start:]


def tiff_tags(*tags: tuple[int, int, int, bytes]) -> bytes:
    rows = b"".join(struct.pack("<HHI", *row[:3]) + row[3] for row in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4)


def tiff_that_leads(where: int) -> bytes:
    """A TIFF to rotate, whose Exif pointer leads outside the file."""
    exif = Image.Exif()
    exif[0x0112], exif[0x8298] = 6, "a text that becomes a pointer"
    content = bytearray(encoded(NOISE, "TIFF", exif=exif))
    start = content.find(struct.pack("<HH", 0x8298, 2))
    content[start : start + 12] = struct.pack("<HHII", 0x8769, 4, 1, where)
    return bytes(content)


TURN = (0x0112, 3, 1, b"\6\0\0\0")  # by 90°
TEXT = (0x011A, 2, 4, b"300\0")  # text instead of a number
JPEG = encoded(NOISE, "JPEG")
ODD = {  # is it turned?
    "rubbish.png": (with_chunk(b"eXIf", bytes(20)), False),
    "behind.png": (with_chunk(b"eXIf", tiff_tags(TURN), before=b"IEND"), True),
    "rubbish behind.png": (with_chunk(b"eXIf", b"rubbish", before=b"IEND"), False),
    "profile.png": (with_chunk(b"iCCP", b"x\0\0rubbish"), False),
    "note.png": (with_chunk(b"zTXt", b"note\0\0rubbish"), False),
    "long note.png": (with_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(3_000_000))), False),
    "long profile.png": (with_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(3_000_000))), False),
    "checksum.png": (with_chunk(b"tEXt", b"note\0rubbish").replace(b"rubbish", b"rabbish"), False),
    "cut.webp": (encoded(NOISE, "WEBP", exif=b"Exif\0\0Exif\0\0II*\0"), False),
    "text.jpg": (encoded(NOISE, "JPEG", exif=b"Exif\0\0" + tiff_tags(TURN, TEXT)), True),
    "cut.jpg": (encoded(NOISE, "JPEG", exif=b"Exif\0\0" + tiff_tags(TURN, TEXT)[:20]), False),
    "word.jpg": (encoded(NOISE, "JPEG", exif=b"Exif\0\0" + tiff_tags((0x0112, 2, 4, b"top\0"))), False),
    "nine.jpg": (encoded(NOISE, "JPEG", exif=b"Exif\0\0" + tiff_tags((0x0112, 3, 1, b"\x09\0\0\0"))), False),
    "xmp.jpg": (encoded(NOISE, "JPEG", xmp=b'<x tiff:Orientation="6"/>'), True),
    "several.jpg": (JPEG[:2] + b"\xff\xe2\0\x0aMPF\0xxxx" + JPEG[2:], False),
    "photoshop.jpg": (JPEG[:2] + b"\xff\xed\0\x18Photoshop 3.0\x008BIM\x04\x04\0" + JPEG[2:], False),
    "profile.jpg": (encoded(NOISE, "JPEG", icc_profile=b"rubbish"), False),
    "far.tif": (tiff_that_leads(4_000_000_000), True),
    "itself.tif": (tiff_that_leads(3), True),
    "turned.tif": (encoded(NOISE, "TIFF", exif=tiff_tags(TURN), compression="tiff_lzw"), True),
    "lab.tif": (encoded(NOISE.convert("LAB"), "TIFF"), False),
    "ink.tif": (encoded(NOISE.convert("CMYK"), "TIFF"), False),
    "clear.png": (encoded(NOISE.convert("P"), "PNG", transparency=bytes(range(200))), False),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_metadata_rejects_no_picture(tmp_path, name):
    content, is_turned = ODD[name]
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = open_rgb(tmp_path / name)
    assert (found.mode, found.size) == ("RGB", (30, 40) if is_turned else (40, 30))
    with inputs.without_warnings():
        assert not check("Bike", name, content)[0].reason


GREY = np.tile(np.linspace(20, 230, 40), (30, 1))
DEEP = {  # what the picture shows, black 0 and white 255
    "float to 255": (GREY.astype(np.float32), GREY),
    "float to 1": ((GREY / 255).astype(np.float32), GREY),
    "float from -1 to 1": (np.linspace(-1, 1, 40, dtype=np.float32).reshape(4, 10), np.linspace(0, 255, 40)),
    "float a little above 1": ((GREY / 230 * 1.02).astype(np.float32), GREY / 230 * 255),
    "8 bits in 32": (GREY.astype(np.int32), GREY),
    "10 bits in 16": ((GREY * 4).astype(np.uint16), GREY),
    "12 bits in 16": ((GREY * 16).astype(np.uint16), GREY),
    "16 bits": ((GREY * 257).astype(np.uint16), GREY),
    "whole numbers": ((GREY * 10_000).astype(np.int32), GREY / 230 * 255),
    "no number": (np.where(GREY < 30, np.nan, GREY / 255).astype(np.float32), np.where(GREY < 30, 0, GREY)),
    "infinite": (np.where(GREY > 200, np.inf, GREY / 255).astype(np.float32), np.where(GREY > 200, 255, GREY)),
    "all black": (np.zeros((30, 40), np.float32), 0 * GREY),
}


@pytest.mark.parametrize("what", DEEP)
def test_grey_of_any_depth_is_scaled_by_its_values(what):
    values, expected = DEEP[what]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = np.asarray(inputs.to_rgb(Image.fromarray(values)))
    assert (found == found[:, :, :1]).all()
    limit = 15 if what == "infinite" else 1.5  # the largest number becomes white
    np.testing.assert_allclose(found[:, :, 0].astype(float).ravel(), np.ravel(expected), atol=limit)


def without_palette() -> bytes:
    png = encoded(NOISE.convert("P"), "PNG")
    start = png.find(b"PLTE") - 4
    return png[:start] + png[start + 12 + int.from_bytes(png[start : start + 4], "big") :]


UNUSABLE = {
    "page.jpg": (b"\n<!DOCTYPE html><html>log in</html>", "a web page"),
    "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(200), "a HEIC photograph; save it as JPEG"),
    "film.jpg": (b"\0\0\0\x18ftypmp42" + bytes(200), "not an image"),
    "drawing.svg": (b'<?xml version="1.0"?>\n<!-- made -->\n<svg xmlns="x"/>', "SVG"),
    "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    "paper.jpg": (b"%PDF-1.7", "a PDF"),
    "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "deep.jxl": (b"\xff\x0a" + bytes(50), "JPEG XL"),
    "cut.jpg": (encoded(NOISE.resize((200, 200)), "JPEG")[:3000], "does not decode completely"),
    "cut.png": (encoded(NOISE, "PNG")[:1000], "does not decode completely"),
    "cut.tif": (encoded(NOISE, "TIFF")[:100], "a TIFF image that is damaged"),
    "bare.png": (without_palette(), "does not decode completely: there is no palette"),
    "empty.png": (b"", "empty file"),
    "blank.tif": (encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"), "holds a number"),
    "missing.png": (None, "cannot be read .No such file"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_picture_that_cannot_be_used(tmp_path, name):
    content, sentence = UNUSABLE[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for look in (open_rgb, lambda file: to_input(file, 8)):
        with pytest.raises(Problem, match=sentence) as problem:
            look(path)
        assert str(problem.value).startswith(name) and str(tmp_path) not in str(problem.value)
        assert "\n" not in str(problem.value)


def test_a_picture_with_too_many_pixels_or_opened_and_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "MOST_PIXELS", 1000)
    NOISE.save(tmp_path / "large.png")
    with pytest.raises(Problem, match="large.png cannot be used as a picture: 40×30 pixels, more than"):
        open_rgb(tmp_path / "large.png")
    monkeypatch.undo()
    (tmp_path / "cut.png").write_bytes(encoded(NOISE, "PNG")[:1000])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(Problem, match="^cut.png .* not decode completely"):
        to_input(image, 8)


# --- archives ---


def patched(content: bytes, local: int, central: int, value: int) -> bytes:
    """A zip with two replaced bytes, at these offsets, in its file headers."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        start = -1
        while offset and (start := content.find(signature, start + 1)) >= 0:
            changed[start + offset : start + offset + 2] = value.to_bytes(2, "little")
    return bytes(changed)


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_with_a_header(kind: bytes, size: int) -> bytes:
    """A tar.gz of a few KB with a metadata header of `size` bytes."""
    info = tarfile.TarInfo("note")
    info.type, info.size = kind, size
    first = tar_of({"first.png": picture(1)}).rstrip(b"\0")
    first += bytes(-len(first) % tarfile.BLOCKSIZE)
    return gzip.compress(first + info.tobuf(tarfile.USTAR_FORMAT) + bytes(size), 1)


ZIP = zip_of(some())
UNREADABLE = {
    "Deflate64": (patched(ZIP, 8, 10, 9), "Bike.zip is compressed with Deflate64.*use the folder"),
    "PPMd": (patched(ZIP, 8, 10, 98), "Bike.zip is compressed with PPMd.*use the folder"),
    "some method": (patched(ZIP, 8, 10, 77), "Bike.zip is compressed with method 77"),
    "a password": (patched(ZIP, 6, 8, 1), "Bike.zip is locked with a password; unpack it"),
    "a password and AES": (patched(ZIP, 8, 10, 99), "Bike.zip is locked with a password; unpack it"),
    "the last piece of a split zip": (patched(ZIP, 0, 34, 1), "Bike.zip is the last part of a split zip; unpack it"),
    "the first piece of a split zip": (b"PK\7\x08" + ZIP[:900], "but the first part of a split archive; unpack it"),
    "the beginning of a zip": (ZIP[:900], "but only the beginning of a zip; download it again"),
    "RAR": (b"Rar!\x1a\x07\x01\0" + bytes(99), "neither a zip nor a tar archive but a RAR archive; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "neither a zip nor a tar archive but a 7z archive; unpack it"),
    "a web page": (b"<!doctype html>", "but a web page, .* the address of the file itself"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a tar with a huge header": (tar_with_a_header(tarfile.XHDTYPE, 60_000_000), "has a header of 60 MB, as archive"),
    "a tar with a huge name": (tar_with_a_header(tarfile.GNUTYPE_LONGNAME, 60_000_000), "has a header of 60 MB"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_archive_that_is_not_read(workspace, tmp_path, what):
    content, sentence = UNREADABLE[what]
    put(tmp_path / "own" / "Car")
    (tmp_path / "own" / "Bike.zip").write_bytes(content)
    with pytest.raises(Problem, match=sentence) as problem:
        prepare_from(tmp_path / "own")
    assert "ZipInfo" not in str(problem.value) and "\n" not in str(problem.value)
    assert "damaged" not in str(problem.value)


def test_zstandard_is_read_or_refused_with_a_message(workspace, tmp_path):
    put(tmp_path / "own" / "Car")
    (tmp_path / "own" / "Bike.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(99))
    with pytest.raises(Problem, match="Bike.tar.zst .*(compressed with Zstandard.*use the folder|damaged)"):
        prepare_from(tmp_path / "own")


def test_odd_but_valid_archives_are_read(workspace, tmp_path):
    commented = zip_of(some(60))[:-2] + struct.pack("<H", 500) + b"c" * 500
    for name, content in {
        "Bike.txz": tar_of(some(), "w:xz"),
        "Car.TBZ2": tar_of(some(20), "w:bz2"),
        "Tram.zip": b"MZ this unpacks itself" + bytes(3000) + zip_of(some(40)),
        "Van.zip": commented,
        "Boat.tar": tar_of(some(80) | {"inner.zip": zip_of({})}),  # ends like a zip
    }.items():
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / name).write_bytes(content)
    record = prepare_from(tmp_path / "own")
    assert record.classes == ["Bike", "Boat", "Car", "Tram", "Van"] and len(record.files) == 5 * COUNT


def test_unreadable_archives_are_not_skipped(workspace, tmp_path):
    put(tmp_path / "own" / "Bike")
    put(tmp_path / "own" / "Car", 20)
    for name in ("Tram.rar", "Tram.7z", "Tram.zip.001", "Tram.z01", "Tram.tar.lz4"):
        (tmp_path / "own" / name).write_bytes(b"anything")
        with pytest.raises(Problem, match=f"{name}; unpack it with another program"):
            prepare_from(tmp_path / "own")
        (tmp_path / "own" / name).unlink()
    (tmp_path / "own" / "notes.csv.gz").write_bytes(b"anything")  # files that are not pictures are ignored
    assert prepare_from(tmp_path / "own").classes == ["Bike", "Car"]


# --- folders ---


def test_linked_folders_are_read_once_even_in_a_circle(workspace, tmp_path):
    bikes, own = put(tmp_path / "bikes"), tmp_path / "own"
    put(own / "Car", 20)
    (own / "Bike" / "more").mkdir(parents=True)
    os.symlink(bikes, own / "Bike" / "linked")
    os.symlink(put(tmp_path / "cars", 40) / "40.png", own / "Car" / "one.png")
    os.symlink(own / "Bike", own / "Bike" / "more" / "around")
    os.symlink(tmp_path / "nowhere", own / "Bike" / "nowhere.png")
    record = prepare_from(own)
    assert sorted(row.key for row in record.files) == sorted(
        [*(f"Bike/{name}" for name in some()), *(f"Car/{name}" for name in some(20)), "Car/one.png"]
    )
    assert len(list(bikes.iterdir())) == COUNT


def test_the_record_and_the_loader_see_the_same_images(workspace, own_zips):
    prepare_from(own_zips)
    bikes = workspace / "datasets" / "Train" / "Bike"
    before = {path.name for path in bikes.iterdir()}
    for number, inner in enumerate(
        ("mine.png", "sub/deep/mine too.png", ".hidden/no.png", ".hidden/sub/no.png", "sub/.git/objects/no.png")
    ):
        (bikes / inner).parent.mkdir(parents=True, exist_ok=True)
        (bikes / inner).write_bytes(picture(300 + number))
    (bikes.parent / ".ipynb_checkpoints" / "sub").mkdir(parents=True)
    (bikes.parent / ".ipynb_checkpoints" / "sub" / "no.png").write_bytes(picture(400))
    (bikes.parent / "loose.png").write_bytes(picture(401))
    pictures = Pictures(workspace / "datasets" / "Train", 8)
    known = {path for path in images_on_disk().values() if "Train" in path.parts}
    assert set(pictures.paths) == known and len(pictures.paths) == len(known)
    assert {path.name for path in known if path.parent.name != "Car"} == before | {"mine.png", "mine too.png"}
    assert pictures.classes == ["Bike", "Car"] and len(pictures.labels) == len(known)


LAYOUTS = {
    "parts": ("train/Bike train/Car test/Bike test/Car", 2),
    "parts in any case": ("Training/Bike Training/Car VALIDATION/Bike Valid/Car", 2),
    "parts in parts": ("seg_train/seg_train/Bike seg_train/seg_train/Car seg_test/seg_test/Car seg_pred/seg_pred", 2),
    "parts and something else": ("training_set/Bike training_set/Car test_set/Bike single_prediction", 2),
    "parts in a folder": ("data/train/Bike data/train/Car data/val/Bike data/val/Car", 2),
    "classes in a folder": ("Car-Bike-Dataset/Bike Car-Bike-Dataset/Car", 2),
    "two ways to write é": ("V\u00e9lo Ve\u0301lo Auto", None),
    "a train as a class": ("Train Bus", None),
}


@pytest.mark.parametrize("kind", ["folder", "archive", "archive in a folder"])
@pytest.mark.parametrize("what", LAYOUTS)
def test_folders_of_classes(workspace, tmp_path, capsys, what, kind):
    folders, classes = LAYOUTS[what]
    own = tmp_path / "own"
    for number, folder in enumerate(folders.split()):
        put(own / folder, 20 * number)
    if kind != "folder":
        content = {file.relative_to(own).as_posix(): file.read_bytes() for file in own.rglob("*.png")}
        own = write_zip(tmp_path / "given" / "data.zip", content)
        own = own.parent if kind == "archive in a folder" else own
    found = prepare_from(own)
    names = {"two ways to write é": ["Auto", "V\u00e9lo"], "a train as a class": ["Bus", "Train"]}
    assert found.classes == names.get(what, ["Bike", "Car"])
    left_out = sum("pred" in folder for folder in folders.split())
    assert len(found.files) == COUNT * (len(folders.split()) - left_out)
    if what == "parts":
        assert "merged from all parts" in capsys.readouterr().out


def test_parts_as_archives_and_parts_without_classes(workspace, tmp_path):
    for number, name in enumerate(("train", "test")):
        write_zip(tmp_path / "own" / f"{name}.zip", {f"{c}/{n}": p for c in "ab" for n, p in some(number * 20).items()})
    assert prepare_from(tmp_path / "own").classes == ["a", "b"]
    put(tmp_path / "flat" / "train")
    put(tmp_path / "flat" / "test", 20)
    with pytest.raises(Problem, match="test and train are parts .* no folder for each class"):
        prepare_from(tmp_path / "flat")


@pytest.mark.parametrize("name", ["Bike?", "Car: new", "Bike.", "Bike ", "CON", "a|b", "x" * 200])
def test_a_class_name_that_no_folder_can_have(workspace, tmp_path, name):
    put(tmp_path / "own" / name)
    put(tmp_path / "own" / "Tram", 20)
    with pytest.raises(Problem, match="cannot be the name of a folder on every computer"):
        fetch(choose(str(tmp_path / "own")), sample_images=0)


def test_a_folder_whose_name_is_not_text(workspace, tmp_path):
    put(tmp_path / "own" / "Tram", 20)
    bikes = put(tmp_path / "own" / "Bike")
    os.rename(bikes / "0.png", os.fsencode(bikes) + b"/v\xe9lo.png")
    assert "v_lo.png" in {row.name for row in prepare_from(tmp_path / "own").files}
    os.rename(bikes, os.fsencode(tmp_path / "own") + b"/V\xe9lo")
    with pytest.raises(Problem, match=r"class name 'V\?lo' cannot be"):
        prepare_from(tmp_path / "own")


def test_a_second_download_is_not_a_class(workspace, tmp_path):
    put(tmp_path / "own" / "Car")
    for name in ("Bike (1).zip", "Bike(2).zip", "Bike - Copy.zip", "Bike copy.zip"):
        write_zip(tmp_path / "own" / "Bike.zip", some(20))
        write_zip(tmp_path / "own" / name, some(20))
        with pytest.raises(Problem, match="looks like a second copy of Bike.zip"):
            prepare_from(tmp_path / "own")
        (tmp_path / "own" / name).unlink()
    write_zip(tmp_path / "own" / "Car 2.zip", some(40))  # this may be one
    assert prepare_from(tmp_path / "own").classes == ["Bike", "Car", "Car 2"]


# --- addresses ---


def called(disposition: str):
    """A server that gives the name of its file."""

    def answer(handler, content):
        start, code, headers = handler.rest(content)
        handler.send_head(code, headers | {"Content-Disposition": disposition})
        handler.wfile.write(content[start:])

    return answer


def test_the_server_gives_the_names_of_its_files(workspace, server):
    one = server.serve("uc?id=1", zip_of(some()), called('attachment; filename="Bike.zip"'))
    two = server.serve("uc?id=2", zip_of(some(20)), called("attachment; filename*=UTF-8''V%C3%A9lo%20d%27or.zip"))
    three = server.serve("content", zip_of(some(40)))
    files = fetch(choose(f"{one} {two} {three}#Tram.zip"), sample_images=0)
    assert [each.class_name for each in files] == ["Bike", "V\u00e9lo d'or", "Tram"]
    assert [each.address for each in files] == [one, two, f"{three}#Tram.zip"]
    server.requests.clear()
    assert fetch(choose(f"{one} {two} {three}#Tram.zip"), sample_images=0) == files
    assert not server.requests  # a second run needs no server


def test_addresses_of_files_with_the_same_name_or_of_pages(workspace, server, tmp_path):
    one, two = (server.serve(f"uc?id={i}", zip_of(some(20 * i))) for i in range(2))
    with pytest.raises(Problem, match=r"the same name \(uc, uc\).*uc\?id=0#Bike.zip"):
        fetch(choose(f"{one} {two}"), sample_images=0)
    fetch(choose(f"{one}#Bike.zip {two}#Car.zip"), sample_images=0)
    server.serve("uc?id=1", b"<html>Too many people have looked at this file</html>")
    with pytest.raises(Problem, match="sent as Tram.zip is not a zip or tar archive but a web page"):
        fetch(choose(f"{one}#Bike.zip {two}#Tram.zip"), sample_images=0)
    up = server.serve("up", zip_of(some()), called('attachment; filename="../../../up.zip"'))
    fetch(choose(f"{one}#Bike.zip {up}"), sample_images=0)
    assert [path.parent.parent.name for path in tmp_path.rglob("up.zip")] == ["archives"]


def test_an_address_that_leads_to_a_page(workspace, server):
    def page(handler, content):
        handler.send_head(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": 6})
        handler.wfile.write(b"<html>")

    one, two = server.serve("view", b"", page), server.serve("open?id=1", b"", page)
    with pytest.raises(Problem, match=r"/view leads to a web page, not to a file \(200 OK\)"):
        fetch(choose(f"{one} {two}"), sample_images=0)
    with pytest.raises(Problem, match=r"nothing leads to a web page, not to a file \(404 Not Found\)"):
        fetch(choose(f"{server.address}/nothing"), sample_images=0)
    one = server.serve("view", zip_of(some()), called("attachment; filename=Bike.zip"))  # nothing was saved for it
    two = server.serve("open?id=1", zip_of(some(20)), called("attachment; filename=Car.zip"))
    assert {each.class_name for each in fetch(choose(f"{one} {two}"), sample_images=0)} == {"Bike", "Car"}


def test_one_address_of_everything(workspace, server):
    folders = ("train/Bike", "train/Car", "val/Bike", "val/Car")
    inside = {f"{folder}/{number}.png": picture(number) for folder in folders for number in range(2)}
    address = server.serve("download/owner/set", zip_of(inside), called("attachment; filename=archive.zip"))
    assert {each.class_name for each in fetch(choose(address), sample_images=0)} == {"Bike", "Car"}


@pytest.mark.parametrize(
    "page, file",
    [
        (
            "https://drive.google.com/file/d/1a_B-c/view?usp=sharing",
            "https://drive.usercontent.google.com/download?id=1a_B-c&export=download&confirm=t",
        ),
        (
            "https://drive.google.com/uc?export=download&id=1a_B-c",
            "https://drive.usercontent.google.com/download?id=1a_B-c&export=download&confirm=t",
        ),
        ("https://www.dropbox.com/s/x1/Bike.zip?dl=0", "https://dl.dropboxusercontent.com/s/x1/Bike.zip?dl=0"),
        ("https://github.com/a/b/blob/main/Bike.zip", "https://github.com/a/b/raw/main/Bike.zip"),
        (
            "https://huggingface.co/datasets/a/b/blob/main/c.zip",
            "https://huggingface.co/datasets/a/b/resolve/main/c.zip",
        ),
        ("https://gitlab.com/a/b/-/blob/main/c.zip", "https://gitlab.com/a/b/-/raw/main/c.zip"),
        (
            "https://www.kaggle.com/datasets/owner/set?select=a",
            "https://www.kaggle.com/api/v1/datasets/download/owner/set",
        ),
        ("https://example.org/blob/Bike.zip", "https://example.org/blob/Bike.zip"),
    ],
)
def test_pages_that_people_share_lead_to_the_file(page, file):
    assert of_the_file(page) == file


# --- the disk ---


def test_the_disk_that_is_written_to_is_measured(workspace, server, tmp_path, monkeypatch):
    address = server.serve("Bike.zip", ZIP)
    monkeypatch.setattr(settings, "ARCHIVES", tmp_path / "elsewhere")
    free = {"elsewhere": 100, "workspace": 10**12}

    def disk_usage(path):
        return type("usage", (), {"free": next(size for name, size in free.items() if name in str(path))})()

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    with pytest.raises(Problem, match="There is no room for downloading Bike.zip"):
        fetch(choose(f"{address} {address}#Car.zip"), sample_images=0)
    free |= {"elsewhere": 10**12, "workspace": 100}
    assert len(fetch(choose(f"{address} {address}#Car.zip"), sample_images=0)) == 2


@pytest.mark.parametrize("place", ["workspace", "workspace/datasets", "workspace/datasets/archives"])
def test_a_file_where_a_folder_belongs(workspace, tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("notes")
    with pytest.raises(Problem, match=f"{Path(place).name}.* cannot be written .*RECOGNIZER_WORKSPACE") as problem:
        prepare("sample", sample_images=2, val_share=0.2, test_share=0.2, seed=0)
    assert str(tmp_path) not in str(problem.value)
    assert (tmp_path / place).read_text() == "notes"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_disk_that_cannot_be_written_to(workspace, number):
    with pytest.raises(Problem, match="datasets/new cannot be written"), room_on_disk("trying"):
        raise OSError(number, os.strerror(number), str(workspace / "datasets" / "new"))
    with pytest.raises(OSError, match="elsewhere"), room_on_disk("trying"):
        raise OSError(number, os.strerror(number), "/elsewhere")


def test_a_tar_that_is_damaged_in_the_middle_does_not_count_as_complete(workspace, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(10):
            content = picture(number)
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(content)
            if number == 5:
                middle = archive.offset
            archive.addfile(info, io.BytesIO(content))
    damaged = bytearray(buffer.getvalue())
    damaged[middle + 148 : middle + 156] = b"99999999"  # the checksum of a header
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "Bike.tar").write_bytes(damaged)
    write_zip(tmp_path / "own" / "Car.zip", {f"{number}.png": picture(50 + number) for number in range(10)})
    with pytest.raises(Problem, match="Bike.tar is damaged"):
        prepare(str(tmp_path / "own"), sample_images=0, val_share=0.2, test_share=0.2, seed=0)


def test_an_archive_beside_the_folder_that_was_unpacked_from_it_is_refused(tmp_path):
    for name in ("Bike", "Car"):
        write_zip(tmp_path / "own" / f"{name}.zip", {"1.png": picture(1)})
    (tmp_path / "own" / "Bike").mkdir()
    (tmp_path / "own" / "Bike" / "1.png").write_bytes(picture(1))
    with pytest.raises(Problem, match=r"Bike.zip and the folder Bike are the same class"):
        fetch(choose(str(tmp_path / "own")), sample_images=0)


@pytest.mark.parametrize("dataset", ["x" * 5000, "a\0b"])
def test_an_impossible_folder_name_gives_a_message(dataset):
    with pytest.raises(Problem, match="is neither a folder nor one of auto, sample"):
        choose(dataset)
