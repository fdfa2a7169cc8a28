"""Download a file completely, check it, and resume an interrupted download where it stopped."""

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from ..progress import progress_bar
from ..settings import Problem, parameter, room_on_disk, shown
from .archives import check_whole, is_archive, what_instead

CONNECT_SECONDS, READ_SECONDS = 5, 60
ATTEMPTS = 5
FIRST_PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
LONGEST_PAUSE = 60  # the longest wait that a server may ask for, in seconds
LEAST_BYTES = 50_000  # must arrive within READ_SECONDS; a slower download counts as interrupted
CHUNK = 1 << 18  # bytes

BUSY = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Download:
    """One file on the web: an archive, or with `is_archive=False` anything else.

    `checksum` is 'md5:…' or 'sha256:…', or the first digits of one, or None where its publisher gives none. `instead`
    says what to do without the file.
    """

    url: str
    checksum: str | None
    file_name: str
    is_archive: bool = True
    instead: str = "work offline with DATASET=sample"


class _TryAgain(Exception):
    """This attempt failed, but the next may succeed. `pause`: how many seconds the server asks us to wait, if any."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


def reachable(url: str) -> bool:
    """Whether a server answers at all. Any answer counts, even an error; no answer means that we are offline."""
    try:
        requests.head(url, timeout=CONNECT_SECONDS)
        return True
    except requests.exceptions.SSLError:  # a subclass of ConnectionError, but the server did answer
        return True
    except (requests.ConnectionError, requests.Timeout):
        return False


def download(wanted: Download, path: Path) -> Path:
    """Fetch `wanted` to `path`, with a progress bar. A file that is already there is checked, not fetched again.

    The file is called `<name>.part` until it is complete, matches its published checksum (if any), and, if it is an
    archive, can be read to its last byte. Its SHA-256 is kept beside it as `<name>.sha256`, in the format of the
    program sha256sum. A later download that differs from the first one is reported.
    Raises `Problem` if the file cannot be downloaded, is not what was published, or changed on disk.
    """
    part = path.with_name(f"{path.name}.part")
    if path.exists():
        _forget(part)  # a run that was killed may have left it
        _check_kept(wanted, path)
        return path
    _receive(wanted, part)
    try:
        digest = _verified(wanted, part, "Run again. If this repeats, it was changed on the server: do not trust it.")
    except Problem:
        _forget(part)
        raise
    before = _noted_digest(path)
    if before and before != digest and not wanted.checksum:
        print(
            f"{path.name} differs from what {_host(wanted)} sent the first time: its SHA-256 was {before[:12]}… and is "
            f"now {digest[:12]}…. It may have been updated or tampered with. Results will differ from earlier ones."
        )
    _note_digest(path, digest, part)
    os.replace(part, path)
    _forget(part)
    return path


def file_digest(path: Path, kind: str = "sha256") -> str:
    """The digest of a file's content, in hexadecimal; `kind` is 'sha256' or 'md5'."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _check_kept(wanted: Download, path: Path) -> None:
    """Raise `Problem` unless `path` is what was downloaded or, if it was put there by hand, what was published."""
    before = _noted_digest(path)
    is_unchanged = before and _note(path).stat().st_mtime_ns == path.stat().st_mtime_ns
    if is_unchanged and not parameter("VERIFY", False):
        return
    digest = file_digest(path)
    if before and before != digest:
        raise Problem(
            f"{shown(path)} has changed since it was downloaded. Delete it to download it again. If you changed it, "
            f"delete {path.name}.sha256 beside it to use it as it is."
        )
    if not before:
        _verified(wanted, path, f"Delete {shown(path)}, which was put there by hand, and run again.")
        _note_digest(path, digest, path)
    elif not is_unchanged:
        with contextlib.suppress(OSError):  # the archives may be shared and read-only
            _note_time(path, path)


def _receive(wanted: Download, part: Path) -> None:
    """Download `part` completely, in several attempts if needed. The count restarts when new bytes have arrived."""
    attempt, largest_size = 0, 0
    while True:
        try:
            with room_on_disk(f"downloading {wanted.file_name}", part.parent):
                _receive_rest(wanted, part)
            return
        except _TryAgain as failure:
            size = part.stat().st_size if part.exists() else 0
            attempt = 1 if size > largest_size + LEAST_BYTES else attempt + 1
            largest_size, reason = max(largest_size, size), str(failure)
            pause = max(failure.pause, FIRST_PAUSE * 2 ** (attempt - 1))
            if attempt == ATTEMPTS or pause > LONGEST_PAUSE:
                wait = f" and asks us to come back in {pause:.0f} s" if pause > LONGEST_PAUSE else ""
                raise Problem(
                    f"{wanted.file_name} could not be downloaded: {_host(wanted)} {failure}{wait}. What has "
                    f"arrived is kept: run again to continue from there, or {wanted.instead}."
                ) from failure
        print(f"{_host(wanted)} {reason}; trying again in {pause:.0f} s.")
        time.sleep(pause)


