"""Turn the addresses that people copy into addresses of files, and find the names of these files."""

import json
import re
from email.message import Message
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from ..settings import Problem
from .archives import ENDINGS
from .downloads import CONNECT_SECONDS, READ_SECONDS
from .images import safe_name

# Addresses of pages about a file, and the address of the file itself.
SHARED = {
    r"https://drive\.google\.com/(file/d/|(uc|open)\?(.*&)?id=)(?P<id>[\w-]+).*": (
        r"https://drive.usercontent.google.com/download?id=\g<id>&export=download&confirm=t"
    ),
    r"https://(www\.)?dropbox\.com/(?P<path>.*)": r"https://dl.dropboxusercontent.com/\g<path>",
    r"(?P<before>https://[\w-]+\.sharepoint\.com/:u:/[^?]*)(\?(?P<query>.*))?": r"\g<before>?\g<query>&download=1",
    r"(?P<before>https://github\.com/[^/]+/[^/]+)/blob/(?P<path>.*)": r"\g<before>/raw/\g<path>",
    r"(?P<before>https://gitlab\.com/.*)/-/blob/(?P<path>.*)": r"\g<before>/-/raw/\g<path>",
    r"(?P<before>https://huggingface\.co/.*)/blob/(?P<path>.*)": r"\g<before>/resolve/\g<path>",
    r"https://www\.kaggle\.com/datasets/(?P<path>[^/?]+/[^/?]+).*": (
        r"https://www.kaggle.com/api/v1/datasets/download/\g<path>"
    ),
}


def of_the_file(address: str) -> str:
    """The address of the file that a page of a known service shares. Any other address is returned unchanged."""
    for page, file in SHARED.items():
        if match := re.fullmatch(page, address):
            return match.expand(file)
    return address


def file_names(addresses: tuple[str, ...], folder: Path) -> list[str]:
    """The names of the files at `addresses`, all different.

    A name after # comes first, then a name in the address with an archive's ending, then the server's name. The latter
    is saved in `folder`, so that a second run needs no server. Raises `Problem` if two files have the same name.
    """
    saved = folder / "names.json"
    known = json.loads(saved.read_text("utf-8")) if saved.exists() else {}
    names = []
    for address in addresses:
        parts = urlsplit(address)
        name = unquote(parts.fragment) or Path(unquote(parts.path)).name
        if not parts.fragment and not name.lower().endswith(ENDINGS):
            if address not in known:
                known[address] = _served_name(of_the_file(address))
                folder.mkdir(parents=True, exist_ok=True)
                saved.write_text(json.dumps(known), "utf-8")
            name = known[address]
        names.append(safe_name(name))
    if len({name.casefold() for name in names}) < len(names):
        raise Problem(
            f"Several addresses lead to files with the same name ({', '.join(names)}). Add a different name to each "
            f"address after a #, for example {addresses[0].partition('#')[0]}#Bike.zip."
        )
    return names


def _served_name(address: str) -> str:
    """The name that the server gives the file. Without one, it is the end of the address after all redirects."""
    try:
        with requests.get(address, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
            if "html" in response.headers.get("Content-Type", "") or not response.ok:
                raise Problem(
                    f"{address} leads to a web page, not to a file ({response.status_code} {response.reason}). Use the "
                    "address of the file itself, and allow anyone with the link to open it."
                )
            message = Message()
            message["Content-Disposition"] = response.headers.get("Content-Disposition", "")
            return message.get_filename() or Path(unquote(urlsplit(response.url).path)).name
    except requests.RequestException as error:
        raise Problem(
            f"{urlsplit(address).netloc} did not give the name of its file ({type(error).__name__}). Check the address "
            "and the connection, or work offline with DATASET=sample."
        ) from error
