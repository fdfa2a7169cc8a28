"""From addresses that people copy to addresses of files, and what these files are called."""

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

# Pages about a file, and where the file itself is.
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
    """The address of the file that a page of a known service shares; any other address as it is."""
    for page, file in SHARED.items():
        if found := re.fullmatch(page, address):
            return found.expand(file)
    return address


def file_names(addresses: tuple[str, ...], folder: Path) -> list[str]:
    """What the files at `addresses` are called, each differently.

    A name behind # wins, then one in the address that ends like an archive's, then what the server says; the latter is
    kept in `folder`, so that a second run needs no server. Raises `Problem` where two have the same name.
    """
    kept = folder / "names.json"
    known = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    names = []
    for address in addresses:
        given = urlsplit(address)
        name = unquote(given.fragment) or Path(unquote(given.path)).name
        if not given.fragment and not name.lower().endswith(ENDINGS):
            if address not in known:
                known[address] = _served_name(of_the_file(address))
                folder.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(known), "utf-8")
            name = known[address]
        names.append(safe_name(name))
    if len({name.casefold() for name in names}) < len(names):
        raise Problem(
            f"Several addresses lead to files of the same name ({', '.join(names)}). Put a name for each class behind "
            f"its address: {addresses[0].partition('#')[0]}#Bike.zip, for example."
        )
    return names


def _served_name(address: str) -> str:
    """What the server calls the file; where it does not say, the end of the address that it led to."""
    try:
        with requests.get(address, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response:
            if "html" in response.headers.get("Content-Type", "") or not response.ok:
                raise Problem(
                    f"{address} leads to a web page, not to a file ({response.status_code} {response.reason}). Use the "
                    "address of the file itself, open to anyone who has the link."
                )
            message = Message()
            message["Content-Disposition"] = response.headers.get("Content-Disposition", "")
            return message.get_filename() or Path(unquote(urlsplit(response.url).path)).name
    except requests.RequestException as error:
        raise Problem(
            f"{urlsplit(address).netloc} cannot be asked what its file is called ({type(error).__name__}). Check the "
            "address and the connection, or work offline with DATASET=sample."
        ) from error
