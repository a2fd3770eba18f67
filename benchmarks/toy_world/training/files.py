"""Pictures, JSON and tar files that come out the same, byte by byte, whenever and wherever they are written."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..render import jpeg, png
from ..scene import Scene


class Picture(NamedTuple):
    """A picture of a data set: its number there and what it shows."""

    number: int
    scene: Scene


def write_picture(path: Path, scene: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(scene) if path.suffix == ".png" else jpeg(scene))


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_shard(path: Path, records: Iterable[tuple[str, Mapping[str, bytes]]]) -> None:
    """A webdataset shard: for each (key, {extension: content}) the files `key.extension`, without owner or time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for key, contents in records:
            for extension, content in contents.items():
                entry = tarfile.TarInfo(f"{key}.{extension}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
