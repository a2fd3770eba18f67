"""JSON files as the data sets have them: mappings by id, and lists too long to be held in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .base import read_json

CHUNK = 1 << 20
LARGEST = 64 << 20
"""Characters of one element. Without a bound a fault near the beginning would read a file of gigabytes to its end, and
try to decode all of it again with every piece."""
BETWEEN = re.compile(r"[\s,]*")


def read_mapping(path: Path, *, what: str) -> dict[str, Any]:
    """The mapping that the file holds. Raises UserError as `read_json` does, ValueError for anything else."""
    content = read_json(path, what=what)
    if not isinstance(content, dict):
        raise ValueError(f"expected {what} as a mapping by id, found a {type(content).__name__}")
    return content


def stream_list(path: Path) -> Iterator[Any]:
    """The elements of the list of objects that the file holds, in the memory of a few of them.

    Raises:
        ValueError: no list, or a file that ends early.
    """
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8") as file:
        buffer = file.read(CHUNK).lstrip()
        if not buffer.startswith("["):
            raise ValueError("the file does not begin with a JSON list")
        position = 1
        while True:
            position = _skip(buffer, position)
            if buffer.startswith("]", position):
                return
            try:
                element, position = decoder.raw_decode(buffer, position)
            except RecursionError as error:
                raise ValueError("the file is nested too deep") from error
            except json.JSONDecodeError as error:  # broken, or not read to its end yet
                more = file.read(max(CHUNK, len(buffer) - position))  # twice as much, so that few are tried twice
                if not more or len(buffer) - position > LARGEST:
                    raise ValueError(f"the file ends early or is broken: {error}") from error
                buffer, position = buffer[position:] + more, 0
            else:
                yield element


def _skip(buffer: str, position: int) -> int:
    found = BETWEEN.match(buffer, position)
    assert found, "the pattern matches the empty text, too"
    return found.end()
