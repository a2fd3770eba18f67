"""CV-Bench as it lies on the Hub (nyu-visionx/CV-Bench): parquet files instead of VLMEvalKit's tables.

The same questions come out as the same samples: choices get their letters, the answer "(C)" loses its brackets.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..records import Row
from .tsv import TableData, TableRow, as_pandas_prints, cache_folder, content_key, file_sha256

if TYPE_CHECKING:
    from datasets import Dataset

FILES = {"CV-Bench-2D": "test_2d", "CV-Bench-3D": "test_3d"}
NEEDED = ("idx", "type", "task", "image", "question", "choices", "answer", "prompt", "source")


def find_parquet(table: str, root: Path) -> Path | None:
    """The Hub's file for a table, in `root` or a folder of it."""
    if table not in FILES:
        return None
    return next(iter(sorted(root.rglob(f"{FILES[table]}*.parquet"))), None)


@dataclass(frozen=True)
class HubPictures:
    """Pictures in the memory-mapped data set."""

    dataset: Dataset
    all_keys: list[list[str]]

    def keys(self, position: int) -> list[str]:
        return self.all_keys[position]

    def read(self, position: int, number: int) -> str:
        return _base64(self.dataset[position]["image"])


def _base64(image: dict[str, Any]) -> str:
    return base64.b64encode(image["bytes"]).decode()


def read_parquet(table: str, path: Path) -> TableData:
    """Raises UserError when the file lacks one of the Hub's fields."""
    from datasets import Dataset, Image

    dataset = Dataset.from_parquet(str(path), cache_dir=str(cache_folder()))
    missing = [name for name in NEEDED if name not in dataset.column_names]
    if missing:
        raise UserError(f"{path}: field {missing[0]!r} is missing; the file has {', '.join(dataset.column_names)}")
    dataset = dataset.cast_column("image", Image(decode=False))
    pictures = dataset.select_columns(["image"])
    keys = [[content_key(_base64(record["image"]))] for record in pictures]
    cells = [_cells(record) for record in dataset.remove_columns(["image"])]
    columns = list(dict.fromkeys(name for row in cells for name in row))
    printed = as_pandas_prints(columns, [{name: row.get(name, "") for name in columns} for row in cells])
    rows: list[Row] = [TableRow(row | extra, columns) for row, extra in zip(cells, printed, strict=True)]
    return TableData(file_sha256(path), rows, HubPictures(pictures, keys), list(range(len(rows))))


def _cells(record: dict[str, Any]) -> dict[str, str]:
    """One record in the columns of VLMEvalKit's table."""
    row = {name: str(record[name]) for name in ("question", "prompt", "source", "task")}
    options = {chr(ord("A") + number): str(choice) for number, choice in enumerate(record["choices"])}
    cells = {
        "index": str(record["idx"]),
        **row,
        **options,
        "answer": record["answer"].strip("()"),
        "split": record["type"],
    }
    return {name: cell for name, cell in cells.items() if cell}