def _receive_rest(wanted: Download, part: Path) -> None:
    """Send one request for what `part` still lacks. Raises `_TryAgain` if another request may help."""
    tag = _tag_file(part)
    start = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:  # the rest, or the whole file if it has changed on the server
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text("utf-8")}
    try:
        with requests.get(
            wanted.url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)
        ) as response:
            _check_answer(wanted, response)
            if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
                return  # the earlier run had already received all of it
            if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                if response.status_code in (206, 416):
                    _forget(part)
                    raise _TryAgain("could not resume the download")
                start = 0
                _begin(part, response)
            rest = int(response.headers.get("Content-Length", 0))
            with room_on_disk(f"downloading {wanted.file_name}", part.parent, needed=rest):
                _append(response, part, start + rest if rest else None)
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _TryAgain(f"cannot be reached ({type(error).__name__})") from error
    except requests.RequestException as error:
        raise Problem(f"{wanted.url} cannot be downloaded: {error}; check the address.") from error
    except urllib3.exceptions.HTTPError as error:
        raise _TryAgain(f"interrupted the download ({type(error).__name__})") from error


def _check_answer(wanted: Download, response: requests.Response) -> None:
    status = f"{response.status_code} {response.reason}"
    if response.status_code in BUSY or response.status_code >= 500:
        pause = 0.0
        with contextlib.suppress(ValueError):  # a date instead of seconds
            pause = float(response.headers.get("Retry-After", 0))
        raise _TryAgain(f"answered «{status}»", pause)
    if not response.ok and response.status_code != 416:  # 416: there is nothing left to send
        raise Problem(
            f"{_host(wanted)} answered «{status}» for {wanted.file_name}; try again later, or {wanted.instead}."
        )


def _begin(part: Path, response: requests.Response) -> None:
    """Create an empty `part`, and beside it the server's tag for this version. Without a tag, nothing is resumed."""
    _forget(part)
    part.touch()
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # a weak tag does not guarantee the same bytes
        tag = response.headers.get("Last-Modified", "")
    if tag:
        _tag_file(part).write_text(tag, "utf-8")


def _append(response: requests.Response, part: Path, size: int | None) -> None:
    """Append what arrives to `part`, until the file has `size` bytes or the server has no more."""
    start = part.stat().st_size
    with (
        progress_bar(part.name.removesuffix(".part"), size, "B", unit_scale=True, initial=start) as bar,
        part.open("ab") as file,
    ):
        window_start, received = time.monotonic(), 0
        # read1 returns what has arrived; iter_content would wait until a slow server fills a whole chunk.
        while chunk := response.raw.read1(CHUNK):
            bar.update(file.write(chunk))
            received += len(chunk)
            if time.monotonic() - window_start > READ_SECONDS:
                if received < LEAST_BYTES:
                    raise _TryAgain(f"became too slow ({received / READ_SECONDS:.0f} bytes a second)")
                window_start, received = time.monotonic(), 0
    if size is not None and part.stat().st_size < size:
        raise _TryAgain("sent less than it announced")


def _verified(wanted: Download, path: Path, remedy: str) -> str:
    """The SHA-256 of `path`. Raises `Problem` if it is not what was published (with `remedy`) or no whole archive."""
    if wanted.checksum:
        kind, published = wanted.checksum.split(":")
        actual = file_digest(path, kind)
        if not actual.startswith(published):
            raise Problem(
                f"{wanted.file_name} was not used, because its {kind} is {actual} and not the {published} that "
                f"{_host(wanted)} publishes. {remedy}"
            )
    if not wanted.is_archive:
        return file_digest(path)
    if not is_archive(path):
        what = what_instead(path)
        rest = f" but {what}" if what else "; check the address"
        raise Problem(f"What {_host(wanted)} sent as {wanted.file_name} is not a zip or tar archive{rest}.")
    check_whole(path)
    return file_digest(path)


def _note(path: Path) -> Path:
    """The file with the SHA-256 of `path`. Its modification time equals that of `path` until `path` changes."""
    return path.with_name(f"{path.name}.sha256")


def _noted_digest(path: Path) -> str:
    return _note(path).read_text("utf-8").split(" ")[0] if _note(path).exists() else ""


def _note_digest(path: Path, digest: str, archive: Path) -> None:
    """Save the digest of `archive`, which will be called `path`."""
    _note(path).write_text(f"{digest}  {path.name}\n", "utf-8")
    _note_time(path, archive)


def _note_time(path: Path, archive: Path) -> None:
    status = archive.stat()
    os.utime(_note(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def _tag_file(part: Path) -> Path:
    """The file with the server's tag for this version, which is kept until the download is complete."""
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    # Delete the tag last: a part without a tag is never resumed, and a tag without a part does no harm.
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _host(wanted: Download) -> str:
    return urlsplit(wanted.url).netloc
