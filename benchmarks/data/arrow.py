"""Tables that do not belong in memory, as Arrow files that `datasets` maps.

Converted once for each content (the file is named after the table's sha256), row by row, into the user's cache folder.
The sha256 of the Arrow file stands beside it and is checked at every start: what was changed is converted again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files import write_atomically
from .tsv import TableData, assemble, cache_folder, content_key, file_sha256, pictures_or_fault, read_cells

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_A_BATCH = 64
"""Rows written at once: a few MB of pictures."""
READS_A_MAP = 1024
"""Pictures read before the file is mapped anew: some tens of MB."""
PICTURES, KEYS, FAULT = "image: pictures", "image: keys", "image: fault"


class MappedPictures:
    """Pictures in a memory-mapped Arrow file; the keys, which are short, are in memory.

    What was read from a map counts as the process's memory until the map is closed: it is opened anew now and then.
    """

    def __init__(self, arrow: Path, all_keys: list[list[str]]) -> None:
        self.arrow = arrow
        self.all_keys = all_keys
        self.num_reads = 0
        self.dataset: Dataset | None = None

    def keys(self, position: int) -> list[str]:
        return self.all_keys[position]

    def read(self, position: int, number: int) -> str:
        dataset = self.dataset
        if dataset is None or self.num_reads % READS_A_MAP == 0:
            dataset = self.dataset = open_arrow(self.arrow).select_columns([PICTURES])
        self.num_reads += 1
        return str(dataset[position][PICTURES][number])


def open_arrow(arrow: Path) -> Dataset:
    from datasets import Dataset

    return Dataset.from_file(str(arrow))


def read_large(path: Path, sha256: str, rows: Callable[[Path], Iterable[dict[str, str]]] = read_cells) -> TableData:
    """`rows`: reads the file's rows as text by column, the pictures in `image`.

    Raises:
        UserError: the file is no such table.
    """
    arrow = _converted(path, cache_folder() / f"{sha256}.v2.arrow", rows)
    dataset = open_arrow(arrow)
    columns = [name for name in dataset.column_names if name not in (PICTURES, KEYS, FAULT)]
    cells = dataset.select_columns(columns).with_format(None)[:]
    found = [dict(zip(columns, values, strict=True)) for values in zip(*(cells[name] for name in columns), strict=True)]
    about = dataset.select_columns([KEYS, FAULT])[:]
    return assemble(path, sha256, columns, found, MappedPictures(arrow, about[KEYS]), about[FAULT])


def _converted(path: Path, arrow: Path, rows: Callable[[Path], Iterable[dict[str, str]]]) -> Path:
    """The Arrow file, made if it is not there, or not what was made; of several processes one makes it.

    Raises:
        UserError: the cache folder cannot be written.
    """
    from filelock import FileLock

    try:
        arrow.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{arrow}.lock"):
            if not _is_whole(arrow):
                _sweep(arrow)
                _convert(path, arrow, rows)
    except OSError as error:
        raise UserError(
            f"{path} is too large for memory and cannot be converted into {arrow.parent} ({error.strerror or error}); "
            "set XDG_CACHE_HOME to a folder with room for it"
        ) from error
    return arrow


def _noted(arrow: Path) -> Path:
    """Holds the sha256 of the Arrow file, written when that is in its place."""
    return arrow.with_name(f"{arrow.name}.sha256")


def _is_whole(arrow: Path) -> bool:
    """The name alone proves nothing: whatever was changed since would be asked, under the checksum of the table."""
    if not (arrow.is_file() and _noted(arrow).is_file()):
        return False
    if _noted(arrow).read_text("ascii", "replace").strip() == file_sha256(arrow):
        return True
    print(f"{arrow} is not what was converted; converting again", file=sys.stderr)
    return False


def _sweep(arrow: Path) -> None:
    """Deletes what killed conversions left.

    These are unfinished files of this table, whose lock is ours, and of tables on which nobody works.
    """
    from filelock import FileLock, Timeout

    for unfinished in (*arrow.parent.glob("*.arrow.part"), *arrow.parent.glob(".*.arrow.sha256.*")):
        # TABLE.arrow.part, and .TABLE.arrow.sha256.PID-RANDOM as `files.beside` names it
        owner = f"{unfinished.name.removeprefix('.').partition('.arrow')[0]}.arrow"
        lock = FileLock(unfinished.with_name(f"{owner}.lock"), timeout=0, is_singleton=False)
        with suppress(Timeout), nullcontext() if owner == arrow.name else lock:
            unfinished.unlink(missing_ok=True)


def _convert(path: Path, arrow: Path, rows: Callable[[Path], Iterable[dict[str, str]]]) -> None:
    """Written beside its place and moved there when whole."""
    from datasets import Features, Value
    from datasets import List as ListOf
    from datasets.arrow_writer import ArrowWriter
    from tqdm import tqdm

    unfinished = arrow.with_name(f"{arrow.name}.part")
    writer = None
    try:
        for row in tqdm(rows(path), desc=f"converting {path.name} once", unit=" rows", disable=None):
            if writer is None:
                features = {name: Value("string") for name in row}
                features |= {PICTURES: ListOf(Value("large_string")), KEYS: ListOf(Value("string"))}
                features[FAULT] = Value("string")
                writer = ArrowWriter(path=str(unfinished), features=Features(features), writer_batch_size=ROWS_A_BATCH)
            pictures, fault = pictures_or_fault(row)
            # A reference is a short text and stays in its column; pictures move into theirs.
            row["image"] = row["image"] if not pictures else ""
            writer.write(row | {PICTURES: pictures, KEYS: [content_key(text) for text in pictures], FAULT: fault})
        if writer is not None:
            writer.finalize()
            _noted(arrow).unlink(missing_ok=True)
            os.replace(unfinished, arrow)
            write_atomically(_noted(arrow), file_sha256(arrow) + "\n")
    finally:
        unfinished.unlink(missing_ok=True)
