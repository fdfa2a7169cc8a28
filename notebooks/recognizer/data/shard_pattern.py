"""What DATASET names if it is a pattern of shards, such as path/to/shards-{000000..000099}.tar."""

import hashlib
import math
import os
import re
from pathlib import Path

from ..settings import PROJECT, Problem
from .images import safe_name
from .shard_members import webdataset
from .shard_source import is_on_server

ENDINGS = (".tar", ".tar.gz", ".tgz")
MOST_SHARDS = 1_000_000


def are_shards(dataset: str) -> bool:
    """Whether DATASET is such a pattern, and not a file that happens to have braces in its name."""
    has_braces = re.search(r"[{}]", dataset) and dataset.partition("?")[0].lower().endswith(ENDINGS)
    return bool(has_braces) and not os.path.exists(PROJECT / os.path.expanduser(dataset))


def named_shards(dataset: str) -> tuple[str, dict[str, str]]:
    """A name for this data set, and for each shard a name and its path or address, in the order of the pattern.

    The names do not change if the pattern is extended to more shards.
    Raises `Problem` for a pattern that is malformed, and for files that do not exist.
    """
    is_local = not is_on_server(dataset)
    pattern = os.path.join(PROJECT, os.path.expanduser(dataset)).replace(os.sep, "/") if is_local else dataset
    ranges = re.findall(r"\{(-?\d+)\.\.(-?\d+)", pattern)
    if math.prod(abs(int(last) - int(first)) + 1 for first, last in ranges) > MOST_SHARDS:
        raise Problem(f"DATASET={dataset[:200]!r} stands for more than {MOST_SHARDS:,} shards; check its numbers.")
    library = webdataset()
    try:
        addresses = list(dict.fromkeys(library.shardlists.expand_urls(pattern)))
    except ValueError as error:
        raise Problem(
            f"The braces of DATASET={dataset[:200]!r} do not match; write, for example, shards-{{000..099}}.tar."
        ) from error
    if is_local and not any(map(os.path.isfile, addresses)):
        first = Path(addresses[0]).name
        raise Problem(f"DATASET={dataset[:200]!r} matches no file; the first of {len(addresses)} would be {first}.")
    missing = [Path(address).name for address in addresses if is_local and not os.path.isfile(address)]
    if missing:
        raise Problem(
            f"{len(missing)} of the {len(addresses)} shards in DATASET do not exist, the first of them {missing[0]}. "
            "Check the numbers in the braces."
        )
    folder = pattern[: pattern.index("{")].rpartition("/")[0]
    without_ranges = re.sub(r"\{.*\}", "{}", pattern)
    stem = safe_name(re.split(r"[{}]", without_ranges[len(folder) :])[0].strip("/-_ .") or "shards")
    name = f"{stem}-{hashlib.sha256(without_ranges.encode()).hexdigest()[:8]}"
    shards = {address[len(folder) + 1 :].partition("?")[0]: address for address in addresses}
    if len(shards) < len(addresses):
        raise Problem(f"Several shards of DATASET={dataset[:200]!r} have the same name; put the braces into the name.")
    return name, shards
