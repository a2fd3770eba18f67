"""Tables that do not belong in memory, as Arrow files that `datasets` maps.

Converted once for each content (the file is named after the table's sha256), row by row, into the user's cache folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .records import UserError
from .tables import TableData, assemble, cache_folder, content_key, parse_pictures, read_cells

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_A_BATCH = 64
"""Rows written at once: a few MB of pictures."""
PICTURES, KEYS = "image: pictures", "image: keys"


@dataclass(frozen=True)
class MappedPictures:
    """Pictures in a memory-mapped Arrow file; the keys, which are short, are in memory."""

    dataset: Dataset
    all_keys: list[list[str]]

    def keys(self, position: int) -> list[str]:
        return self.all_keys[position]

    def read(self, position: int, number: int) -> str:
        return str(self.dataset[position][PICTURES][number])


def read_large(path: Path, sha256: str) -> TableData:
    """Raises UserError when the file is no such table."""
    from datasets import Dataset

    arrow = _converted(path, cache_folder() / f"{sha256}.arrow")
    dataset = Dataset.from_file(str(arrow))
    columns = [name for name in dataset.column_names if name not in (PICTURES, KEYS)]
    cells = dataset.select_columns(columns).with_format(None)[:]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*(cells[name] for name in columns), strict=True)]
    keys = dataset.select_columns([KEYS])[:][KEYS]
    pictures = MappedPictures(dataset.select_columns([PICTURES]), keys)
    return assemble(path, sha256, columns, rows, pictures, [not own for own in keys])


def _converted(path: Path, arrow: Path) -> Path:
    """The Arrow file, made if it is not there; of several processes one makes it and the others wait.

    Raises UserError when the cache folder cannot be written.
    """
    from filelock import FileLock

    if arrow.is_file():
        return arrow
    try:
        arrow.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{arrow}.lock"):
            if not arrow.is_file():
                _convert(path, arrow)
    except OSError as error:
        raise UserError(
            f"{path} is too large for memory and cannot be converted into {arrow.parent} ({error.strerror or error}); "
            "set XDG_CACHE_HOME to a folder with room for it"
        ) from error
    return arrow


def _convert(path: Path, arrow: Path) -> None:
    """Written beside its place and moved there when whole."""
    from datasets import Features, Value
    from datasets import List as ListOf
    from datasets.arrow_writer import ArrowWriter
    from tqdm import tqdm  # type: ignore[import-untyped]

    unfinished = arrow.with_name(f"{arrow.name}.{os.getpid()}")
    writer = None
    try:
        for row in tqdm(read_cells(path), desc=f"converting {path.name} once", unit=" rows"):
            if writer is None:
                features = {name: Value("string") for name in row}
                features |= {PICTURES: ListOf(Value("large_string")), KEYS: ListOf(Value("string"))}
                writer = ArrowWriter(path=str(unfinished), features=Features(features), writer_batch_size=ROWS_A_BATCH)
            pictures = parse_pictures(row["image"], row["index"], path)
            # A reference is a short text and stays in its column; pictures move into theirs.
            row["image"] = row["image"] if not pictures else ""
            writer.write(row | {PICTURES: pictures, KEYS: [content_key(text) for text in pictures]})
        if writer is not None:
            writer.finalize()
            os.replace(unfinished, arrow)
    finally:
        unfinished.unlink(missing_ok=True)
