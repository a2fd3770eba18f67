"""JSON files as the data sets have them: mappings by id and lists, also those too long to be held in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from .base import read_json

CHUNK = 1 << 20
LARGEST = 64 << 20
"""Characters of one element. Without a bound a fault near the beginning would read a file of gigabytes to its end, and
try to decode all of it again with every piece."""
BETWEEN = re.compile(r"[\s,]*")


def read_mapping(path: Path, *, what: str) -> dict[str, Any]:
    """The mapping that the file holds.

    Raises:
        UserError: as `read_json`.
        ValueError: it holds something else.
    """
    content = read_json(path, what=what)
    if not isinstance(content, dict):
        raise ValueError(f"expected {what} as a mapping by id, found a {type(content).__name__}")
    return content


def stream_list(path: Path) -> Iterator[Any]:
    """The elements of the list of objects that the file holds, in the memory of a few of them.

    Raises:
        ValueError: no list, or a file that ends early.
    """
    with path.open(encoding="utf-8") as file:
        text = _Text(file)
        if not text.take("["):
            raise ValueError("the file does not begin with a JSON list")
        while not text.take("]"):
            yield text.value()


def stream_mapping(path: Path) -> Iterator[tuple[str, Any]]:
    """Keys and values of the mapping that the file holds, in the memory of a few of them.

    Raises:
        ValueError: no mapping, or a file that ends early.
    """
    with path.open(encoding="utf-8") as file:
        text = _Text(file)
        if not text.take("{"):
            raise ValueError("the file does not begin with a JSON mapping by id")
        while not text.take("}"):
            key = text.value()
            if not isinstance(key, str) or not text.take(":"):
                raise ValueError(f"the file is broken: no value for {key!r:.40}")
            yield key, text.value()


class _Text:
    """A JSON text that is read on as it is taken apart."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._buffer = file.read(CHUNK)
        self._position = 0

    def take(self, mark: str) -> bool:
        """Whether the next mark is this one; then it is taken. Commas and white space before it are passed over."""
        self._position = _skip(self._buffer, self._position)
        if self._position == len(self._buffer) and self._more():
            return self.take(mark)
        found = self._buffer.startswith(mark, self._position)
        self._position += found
        return found

    def value(self) -> Any:
        while True:
            self._position = _skip(self._buffer, self._position)
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
            except RecursionError as error:
                raise ValueError("the file is nested too deep") from error
            except json.JSONDecodeError as error:  # broken, or not read to its end yet
                if len(self._buffer) - self._position > LARGEST or not self._more():
                    raise ValueError(f"the file ends early or is broken: {error}") from error
            else:
                if end < len(self._buffer) or not self._more():  # a number may go on behind what was read
                    self._position = end
                    return value

    def _more(self) -> bool:
        """Reads on; False at the end. Twice as much as is left, so that few values are tried twice."""
        more = self._file.read(max(CHUNK, len(self._buffer) - self._position))
        self._buffer, self._position = self._buffer[self._position :] + more, 0
        return bool(more)


def _skip(buffer: str, position: int) -> int:
    found = BETWEEN.match(buffer, position)
    assert found, "the pattern matches the empty text, too"
    return found.end()
