"""What a stage reads, in a few numbers: whether data changed between a checkpoint and the run that goes on from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..recipe import Stage
from .captions import FOLDERS, find_shards
from .instructions import SETS

PIECE = 1 << 20


def fingerprint(stage: Stage, data_root: Path) -> dict[str, dict[str, Any]]:
    """For each set of the stage the number of its files, their bytes, and a digest.

    Of shards the digest covers names and sizes; of annotation files also their first, middle and last MiB. Pictures of
    instruction sets are not looked at.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(stage.data):
        if name in FOLDERS:
            found[name] = _digest(find_shards(data_root / FOLDERS[name]), content=False)
        else:
            found[name] = _digest([data_root / one for one in SETS[name].annotations], content=True)
    return found


def changes(then: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What differs, a few words a set."""
    return [
        f"{name} was {_words(then[name])} and is {_words(now[name])}"
        for name in now
        if name in then and then[name] != now[name]
    ]


def _words(one: Mapping[str, Any]) -> str:
    return f"{one['files']:,} files of {one['bytes']:,} bytes ({one['digest']})"


def _digest(paths: Iterable[Path], *, content: bool) -> dict[str, Any]:
    digest, files, total = hashlib.sha256(), 0, 0
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        if content:
            with path.open("rb") as file:
                for place in (0, max(0, size // 2), max(0, size - PIECE)):
                    file.seek(place)
                    digest.update(file.read(PIECE))
        files, total = files + 1, total + size
    return {"files": files, "bytes": total, "digest": digest.hexdigest()[:16]}
