"""VLMEvalKit's TSV tables, read without pandas' guesses: every cell is text, only an empty cell is absent.

The `image` column holds a picture as base64, the index of the row that holds it, or a list of pictures as a literal.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from ..errors import RowError, UserError
from ..images import clean_base64
from ..kit import KIT_CELL, literal_list
from ..records import ImageRef, Row

KEPT = 8 * 2**20
"""Bytes up to which a table stays in memory, in case it is read again."""
LONGEST_REFERENCE = 64
"""Characters; a longer `image` cell is a picture (the kit's rule)."""
OPTION_COLUMNS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class TableRow(dict[str, str]):
    """A row whose missing cells say what is missing. `get` and `in` see absent cells as absent."""

    def __init__(self, cells: dict[str, str], columns: Sequence[str]) -> None:
        super().__init__(cells)
        self.columns = columns

    def __missing__(self, column: str) -> str:
        if column not in self.columns:
            raise UserError(f"column {column!r} is missing; the table has {', '.join(self.columns)}")
        raise RowError(f"row {self.get('index')}: column {column!r} is empty")


class Pictures(Protocol):
    """The pictures of each row as base64 text."""

    def keys(self, position: int) -> list[str]:
        """Of the contents: equal keys, equal pictures."""

    def read(self, position: int, number: int) -> str: ...


@dataclass(frozen=True)
class TableData:
    """A table: its rows without pictures, and which row holds the pictures of each (a row may borrow another's).

    `faults`: by position, what is wrong with a row's picture. Its sample is unscored, the others are not touched.
    """

    sha256: str
    rows: list[Row]
    pictures: Pictures
    holders: list[int]
    faults: Mapping[int, str]

    def images(self, position: int) -> tuple[ImageRef, ...]:
        holder = self.holders[position]
        return tuple(
            ImageRef(key, lambda number=number: base64.b64decode(self.pictures.read(holder, number)))  # type: ignore[misc]
            for number, key in enumerate(self.pictures.keys(holder))
        )


@dataclass(frozen=True)
class PicturesInMemory:
    """The pictures of each row, as texts."""

    texts: list[list[str]]

    def keys(self, position: int) -> list[str]:
        return [content_key(text) for text in self.texts[position]]

    def read(self, position: int, number: int) -> str:
        return self.texts[position][number]


def content_key(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_into_memory(path: Path) -> TableData:
    """The table in a TSV file, its pictures as texts in memory. Small ones are kept: runs under probes read them again.

    Raises:
        UserError: the file is no such table.
    """
    stat = path.stat()
    return _small(path, stat.st_size, stat.st_mtime_ns) if stat.st_size <= KEPT else _whole(path)


@lru_cache(maxsize=16)
def _small(path: Path, size: int, changed: int) -> TableData:
    return _whole(path)


def _whole(path: Path) -> TableData:
    cells = list(read_cells(path))
    columns = list(cells[0])
    return in_memory(path, columns, cells)


def in_memory(path: Path, columns: Sequence[str], cells: Sequence[dict[str, str]]) -> TableData:
    """The table of these rows, pictures in their `image`."""
    found = [pictures_or_fault(row) for row in cells]
    texts = PicturesInMemory([own for own, _ in found])
    return assemble(path, file_sha256(path), columns, cells, texts, [fault for _, fault in found])


def file_sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_cells(path: Path) -> Iterator[dict[str, str]]:
    """The rows as text by column, empty cells as "". Checks the form of the file; indices must be there and unique.

    Raises:
        UserError: the file is no such table, or cut off.
    """
    seen: set[str] = set()
    with _long_fields_allowed(), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t")
        try:
            columns = next(reader, [])
            _check_columns(columns, path)
            for cells in reader:
                if len(cells) != len(columns):
                    raise UserError(
                        f"{path}: line {reader.line_num} has {len(cells)} cells, expected {len(columns)}; cut off, or "
                        "a quote too many before?"
                    )
                _check_quotes(columns, cells, path, reader.line_num)
                row = dict(zip(columns, cells, strict=True))
                _check_index(row["index"], seen, path)
                yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not a UTF-8 table of tab-separated values ({error})") from error
    if not seen:
        raise UserError(f"{path}: the table has no rows")


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [name for name in ("index", "image", "question") if name not in columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing; the table has {', '.join(columns) or 'nothing'}")
    if len(set(columns)) < len(columns):
        raise UserError(f"{path}: a column occurs twice in {', '.join(columns)}")


def _check_quotes(columns: list[str], cells: list[str], path: Path, line: int) -> None:
    """Refuses a table in which a cell holds the end of its row and the beginning of another one.

    Two stray quotes do that: what stands between them, tabs and line breaks, is one cell. Assumption: no honest cell
    breaks its lines just where the cells of whole rows would end.

    Raises:
        UserError: there is such a cell.
    """
    for position, cell in enumerate(cells):
        if "\n" not in cell or "\t" not in cell:
            continue
        first, *others = cell.rstrip("\n").split("\n")
        tabs = [text.count("\t") for text in others]
        is_end = first.count("\t") == len(columns) - 1 - position
        if is_end and tabs and tabs[-1] in (position, len(columns) - 1) and set(tabs[:-1]) <= {len(columns) - 1}:
            raise UserError(
                f"{path}: column {columns[position]} of row {cells[columns.index('index')]!r} holds {len(others) + 1} "
                f"rows of the table (up to line {line}): two stray quotes merge them; double a quote that is meant"
            )


def _check_index(index: str, seen: set[str], path: Path) -> None:
    if "\n" in index or "\t" in index:
        raise UserError(f"{path}: the index {index[:40]!r} holds several cells; is there a quote too many?")
    if index == "" or index in seen:
        raise UserError(
            f"{path}: {f'index {index} occurs twice' if index else 'a row has no index'}; each row needs its own"
        )
    seen.add(index)


@contextmanager
def _long_fields_allowed() -> Iterator[None]:
    """Pictures are longer than csv's 128 KiB; the limit is the process's, so it is put back."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def pictures_or_fault(row: Mapping[str, str]) -> tuple[list[str], str]:
    """(the base64 texts in the row's `image` cell, ""), or (none, what is wrong with it)."""
    try:
        return parse_pictures(row["image"], row["index"]), ""
    except RowError as error:
        return [], str(error)


def parse_pictures(cell: str, index: str) -> list[str]:
    """The base64 texts in an `image` cell; none where it refers to another row.

    Raises:
        RowError: the cell is empty, a list that is none, or no whole picture.
    """
    if not cell:
        raise RowError(f"row {index}: column image is empty")
    listed = [cell]
    if cell.startswith("["):
        try:
            listed = [str(each) for each in literal_list(cell)]
        except ValueError as error:
            raise RowError(f"row {index}: column image is {error}") from error
    elif len(cell) <= LONGEST_REFERENCE:
        return []
    try:
        return [clean_base64(text) for text in listed]
    except ValueError as error:
        raise RowError(f"row {index}: column image holds {error}") from error


def assemble(
    path: Path,
    sha256: str,
    columns: Sequence[str],
    cells: Sequence[dict[str, str]],
    pictures: Pictures,
    faults: Sequence[str],
) -> TableData:
    """`cells` with their `image`: its text is looked at where the row has no picture of its own, and borrows one.

    `faults`: "" for each row whose picture is sound, or borrowed.
    """
    positions = {row["index"]: position for position, row in enumerate(cells)}
    borrows = [not fault and not pictures.keys(position) for position, fault in enumerate(faults)]
    holders = []
    wrong = {position: fault for position, fault in enumerate(faults) if fault}
    for position, row in enumerate(cells):
        holder = positions.get(row["image"], -1) if borrows[position] else position
        if holder < 0 or borrows[holder]:
            other = f"the picture of row {row['image']!r}, which holds none"
            wrong[position] = f"row {row['index']}: column image takes {other}"
            holder = position
        elif faults[holder] and holder != position:
            wrong[position] = f"row {row['index']}: its picture is another row's: {faults[holder]}"
        holders.append(holder)
    printed = as_pandas_prints(columns, cells)
    rows = [
        TableRow({name: cell for name, cell in row.items() if cell and name != "image"} | extra, columns)
        for row, extra in zip(cells, printed, strict=True)
    ]
    named = {position: f"{path}: {fault}" for position, fault in wrong.items()}
    return TableData(sha256, list(rows), pictures, holders, named)


def as_pandas_prints(columns: Sequence[str], cells: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Option cells that pandas, and so VLMEvalKit, shows in other words: a column of numbers with gaps becomes 4.0.

    Only cells that differ, under `KIT_CELL`.
    """
    extra: list[dict[str, str]] = [{} for _ in cells]
    options = [name for name in columns if name in OPTION_COLUMNS]
    if not options:
        return extra
    import pandas

    for name in options:
        texts = [row[name] for row in cells]
        if not any(map(_number_like, texts)):
            continue
        buffer = io.StringIO()
        csv.writer(buffer).writerows([[name, "end"], *([text, "."] for text in texts)])
        buffer.seek(0)
        column = pandas.read_csv(buffer, low_memory=False)[name]
        if column.dtype.kind not in "bif":
            continue
        for own, text, value in zip(extra, texts, column, strict=True):
            if text and not pandas.isna(value) and str(value) != text:
                own[KIT_CELL.format(name)] = str(value)
    return extra


def _number_like(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.lower() in ("true", "false")
    return True


def whole_number(row: Row, column: str) -> int:
    """The whole number in a cell.

    Raises:
        RowError: it holds none.
    """
    try:
        return int(row[column])
    except ValueError as error:
        raise RowError(f"row {row['index']}: {column} {row[column]!r} is no whole number") from error


def image_cluster(row: Row, images: tuple[ImageRef, ...]) -> str:
    """Which picture a question is about: the table's name for it, else its content."""
    return row.get("image_path") or "+".join(image.key for image in images)


def cache_folder() -> Path:
    """Where converted tables are kept: $XDG_CACHE_HOME/aki/tables or ~/.cache/aki/tables."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aki" / "tables"
