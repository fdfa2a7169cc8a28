"""Bad input from the web: every kind beside the message or the result to expect."""

import errno
import hashlib
import io
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from torchvision.datasets.folder import IMG_EXTENSIONS

from recognizer.data import archives, downloads, prepare, read_record, split_images
from recognizer.data.downloads import Download, download
from recognizer.settings import Problem

from . import server as web
from .conftest import picture, write_zip

GOOD = 10  # images of each class beside the bad one


def prepare_from(dataset: Path | str):
    return prepare(str(dataset), sample_images=0, val_share=0.2, test_share=0.2, seed=0)


def good(first: int = 0) -> dict[str, bytes]:
    return {f"good_{i}.png": picture(first + i) for i in range(GOOD)}


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(5).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def png_that_declares(width: int, height: int) -> bytes:
    """A PNG of 70 bytes whose header promises a huge image."""
    content = bytearray(encoded(Image.new("1", (1, 1)), "PNG"))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def with_odd_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a description that is cut off below"
    return encoded(noise(), "JPEG", exif=exif.tobytes()[:-20])


def upright(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(noise(), "JPEG", exif=exif)


# --- single files among good ones in Bike.zip: the reason why they are left out, or None if they are used ---

FILES = {
    "empty.jpg": (b"", "empty file"),
    "page.jpg": (b"<!DOCTYPE html><html>please log in</html>", "not an image"),
    "notes.txt": (b"bikes of 2019", "not an image"),
    "labels.json": (b"{}", "not an image"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    "film.png": (b"\x00\x00\x00\x18ftypmp42" + bytes(200), "not an image"),
    "phone.jpg": (b"\x00\x00\x00\x18ftypheic" + bytes(200), "HEIC"),
    "cut.jpg": (encoded(noise(size=(200, 200)), "JPEG")[:3000], "does not decode completely"),
    "cut.png": (encoded(noise(), "PNG")[:500], "does not decode completely"),
    "cut.gif": (encoded(noise(), "GIF")[:1500], "does not decode completely"),
    "head.jpg": (encoded(noise(), "JPEG")[:11], "not an image|does not decode"),
    "flipped.png": (
        encoded(noise(), "PNG")[:60] + b"\xff\xff\xff" + encoded(noise(), "PNG")[63:],
        "does not decode",
    ),
    "bomb.png": (png_that_declares(60_000, 60_000), "more pixels than decode safely|more than decode safely"),
    "wide.png": (png_that_declares(10_000, 9_500), "10000×9500 pixels, more than decode safely"),  # Pillow warns
    "long.png": (png_that_declares(2_000_000, 60), "more than decode safely"),
    "spacer.gif": (encoded(Image.new("P", (1, 1)), "GIF"), "only 1×1 pixels"),
    "text.png": (
        encoded(
            noise(),
            "PNG",
            pnginfo=(lambda i: i.add_text("a", "x" * 2_000_000, zip=True) or i)(PngImagePlugin.PngInfo()),
        ),
        None,
    ),
    "zeros.jpg": (bytes(5000), "not an image"),
    "webp.jpg": (encoded(noise(), "WEBP"), None),
    "palette.png": (encoded(noise("P"), "PNG", transparency=bytes(range(200))), None),
    "clear.png": (encoded(noise("RGBA"), "PNG"), None),
    "grey.jpg": (encoded(noise("L"), "JPEG"), None),
    "greyclear.png": (encoded(noise("LA"), "PNG"), None),
    "ink.jpg": (encoded(noise("CMYK"), "JPEG"), None),
    "bits.png": (encoded(noise("1"), "PNG"), None),
    "deep.png": (
        encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "PNG"),
        None,
    ),
    "float.tif": (
        encoded(Image.fromarray(np.random.default_rng(0).random((30, 40), np.float32)), "TIFF"),
        None,
    ),
    "moving.gif": (encoded(noise("P"), "GIF", save_all=True, append_images=[noise("P").rotate(90)]), None),
    "moving.webp": (encoded(noise(), "WEBP", save_all=True, append_images=[noise().rotate(90)]), None),
    "turned.jpg": (upright(6), None),
    "oddexif.jpg": (with_odd_exif(), None),
    "noending": (encoded(noise(), "JPEG"), None),
    "wrong.txt": (encoded(noise(), "JPEG"), None),
}


PREPARE = """
import warnings
from recognizer.data import prepared
prepared()
assert not [each for each in warnings.filters if "PIL" in str(each)], "a filter was left behind"
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """All of FILES prepared in one separate process: rows by names in the archive, the folder, standard error."""
    folder = tmp_path_factory.mktemp("files")
    write_zip(folder / "own" / "Bike.zip", good() | {name: content for name, (content, _) in FILES.items()})
    write_zip(folder / "own" / "Car.zip", good(50))
    done = subprocess.run(
        [sys.executable, "-c", PREPARE],
        env=os.environ | {"RECOGNIZER_WORKSPACE": str(folder), "DATASET": str(folder / "own")},
        capture_output=True,
        text=True,
    )
    record = read_record(folder / "datasets" / "split.json")
    rows = {row.origin.removeprefix("Bike.zip/"): row for row in record.files + record.rejected}
    return rows, folder / "datasets", done.stderr


@pytest.mark.parametrize("name", FILES)
def test_one_file(read, name):
    rows, datasets, _ = read
    content, reason = FILES[name]
    row = rows[name]
    if reason:
        assert any(part in row.reason for part in reason.split("|")), row.reason
        assert (datasets / "Rejected" / row.key).read_bytes() == content
    else:
        assert not row.reason
        kept = datasets / row.split / row.key
        assert kept.suffix in IMG_EXTENSIONS
        with Image.open(kept) as image:
            image.load()
            assert image.size == (40, 30)


def test_no_warnings_reach_the_user(read):
    assert read[2] == ""


# --- names inside archives: under which name the image is kept ---

NAMES = {
    "../../../escaped.png": "escaped.png",
    "/absolute.png": "absolute.png",
    "C:\\Users\\me\\windows.png": "windows.png",
    "sub/../up.png": "up.png",
    "./here.png": "here.png",
    "sub/sub/sub/deep.png": "deep.png",
    "Vélo d'été – 自転車.png": "Vélo d'été – 自転車.png",
    "Ve\u0301lo.png": "Vélo.png",  # as macOS writes it
    "what?*<>|.png": "what_____.png",
    "con.png": "_con.png",
    "trailing. .png": "trailing. .png",
    "a" * 300 + ".png": "a" * 116 + ".png",
    "tab\there.png": "tab_here.png",
}
LEFT_OUT = ["__MACOSX/._good_1.png", "Thumbs.db", "sub/.DS_Store", ".hidden/x.png", "desktop.ini"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_stay_in_their_folder(workspace, tmp_path, kind):
    members = good() | {name: picture(200 + i) for i, name in enumerate(NAMES)}
    members |= {name: picture(300 + i) for i, name in enumerate(LEFT_OUT)}
    write_zip(tmp_path / "own" / "Car.zip", good(50))
    if kind == "zip":
        write_zip(tmp_path / "own" / "Bike.zip", members)
    else:
        (tmp_path / "own" / "Bike.tar.gz").write_bytes(packed_tar(members))
    before = {p for p in tmp_path.rglob("*") if workspace not in p.parents}
    record = prepare_from(tmp_path / "own")
    assert {p for p in tmp_path.rglob("*") if workspace not in p.parents} - {workspace} == before
    kept = {row.sha256: row.name for row in record.files}
    for i, (inner, name) in enumerate(NAMES.items()):
        assert kept[sha256(picture(200 + i))] == name, inner
    assert not record.rejected and len(record.files) == 2 * GOOD + len(NAMES)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def packed_tar(members: dict[str, bytes], mode: str = "w:gz", extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info in extra:
            archive.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_names_that_differ_in_case_or_not_at_all(workspace, tmp_path):
    same = {
        "a/IMG.png": picture(1),
        "a/img.png": picture(2),
        "b/Img.png": picture(3),
        "c/IMG.png": picture(1),
    }
    same |= {"V\u00e9lo.png": picture(4), "x/Ve\u0301lo.png": picture(5)}
    write_zip(tmp_path / "own" / "Bike.zip", good(20) | same)
    with warnings.catch_warnings():  # zipfile warns about what this test does on purpose
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "own" / "Bike.zip", "a") as archive:
            archive.writestr("twice.png", picture(6))
            archive.writestr("twice.png", picture(7))
    write_zip(tmp_path / "own" / "Car.zip", good(50))
    names = [row.key.casefold() for row in prepare_from(tmp_path / "own").files]
    assert len(set(names)) == len(names) == 2 * GOOD + 8


def test_names_that_are_not_text(workspace, tmp_path):
    members = good() | {b"v\xe9lo.png".decode("utf-8", "surrogateescape"): picture(99)}
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "Bike.tar").write_bytes(packed_tar(members, "w"))
    write_zip(tmp_path / "own" / "Car.zip", good(50))
    assert "v_lo.png" in {row.name for row in prepare_from(tmp_path / "own").files}


# --- archives with false contents: the message, or the files that are left out ---


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_links_and_devices_are_not_followed(workspace, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(1))
    extra = (
        link("link.png", tarfile.SYMTYPE, str(secret)),
        link("hard.png", tarfile.LNKTYPE, "../../secret.png"),
        link("pipe.png", tarfile.FIFOTYPE, ""),
        link("device.png", tarfile.CHRTYPE, ""),
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "Bike.tar.gz").write_bytes(packed_tar(good(20), extra=extra))
    write_zip(tmp_path / "own" / "Car.zip", good(50))
    with zipfile.ZipFile(tmp_path / "own" / "Car.zip", "a") as archive:
        info = zipfile.ZipInfo("link.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(secret))
    record = prepare_from(tmp_path / "own")
    assert {(row.key, row.reason) for row in record.rejected} == {
        ("Bike/link.png", "a link, not a file"),
        ("Bike/hard.png", "a link, not a file"),
        ("Car/link.png", "a link, not a file"),
    }
    assert sha256(picture(1)) not in {row.sha256 for row in record.files}


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def flipped(content: bytes) -> bytes:
    return content[:200] + bytes([content[200] ^ 0xFF]) + content[201:]


def without_a_list() -> bytes:
    """A zip whose list of contents is not where its end record says."""
    content = zip_of(good())
    return content.replace(b"PK\x01\x02", b"XX\x01\x02")


def locked() -> bytes:
    """A zip whose flags say that it is encrypted."""
    content = bytearray(zip_of(good()))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + offset] |= 1
    return bytes(content)


def overstated() -> bytes:
    """A zip that declares more than it holds."""
    content = bytearray(zip_of(good(), zipfile.ZIP_DEFLATED))
    start = content.find(b"PK\x01\x02")
    content[start + 24 : start + 28] = (150_000_000).to_bytes(4, "little")
    return bytes(content)


def understated() -> bytes:
    content = bytearray(zip_of(good() | {"big.png": bytes(100_000)}, zipfile.ZIP_DEFLATED))
    start = content.rfind(b"PK\x01\x02")
    content[start + 24 : start + 28] = (100).to_bytes(4, "little")
    return bytes(content)


def nested(depth: int, content: bytes) -> bytes:
    for _ in range(depth):
        content = zip_of({"inner.zip": content})
    return content


ARCHIVES = {  # the content of Bike.zip, and part of the message
    "a flipped byte": (flipped(zip_of(good())), "Bike.zip is damaged or locked"),
    "half a zip": (zip_of(good())[:1500], "Bike.zip is neither a zip nor a tar"),
    "half a tar.gz": (packed_tar(good())[:1500], "Bike.zip is damaged or locked"),
    "half a tar": (packed_tar(good(), "w")[:2000], "Bike.zip is damaged or locked"),
    "a flipped byte in a tar.gz": (flipped(packed_tar(good())), "Bike.zip is damaged or locked"),
    "a web page": (b"<html>log in</html>", "Bike.zip is neither a zip nor a tar"),
    "nothing": (b"", "Bike.zip is neither a zip nor a tar"),
    "another archive": (b"7z\xbc\xaf\x27\x1c" + bytes(100), "Bike.zip is neither a zip nor a tar"),
    "no list of contents": (without_a_list(), "Bike.zip is damaged or locked"),
    "a password": (locked(), "Bike.zip is locked with a password; unpack it"),
    "an empty zip": (zip_of({}), "No image of Bike was found in Bike.zip;"),
    "only clutter": (zip_of({"Thumbs.db": b"x", ".DS_Store": b"x"}), "No image of Bike was found"),
    "only text": (zip_of({"a.txt": b"x"}), r"No image of Bike .* left out, such as a.txt: not an image"),
    "a bomb": (zip_of({"a.png": bytes(3_000_000)}, zipfile.ZIP_DEFLATED), "as archive bombs do"),
    "a bomb in a tar.gz": (packed_tar({"a.png": bytes(3_000_000)}), "as archive bombs do"),
    "a bomb in a zip in a zip": (
        zip_of({"b.zip": zip_of({"a.png": bytes(3_000_000)}, zipfile.ZIP_DEFLATED)}),
        "as archive bombs do",
    ),
    "more declared than held": (overstated(), "as archive bombs do"),
    "less declared than held": (understated(), "Bike.zip is damaged or locked"),
    "archives without end": (nested(5, zip_of(good())), "archives nested more than 3 deep"),
    "a flipped byte in a tar.xz": (
        flipped(packed_tar(good() | {"z.bin": random.Random(0).randbytes(300_000)}, "w:xz")[::-1])[::-1],
        "Bike.zip is damaged or locked",
    ),
    "a bomb in a tar.gz that is passed over": (
        packed_tar(good() | {"__MACOSX/a.png": bytes(3_000_000)}),
        "as archive bombs do",
    ),
    "a broken one inside": (
        zip_of(good() | {"more.tar.gz": b"\x1f\x8b broken"}),
        "Bike.zip is damaged or locked",
    ),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_with_false_contents(workspace, own_zips, tmp_path, monkeypatch, what):
    prepare_from(own_zips)
    before = state_of(workspace)
    monkeypatch.setattr(archives, "HARMLESS", 1_000_000)  # smaller limits
    content, sentence = ARCHIVES[what]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "Bike.zip").write_bytes(content)
    write_zip(tmp_path / "bad" / "Car.zip", good(50))
    with pytest.raises(Problem, match=sentence) as problem:
        prepare_from(tmp_path / "bad")
    assert "\n" not in str(problem.value) and str(tmp_path) not in str(problem.value)
    assert state_of(workspace) == before


def state_of(workspace: Path) -> dict[str, bytes]:
    return {p.relative_to(workspace).as_posix(): p.read_bytes() for p in workspace.rglob("*") if p.is_file()}


def test_archives_in_archives_and_single_files_that_are_too_large(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 100_000)
    huge = bytes(random.Random(0).randbytes(100_001))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "Bike.zip").write_bytes(nested(2, zip_of(good() | {"huge.png": huge})))
    write_zip(tmp_path / "own" / "Car.zip", good(50))
    record = prepare_from(tmp_path / "own")
    assert [(row.name, row.reason) for row in record.rejected] == [("huge.png", "larger than 0 MB")]
    assert len(record.files) == 2 * GOOD


# --- downloads: what servers do, and the result ---

BIKES = zip_of({f"bike_{i}.png": picture(i, size=(80, 60)) for i in range(GOOD)})
OTHER = zip_of({f"bike_{i}.png": picture(900 + i, size=(80, 60)) for i in range(GOOD)})
half, whole = web.breaks_off(0.5), web.whole

ANSWERS = {  # one answer per request; None if the file arrives, otherwise part of the message
    "all is well": ([whole], None),
    "breaks off, then goes on": ([half, whole], None),
    "breaks off again and again": ([web.breaks_off(0.3)] * 4, None),
    "breaks off often, but every request brings something": ([web.breaks_off(0.1)] * 9 + [whole], None),
    "breaks off before anything comes": ([web.breaks_off(0), whole], None),
    "breaks off and cannot resume": ([web.without_ranges(half), web.without_ranges()], None),
    "breaks off for ever": ([web.without_ranges(half)], "interrupted the download .* What has arrived is kept"),
    "the file changes in between": ([half, web.sends(OTHER)], None),
    "sends another part": ([half, web.wrong_range, whole], None),
    "announces too much": ([web.announces(1.5)], "interrupted the download"),
    "announces too little": ([web.announces(0.5)], "neither|not a zip or tar"),
    "announces too much, once": ([web.announces(1.5), whole], None),
    "no length at all": ([web.in_chunks], None),
    "404": ([web.status(404)], "answered «404 Not Found» for Bike.zip"),
    "403": ([web.status(403)], "answered «403 Forbidden»"),
    "429, then well": ([web.status(429), web.status(429, Retry_After="0"), whole], None),
    "429 for ever": ([web.status(429)], "answered «429 Too Many Requests»"),
    "429 for an hour": ([web.status(429, Retry_After="3600")], "asks us to come back in 3600 s"),
    "429 until a date": ([web.status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), whole], None),
    "503, then well": ([web.status(503), whole], None),
    "521, then well": ([web.status(521), whole], None),
    "breaks off without ranges, ever a little later": (
        [web.without_ranges(web.breaks_off(share)) for share in (0.2, 0.9, 0.2, 0.9, 0.2, 0.9)],
        "interrupted the download",
    ),
    "500 for ever": ([web.status(500)], "answered «500"),
    "a web page": ([web.sends(b"<html>please log in</html>")], "not a zip or tar archive"),
    "nothing": ([web.sends(b"")], "not a zip or tar archive"),
    "half an archive, as whole": ([web.sends(BIKES[:2000])], "not a zip or tar archive"),
    "half a tar.gz, as whole": ([web.sends(packed_tar(good())[:1500])], "damaged"),
    "a flipped byte": ([web.sends(flipped(BIKES))], "damaged"),
    "slow drip": ([web.drips], "became too slow"),
    "slow drip, then well": ([web.drips, whole], None),
    "hangs": ([web.hangs], "interrupted the download .ReadTimeoutError"),
    "hangs, then well": ([web.hangs, whole], None),
    "sends us in circles": (
        [web.status(302, Location="/Bike.zip")],
        "cannot be downloaded: Exceeded 30 redirects",
    ),
}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(downloads, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.4)
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    monkeypatch.setattr(downloads, "LEAST_BYTES", 5000)


@pytest.mark.parametrize("what", ANSWERS)
def test_a_server_that(workspace, server, tmp_path, quick, what):
    answers, sentence = ANSWERS[what]
    address = server.serve("Bike.zip", BIKES, *answers)
    path = tmp_path / "got" / "Bike.zip"
    if sentence is None:
        download(Download(address, None, "Bike.zip"), path)
        assert path.read_bytes() in (BIKES, OTHER)
        assert {p.name for p in path.parent.iterdir()} == {"Bike.zip", "Bike.zip.sha256"}
        return
    with pytest.raises(Problem, match=sentence) as problem:
        download(Download(address, None, "Bike.zip"), path)
    assert "\n" not in str(problem.value)
    assert not path.exists()
    server.serve("Bike.zip", BIKES)  # once the server works again, a second run succeeds
    assert download(Download(address, None, "Bike.zip"), path).read_bytes() == BIKES


def test_killed_between_the_last_byte_and_the_name(workspace, server, tmp_path, quick):
    address = server.serve("Bike.zip", BIKES)
    (tmp_path / "Bike.zip.part").write_bytes(BIKES)
    downloads._tag_file(tmp_path / "Bike.zip.part").write_text(web.etag(BIKES))
    assert download(Download(address, None, "Bike.zip"), tmp_path / "Bike.zip").read_bytes() == BIKES
    assert [headers.get("Range") for _, headers in server.requests] == [f"bytes={len(BIKES)}-"]


def test_what_has_arrived_is_not_fetched_again(workspace, server, tmp_path, quick):
    address = server.serve("Bike.zip", BIKES, half, whole)
    download(Download(address, None, "Bike.zip"), tmp_path / "Bike.zip")
    (_, first), (_, second) = server.requests
    assert "Range" not in first
    assert second["Range"] == f"bytes={len(BIKES) // 2}-" and second["If-Range"] == web.etag(BIKES)


def test_checksums(workspace, server, tmp_path, quick, capsys):
    address = server.serve("Bike.zip", BIKES)
    path = tmp_path / "Bike.zip"
    with pytest.raises(Problem, match="Bike.zip was not used, .* not the 0000.* that 127.0.0.1:.* publishes"):
        download(Download(address, "sha256:" + "0" * 64, "Bike.zip"), path)
    assert not path.exists()
    download(Download(address, f"sha256:{sha256(BIKES)}", "Bike.zip"), path)

    path.unlink()
    server.serve("Bike.zip", OTHER)
    capsys.readouterr()
    download(Download(address, None, "Bike.zip"), path)
    assert "differs from what 127.0.0.1" in capsys.readouterr().out

    path.write_bytes(BIKES)
    with pytest.raises(Problem, match="has changed since it was downloaded"):
        download(Download(address, None, "Bike.zip"), path)
    (tmp_path / "Bike.zip.sha256").unlink()
    assert download(Download(address, None, "Bike.zip"), path).read_bytes() == BIKES
    (tmp_path / "Bike.zip.sha256").unlink()
    with pytest.raises(Problem, match="Delete Bike.zip, which was put there by hand"):
        download(Download(address, "sha256:" + "0" * 64, "Bike.zip"), path)


# --- a full disk ---


def test_no_room_for_a_download(workspace, server, tmp_path, quick, monkeypatch):
    address = server.serve("Bike.zip", BIKES)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 100})())
    with pytest.raises(Problem, match="no room for downloading Bike.zip: it takes 0 MB, but only 0 MB are free"):
        download(Download(address, None, "Bike.zip"), tmp_path / "Bike.zip")


def test_the_disk_fills_up_while_extracting(workspace, own_zips, tmp_path, monkeypatch):
    prepare_from(own_zips)
    before = state_of(workspace)
    write_zip(tmp_path / "other" / "Bike.zip", good(20))
    write_zip(tmp_path / "other" / "Car.zip", good(50))
    real, left = Path.write_bytes, iter(range(8))

    def write_bytes(path, content):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(Problem, match="The disk filled up while extracting"):
            prepare_from(tmp_path / "other")
    assert state_of(workspace) == before
    assert len(prepare_from(tmp_path / "other").files) == 2 * GOOD


# --- too little ---

LITTLE = {
    "one class": ({"Bike.zip": good()}, "has 1 class"),
    "no class": ({}, "has 0 class"),
    "an unknown kind of archive": ({"Bike.rar": {}, "Car.rar": {}}, "holds 0 readable class"),
    "an empty class": ({"Bike.zip": good(), "Car.zip": {}}, "No image of Car"),
    "one image": ({"Bike.zip": good(), "Car.zip": {"a.png": picture(1)}}, r"Car has 1 image\(s\), too few"),
    "two images": (
        {"Bike.zip": good(), "Car.zip": {f"{i}.png": picture(i) for i in (1, 2)}},
        "Car has 2 image",
    ),
    "ten times the same": (
        {"Bike.zip": good(), "Car.zip": {f"{i}.png": picture(1) for i in range(10)}},
        r"Car has 10 image\(s\) \(1 different picture\(s\)\), too few .* none would be in",
    ),
    "names that differ in case": (
        {"Bike.zip": good(), "bike.zip": good(50)},
        "differ only in upper and lower case",
    ),
}


@pytest.mark.parametrize("what", LITTLE)
def test_too_little(workspace, tmp_path, what):
    zips, sentence = LITTLE[what]
    (tmp_path / "own").mkdir()
    for name, members in zips.items():
        write_zip(tmp_path / "own" / name, members)
    with pytest.raises(Problem, match=sentence) as problem:
        prepare_from(tmp_path / "own")
    assert "\n" not in str(problem.value)


def test_a_class_or_all_images_deleted_by_hand(workspace, own_zips):
    prepare_from(own_zips)
    for split in ("Train", "Val", "Test"):
        shutil.rmtree(workspace / "datasets" / split / "Car")
    with pytest.raises(Problem, match="images of Bike only"):
        split_images()
    for split in ("Train", "Val", "Test"):
        shutil.rmtree(workspace / "datasets" / split)
    with pytest.raises(Problem, match="run notebook 01 first"):
        split_images()
    assert len(prepare_from(own_zips).files) == 40


def test_a_file_that_is_not_a_record(workspace, own_zips):
    prepare_from(own_zips)
    path = workspace / "datasets" / "split.json"
    for text in ("", "{}", "[1]", path.read_text()[:-20], json.dumps({"dataset": "x"})):
        path.write_text(text)
        with pytest.raises(Problem, match="split.json cannot be read"):
            read_record()
