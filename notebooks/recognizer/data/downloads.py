"""One file from the web to disk: whole and checked, or not at all; broken off, it goes on where it stopped."""

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
LONGEST_PAUSE = 60  # seconds that a server may ask us to wait
LEAST_BYTES = 50_000  # what has to come within READ_SECONDS; a slower server counts as one that broke off
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
    """This attempt failed, the next may not. `pause`: how many seconds the server asks us to wait, if it does."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


def reachable(url: str) -> bool:
    """Whether a server answers at all. Any answer counts, even an error; only no answer means offline."""
    try:
        requests.head(url, timeout=CONNECT_SECONDS)
        return True
    except requests.exceptions.SSLError:  # a ConnectionError by descent, but somebody did answer
        return True
    except (requests.ConnectionError, requests.Timeout):
        return False


def download(wanted: Download, path: Path) -> Path:
    """Fetch `wanted` to `path`, with a progress bar; what is there already is checked, not fetched again.

    Until all has come, its checksum (where one is published) is right and an archive can be read to its last byte, the
    file is called `<name>.part`. Its SHA-256 is kept beside it as `<name>.sha256`, in the form of the
    program sha256sum, and a later download that differs from the first one is reported.
    Raises `Problem` when it cannot be had, is not what was published, or changed on disk.
    """
    part = path.with_name(f"{path.name}.part")
    if path.exists():
        _forget(part)  # a run that was killed may have left its traces
        _check_kept(wanted, path)
        return path
    _receive(wanted, part)
    try:
        digest = _verified(wanted, part, "Run again; if it happens again, it was changed there: do not trust it.")
    except Problem:
        _forget(part)
        raise
    before = _noted_digest(path)
    if before and before != digest and not wanted.checksum:
        print(
            f"{path.name} is not what {_host(wanted)} sent the first time: its SHA-256 was {before[:12]}… and is now "
            f"{digest[:12]}…. It may have been updated, or tampered with; results will differ from earlier ones."
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
    """Raise `Problem` unless `path` is what was downloaded, or, put there by hand, what was published."""
    before = _noted_digest(path)
    is_unchanged = before and _note(path).stat().st_mtime_ns == path.stat().st_mtime_ns
    if is_unchanged and not parameter("VERIFY", False):
        return
    digest = file_digest(path)
    if before and before != digest:
        raise Problem(
            f"{shown(path)} has changed since it was downloaded. Delete it to download it again; or, if that was you, "
            f"delete {path.name}.sha256 beside it to use it as it is."
        )
    if not before:
        _verified(wanted, path, f"Delete {shown(path)}, which was put there by hand, and run again.")
        _note_digest(path, digest, path)
    elif not is_unchanged:
        with contextlib.suppress(OSError):  # archives may be shared, and not ours to write to
            _note_time(path, path)


def _receive(wanted: Download, part: Path) -> None:
    """Fill `part` to its end, in several attempts if need be; they are counted anew when one brought something."""
    attempt, had = 0, 0
    while True:
        try:
            with room_on_disk(f"downloading {wanted.file_name}", part.parent):
                _receive_rest(wanted, part)
            return
        except _TryAgain as failure:
            has = part.stat().st_size if part.exists() else 0
            attempt = 1 if has > had + LEAST_BYTES else attempt + 1
            had, reason = max(had, has), str(failure)
            pause = max(failure.pause, FIRST_PAUSE * 2 ** (attempt - 1))
            if attempt == ATTEMPTS or pause > LONGEST_PAUSE:
                asked = f" and asks us to come back in {pause:.0f} s" if pause > LONGEST_PAUSE else ""
                raise Problem(
                    f"{wanted.file_name} could not be downloaded: {_host(wanted)} {failure}{asked}. What has come is "
                    f"kept: run again to go on from there, or {wanted.instead}."
                ) from failure
        print(f"{_host(wanted)} {reason}; asking again in {pause:.0f} s.")
        time.sleep(pause)


def _receive_rest(wanted: Download, part: Path) -> None:
    """One request for what `part` still lacks. Raises `_TryAgain` where another one may help."""
    tag = _tag_file(part)
    start = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:  # the rest, or all of it if the file is another one by now
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text("utf-8")}
    try:
        with requests.get(
            wanted.url, headers=headers, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)
        ) as response:
            _check_answer(wanted, response)
            if response.status_code == 416 and response.headers.get("Content-Range") == f"bytes */{start}":
                return  # all of it had come before the last run was stopped
            if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                if response.status_code in (206, 416):
                    _forget(part)
                    raise _TryAgain("could not go on where it stopped")
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
        raise _TryAgain(f"broke off ({type(error).__name__})") from error


def _check_answer(wanted: Download, response: requests.Response) -> None:
    status = f"{response.status_code} {response.reason}"
    if response.status_code in BUSY or response.status_code >= 500:
        pause = 0.0
        with contextlib.suppress(ValueError):  # a date instead of seconds
            pause = float(response.headers.get("Retry-After", 0))
        raise _TryAgain(f"answered «{status}»", pause)
    if not response.ok and response.status_code != 416:  # 416: there is nothing after what has come
        raise Problem(
            f"{_host(wanted)} answered «{status}» for {wanted.file_name}; try again later, or {wanted.instead}."
        )


def _begin(part: Path, response: requests.Response) -> None:
    """An empty `part`, and beside it the server's name for this state of the file, without which none is resumed."""
    _forget(part)
    part.touch()
    tag = response.headers.get("ETag", "")
    if not tag or tag.startswith("W/"):  # a weak one does not promise the same bytes
        tag = response.headers.get("Last-Modified", "")
    if tag:
        _tag_file(part).write_text(tag, "utf-8")


