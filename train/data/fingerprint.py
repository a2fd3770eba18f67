"""What a stage reads, in a few numbers: whether data changed between a checkpoint and the run that goes on from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..recipe import Stage
from .captions import FOLDERS
from .instructions import SETS
from .shards import Shard, find_shards

PIECE = 1 << 20


def fingerprint(stage: Stage, data_root: Path) -> dict[str, dict[str, Any]]:
    """For each set of the stage the number of its files, their bytes, and a digest.

    Of shards the digest covers names (addresses of remote ones) and sizes; of annotation files also their first, middle
    and last MiB. Pictures of instruction sets are not looked at.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(stage.data):
        if name in FOLDERS:
            found[name] = _digest_of_shards(find_shards(data_root / FOLDERS[name], stage.shards or ()))
        else:
            found[name] = _digest(data_root / one for one in SETS[name].annotations)
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


def _digest_of_shards(shards: Iterable[Shard]) -> dict[str, Any]:
    named = [
        (shard.name, shard.stat().st_size) if isinstance(shard, Path) else (shard.address, shard.size or 0)
        for shard in shards
    ]
    digest = hashlib.sha256("".join(f"{name} {size}\n" for name, size in named).encode())
    total = sum(size for _, size in named)
    return {"files": len(named), "bytes": total, "digest": digest.hexdigest()[:16]}


def _digest(paths: Iterable[Path]) -> dict[str, Any]:
    digest, files, total = hashlib.sha256(), 0, 0
    for path in paths:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for place in (0, max(0, size // 2), max(0, size - PIECE)):
                file.seek(place)
                digest.update(file.read(PIECE))
        files, total = files + 1, total + size
    return {"files": files, "bytes": total, "digest": digest.hexdigest()[:16]}
