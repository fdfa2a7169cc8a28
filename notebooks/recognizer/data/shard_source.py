"""The bytes of a shard, from a file or from a web server that may fail in between."""

import contextlib
import io
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3

from ..settings import Problem
from . import downloads

BROKEN = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError, ConnectionError)


def is_on_server(address: str) -> bool:
    """Whether `address` is not the path of a file."""
    return address.startswith(("http://", "https://"))


def open_shard(name: str, address: str) -> tuple[BinaryIO, str]:
    """The shard at `address`, a path or http(s)://…, to be read from start to end; and its stamp.

    The stamp is a text that changes with the shard: size and modification time of a file, size and tag on a server.
    Errors call the shard `name`. Raises `Problem` if it is missing or cannot be read.
    """
    if is_on_server(address):
        source = _FromServer(name, address)
        return io.BufferedReader(source, downloads.CHUNK), source.stamp
    try:
        return open(address, "rb"), file_stamp(address)
    except OSError as error:
        raise Problem(
            f"The shard {name} cannot be read ({error.strerror}). Put it back, or leave it out of DATASET."
        ) from error


def file_stamp(path: str) -> str:
    """The stamp of the local file `path`."""
    status = Path(path).stat()
    return f"{status.st_size} {status.st_mtime_ns}"


class _FromServer(io.RawIOBase):
    """The answer of a web server. If the connection breaks, another request asks for the rest."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.host = urlsplit(address).netloc
        self.position, self.size, self.tag = 0, None, ""
        self.failures, self.position_of_failure = 0, 0
        self.response: requests.Response | None = None
        while self.response is None:
            with self._several_attempts():
                self._connect()
        self.stamp = f"{self.size} {self.tag}"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while True:
            with self._several_attempts():
                if self.response is None:
                    self._connect()
                data = self.response.raw.read1(len(buffer))
                if not data and self.size is not None and self.position < self.size:
                    raise ConnectionError("it sent less than it announced")
                buffer[: len(data)] = data
                self.position += len(data)
                return len(data)

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
        super().close()

    @contextlib.contextmanager
    def _several_attempts(self):
        """Wait after a broken connection; after several without progress, raise `Problem`."""
        try:
            yield
        except BROKEN as error:
            self.response = None
            if self.position > self.position_of_failure + downloads.LEAST_BYTES:
                self.failures = 0
            self.failures, self.position_of_failure = self.failures + 1, self.position
            if self.failures == downloads.ATTEMPTS:
                raise Problem(
                    f"The shard {self.name} stopped after {self.position:,} bytes: {self.host} cannot be reached any "
                    f"more ({type(error).__name__}). Check the connection and run again."
                ) from error
            time.sleep(downloads.FIRST_PAUSE * 2 ** (self.failures - 1))

    def _connect(self) -> None:
        """Ask for what is still missing. A server that cannot resume sends all; what we have is then skipped."""
        headers = {"Accept-Encoding": "identity"}
        if self.position:
            headers["Range"] = f"bytes={self.position}-"
        seconds = (downloads.CONNECT_SECONDS, downloads.READ_SECONDS)
        try:
            response = requests.get(self.address, headers=headers, stream=True, timeout=seconds)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise Problem(f"The shard {self.name} has no valid address: {error}; check DATASET.") from error
        if response.status_code in downloads.BUSY or response.status_code >= 500:
            raise ConnectionError(f"{response.status_code} {response.reason}")
        if not response.ok:
            raise Problem(
                f"The shard {self.name} cannot be read: {self.host} answered «{response.status_code} "
                f"{response.reason}». Check the address, or leave it out of DATASET."
            )
        resumes = response.headers.get("Content-Range", "").startswith(f"bytes {self.position}-")
        start = self.position if resumes else 0
        announced = response.headers.get("Content-Length")
        size = start + int(announced) if announced else None
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified", "")
        if self.position and (size, tag) != (self.size, self.tag):
            raise Problem(f"The shard {self.name} changed on {self.host} while it was being read; run again.")
        self.size, self.tag = size, tag
        while start < self.position:
            skipped = response.raw.read1(min(downloads.CHUNK, self.position - start))
            if not skipped:
                raise ConnectionError("it sent less than it announced")
            start += len(skipped)
        self.response = response