def _append(response: requests.Response, part: Path, size: int | None) -> None:
    """Write what comes to the end of `part`, until the file has `size` bytes or the server has no more."""
    start = part.stat().st_size
    with (
        progress_bar(part.name.removesuffix(".part"), size, "B", unit_scale=True, initial=start) as bar,
        part.open("ab") as file,
    ):
        since, came = time.monotonic(), 0
        # read1 hands over what there is; iter_content would wait for a slow drip to fill its chunk.
        while chunk := response.raw.read1(CHUNK):
            bar.update(file.write(chunk))
            came += len(chunk)
            if time.monotonic() - since > READ_SECONDS:
                if came < LEAST_BYTES:
                    raise _TryAgain(f"became too slow ({came / READ_SECONDS:.0f} bytes a second)")
                since, came = time.monotonic(), 0
    if size is not None and part.stat().st_size < size:
        raise _TryAgain("sent less than it had announced")


def _verified(wanted: Download, path: Path, remedy: str) -> str:
    """The SHA-256 of `path`. Raises `Problem` unless it is what was published (with `remedy`) and a whole archive."""
    if wanted.checksum:
        kind, digest = wanted.checksum.split(":")
        found = file_digest(path, kind)
        if not found.startswith(digest):
            raise Problem(
                f"{wanted.file_name} has the {kind} {found}, not the {digest} that {_host(wanted)} publishes, and is "
                f"not used. {remedy}"
            )
    if not wanted.is_archive:
        return file_digest(path)
    if not is_archive(path):
        what = what_instead(path)
        rest = f" but {what}" if what else "; check the address"
        raise Problem(f"What {_host(wanted)} sent as {wanted.file_name} is no zip or tar archive{rest}.")
    check_whole(path)
    return file_digest(path)


def _note(path: Path) -> Path:
    """The file with the SHA-256 of `path`. It has the same time of last change, as long as `path` does not change."""
    return path.with_name(f"{path.name}.sha256")


def _noted_digest(path: Path) -> str:
    return _note(path).read_text("utf-8").split(" ")[0] if _note(path).exists() else ""


def _note_digest(path: Path, digest: str, archive: Path) -> None:
    """Keep the digest of `archive`, which is to be called `path`."""
    _note(path).write_text(f"{digest}  {path.name}\n", "utf-8")
    _note_time(path, archive)


def _note_time(path: Path, archive: Path) -> None:
    status = archive.stat()
    os.utime(_note(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def _tag_file(part: Path) -> Path:
    """Where the server's name for this very state of the file is kept, as long as the file is not whole."""
    return part.with_name(f"{part.name}.etag")


def _forget(part: Path) -> None:
    # The tag goes last: a part without one is never gone on with, and a tag without a part does no harm.
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _host(wanted: Download) -> str:
    return urlsplit(wanted.url).netloc
