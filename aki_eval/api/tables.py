"""Data frames as the tables that the harness reads."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.results.store import RunStore

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = ".tables"
"""In the run folder: tables that were given as frames, each set of them in a folder named by its contents."""


def write_tables(frames: Mapping[str, DataFrame], out: Path) -> str:
    """Writes each frame as `<its name>.tsv` and returns the folder: the same frames always give the same.

    Raises:
        UserError: a cell is neither text, number nor picture, or the run folder cannot be written.
    """
    texts = {name: _as_tsv(name, frame) for name, frame in frames.items()}
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        digest.update(f"{name}\n{text}".encode())
    RunStore(out).create()
    folder = out / TABLES / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = folder / f"{name}.tsv"
        if not path.exists():
            write_atomically(path, text)
    return str(folder)


def _as_tsv(name: str, frame: DataFrame) -> str:
    missing = [column for column in ("index", "image", "question") if column not in frame.columns]
    if missing:
        raise UserError(
            f"data[{name!r}]: column {missing[0]!r} is missing; it has {', '.join(map(str, frame.columns))}"
        )
    cells = frame.astype(object)
    for column in frame.columns:
        to_text = _picture_cell if column == "image" else _cell
        cells[column] = [to_text(value, name, column, row) for row, value in enumerate(frame[column])]
    text: str = cells.to_csv(sep="\t", index=False, lineterminator="\n")
    return text


def _cell(value: Any, table: str, column: str, row: int) -> str:
    from pandas import isna

    if isinstance(value, list | tuple | dict):
        return str(value)
    if value is None or isna(value):
        return ""
    if isinstance(value, bytes | Image.Image):
        raise UserError(f"data[{table!r}]: row {row}: column {column} holds a {type(value).__name__}, expected text")
    return str(value)


def _picture_cell(value: Any, table: str, column: str, row: int) -> str:
    if isinstance(value, list | tuple):
        return str([_picture_cell(each, table, column, row) for each in value])
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return base64.b64encode(buffer.getvalue()).decode()
    return _cell(value, table, column, row)
