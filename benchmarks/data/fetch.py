"""The official tables: where they come from, how they arrive whole, and what is written down about them.

VLMEvalKit publishes the addresses and MD5 sums inside its dataset classes. They are read from its source text here, so
that nothing of it runs (importing it would turn TLS verification off). A download goes to `<NAME>.tsv.part`, is resumed
if it breaks off, checked, and only then put in its place; a file that is already there is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..errors import UserError
from ..files import write_atomically
from ..kit_classes import image_classes
from .hub import FILES, find_parquet

LOCK_NAME = "aki-data.lock.json"
HUB_REPOSITORY = "nyu-visionx/CV-Bench"
BLOCK = 1 << 20
TRIES = 5
"""Times a download that breaks off is taken up again before giving up."""

Report = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many."""


@dataclass(frozen=True)
class TableSource:
    """Address and MD5 sum of one table, as VLMEvalKit publishes them."""

    url: str
    md5: str | None


def official_sources() -> dict[str, TableSource]:
    """Every image table that VLMEvalKit knows, by name.

    Raises:
        UserError: the kit is not installed.
    """
    return {name: TableSource(url, each.sums.get(name)) for each in image_classes() for name, url in each.urls.items()}


def fetch(name: str, source: TableSource, root: Path, report: Report = lambda done, total: None) -> Path:
    """Brings one table into `root` and returns its path.

    Raises:
        UserError: the file there is another one, when the download fails, or when what arrives has not the published
            MD5 sum; it is then kept as `<NAME>.tsv.mismatch` and nothing is replaced.
    """
    target = root / f"{name}.tsv"
    if target.exists():
        found = md5_of(target)
        if source.md5 is not None and found != source.md5:
            raise UserError(
                f"{target} has MD5 {found}, VLMEvalKit publishes {source.md5}; it is left alone: "
                "move it away to fetch the published one, or pass its folder as --data to use it as it is"
            )
        return target
    root.mkdir(parents=True, exist_ok=True)
    part = root / f"{name}.tsv.part"
    download(source.url, part, report)
    found = md5_of(part)
    if source.md5 is not None and found != source.md5:
        kept = part.rename(root / f"{name}.tsv.mismatch")
        _notes(part).unlink(missing_ok=True)
        raise UserError(
            f"what {source.url} sends has MD5 {found}, VLMEvalKit publishes {source.md5}: the table was "
            f"changed on the server; it is kept as {kept}; rename it to {target.name} if you trust it"
        )
    os.replace(part, target)
    _notes(part).unlink(missing_ok=True)
    return target


def download(url: str, part: Path, report: Report) -> None:
    """Fills `part` from the address, going on where an earlier attempt broke off.

    Raises:
        UserError: it cannot be had.
    """
    failure: Exception | None = None
    for _ in range(TRIES):
        try:
            if _continue(url, part, report):
                return
        except HTTPError as error:
            raise UserError(f"cannot download {url}: HTTP {error.code} {error.reason}") from error
        except (URLError, OSError) as error:
            failure = error
            if isinstance(getattr(error, "reason", None), ssl.SSLError):
                break
    reason = getattr(failure, "reason", None) or failure or "the connection was closed early"
    raise UserError(f"cannot download {url}: {reason}; what has arrived is kept, fetch again to go on")


def _continue(url: str, part: Path, report: Report) -> bool:
    """One attempt. True when the file is whole; False when the connection ended early."""
    done = part.stat().st_size if part.exists() else 0
    known = _notes(part).read_text() if done and _notes(part).exists() else None
    headers = {"User-Agent": "aki-eval", "Accept-Encoding": "identity"}
    if known:
        headers |= {"Range": f"bytes={done}-", "If-Range": known}
    # A context of our own: the default one can be (and by VLMEvalKit is) replaced with one that verifies nothing.
    context = ssl.create_default_context()
    try:
        response = urlopen(Request(url, headers=headers), timeout=60, context=context)
    except HTTPError as error:
        if error.code == 416:  # nothing behind what we have: the checksum decides whether that is all
            return True
        raise
    with response:
        goes_on = response.status == 206
        stamp = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if stamp and not stamp.startswith("W/"):
            _notes(part).write_text(stamp)
        left = response.headers.get("Content-Length")
        start = done if goes_on else 0
        total = start + int(left) if left is not None else None
        with part.open("ab" if goes_on else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                report(file.tell(), total)
            size = file.tell()
    return total is None or size == total


def _notes(part: Path) -> Path:
    """Beside a partial download: which version of the file on the server it belongs to."""
    return part.with_name(part.name + ".version")


def fetch_from_hub(name: str, root: Path) -> Path:
    """CV-Bench's parquet file for a table, from its authors' repository on the Hub.

    Raises:
        UserError: the Hub has no such table or cannot be reached.
    """
    if name not in FILES:
        raise UserError(f"--from-hub: {name} is not on the Hub; only {', '.join(FILES)} are")
    present = find_parquet(name, root)
    if present:
        return present
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    file = f"{FILES[name]}.parquet"
    try:
        return Path(hf_hub_download(HUB_REPOSITORY, file, repo_type="dataset", local_dir=root))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot download {file} of {HUB_REPOSITORY} from the Hugging Face Hub ({reason})") from error


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def read_lock(root: Path) -> dict[str, dict[str, Any]]:
    """Entries by table name: sha256, num_rows, url, locked (when).

    Raises:
        UserError: a damaged file.
    """
    path = root / LOCK_NAME
    if not path.exists():
        return {}
    try:
        entries: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); delete it and run aki-eval data fetch again") from error
    whole = isinstance(entries, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and {"num_rows", "locked"} <= entry.keys()
        for entry in entries.values()
    )
    if not whole:
        raise UserError(f"{path} is not what aki-eval data fetch writes; delete it and run that again")
    return entries


def write_lock(root: Path, name: str, found: Mapping[str, Any], url: str | None) -> None:
    """Adds or replaces the entry of one table; `found` holds its sha256 and num_rows, `url` says where it came from."""
    entry = {
        **found,
        "url": url,
        "locked": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    entries = dict(sorted((read_lock(root) | {name: entry}).items()))
    write_atomically(root / LOCK_NAME, json.dumps(entries, indent=2) + "\n")


def check_lock(root: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Compares tables (by name, with their sha256) with the lock file.

    Raises:
        UserError: one is not the table that was locked.
    """
    locked = read_lock(root)
    for name, table in found.items():
        entry = locked.get(name)
        if entry and entry["sha256"] != table["sha256"]:
            raise UserError(
                f"{root / name}.tsv has sha256 {table['sha256'][:12]}, {LOCK_NAME} says {entry['sha256'][:12]} "
                f"({entry['num_rows']} rows, locked {entry['locked']}): the table was changed; "
                "restore it, or remove its entry from the lock file if you mean to use it"
            )
