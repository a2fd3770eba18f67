"""Files that are whole or not there, and the paths that a command line may name."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .errors import UserError


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """The name of a file beside `path`, which takes its place when the block ends well, and is gone when it does not.

    Readers see the old file or the new one. On the disk before it is seen.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")  # containers share pids
    try:
        yield scratch
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path` when the block ends well: readers see the old one or the new one.

    UTF-8, no carriage returns; a lone surrogate is written as its escape.
    """
    with beside(path) as scratch, scratch.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        yield file


def write_atomically(path: Path, content: str) -> None:
    """Puts `content` in the place of `path`."""
    with replacing(path) as file:
        file.write(content)


def out_folder(text: str) -> Path:
    """The value of `--out`.

    Raises:
        UserError: it is empty: that would be the current folder.
    """
    if not text.strip():
        raise UserError("it is empty; name a folder")
    return Path(text)


def folder_with_room(text: str | Path) -> Path:
    """The value of an option that names a folder which is there or can be made. A default comes as a path.

    Raises:
        UserError: it is empty, or a file stands in its way.
    """
    path = out_folder(str(text))
    if (file := _in_the_way(path)) is not None:
        raise UserError(f"{file} is a file; name a folder")
    return path


def out_file(text: str) -> Path:
    """The value of an option that names a file to be written.

    Raises:
        UserError: it is empty, a folder, or below a file.
    """
    path = Path(text)
    if not text.strip() or path.is_dir():
        raise UserError(f"{text!r}: expected a file's name")
    if (file := _in_the_way(path.parent)) is not None:
        raise UserError(f"{file} is a file, so {text} cannot be below it")
    return path


def _in_the_way(folder: Path) -> Path | None:
    """The file that stands where the folder, or one above it, would be."""
    return next((place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()), None)
