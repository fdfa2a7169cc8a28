"""One archive from the web to disk: whole and checked, or not at all."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ..progress import progress_bar
from ..settings import Problem
from .archives import is_archive

CONNECT_SECONDS, READ_SECONDS = 5, 60
CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Download:
    """One archive on the web. `checksum` is 'md5:…' or 'sha256:…', or None where its publisher gives none."""

    url: str
    checksum: str | None
    file_name: str


def reachable(url: str) -> bool:
    """Whether a server answers at all. What it answers is the download's business: only silence means offline."""
    try:
        requests.head(url, timeout=CONNECT_SECONDS)
        return True
    except requests.exceptions.SSLError:  # a ConnectionError by descent, but somebody did answer
        return True
    except (requests.ConnectionError, requests.Timeout):
        return False


def download(wanted: Download, path: Path) -> Path:
    """Fetch `wanted` to `path`, with a progress bar, unless it is there already; busy servers are asked again.

    The file has a temporary name until all of it has come, its checksum (where one is published) is right, and it is
    a zip or tar archive. Raises `Problem` otherwise.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        _receive(wanted.url, unfinished)
        _verify(wanted, unfinished)
        os.replace(unfinished, path)
    except requests.HTTPError as error:
        status = f"{error.response.status_code} {error.response.reason}"
        raise Problem(
            f"{_host(wanted)} answered «{status}» for {path.name}; try again later or another DATASET."
        ) from error
    except requests.RequestException as error:
        reason = type(error).__name__
        raise Problem(
            f"The download of {path.name} from {_host(wanted)} broke off ({reason}); run again, or offline with DATASET=sample."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _receive(url: str, path: Path) -> None:
    with requests.Session() as session:
        retry = Retry(
            total=4, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        with session.get(url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0)) or None
            with (
                progress_bar(path.stem, size, "B", unit_scale=True) as bar,
                path.open("wb") as file,
            ):
                for chunk in response.iter_content(CHUNK):
                    bar.update(file.write(chunk))


def _verify(wanted: Download, path: Path) -> None:
    if wanted.checksum:
        kind, digest = wanted.checksum.split(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != digest:
            raise Problem(
                f"{wanted.file_name} from {_host(wanted)} has the {kind} {found}, not the published {digest}; it was thrown "
                "away. Run again; if it happens again, the file was changed at its source and should not be trusted."
            )
    if not is_archive(path):
        raise Problem(
            f"What {_host(wanted)} sent as {wanted.file_name} is no zip or tar archive; check the address."
        )


def _host(wanted: Download) -> str:
    return urlsplit(wanted.url).netloc
