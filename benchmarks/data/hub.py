"""CV-Bench as it lies on the Hub (nyu-visionx/CV-Bench): parquet files instead of VLMEvalKit's tables.

The same questions come out as the same samples: choices get their letters, the answer "(C)" loses its brackets.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from .tsv import TableData, in_memory

FILES = {"CV-Bench-2D": "test_2d", "CV-Bench-3D": "test_3d"}
ROWS_AT_ONCE = 64
NEEDED = ("idx", "type", "task", "image", "question", "choices", "answer", "prompt", "source")


def find_parquet(table: str, root: Path) -> Path | None:
    """The Hub's file for a table, in `root` or a folder of it."""
    if table not in FILES:
        return None
    return next(iter(sorted(root.rglob(f"{FILES[table]}*.parquet"))), None)


def read_parquet(path: Path) -> TableData:
    """The table of a parquet file, rows as in VLMEvalKit's.

    Raises:
        UserError: the file is damaged, or lacks one of the Hub's fields.
    """
    cells = list(read_records(path))
    if not cells:
        raise UserError(f"{path}: the table has no rows")
    return in_memory(path, list(cells[0]), cells)


def read_records(path: Path) -> Iterator[dict[str, str]]:
    """The records in the columns of VLMEvalKit's table, pictures as base64; a column that is absent is empty.

    Raises:
        UserError: the file is damaged, or a record is not as the Hub has it.
    """
    from pyarrow import ArrowException, parquet

    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise UserError(f"{path}: field {missing[0]!r} is missing; the file has {', '.join(names)}")
        most = max((len(each) for each in file.read(columns=["choices"])["choices"].to_pylist()), default=0)
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=list(NEEDED)):
            for record in batch.to_pylist():
                yield _cells(record, most, path)
    except (ArrowException, OSError) as error:
        raise UserError(f"{path} is not a whole parquet file ({error})") from error


def _cells(record: Mapping[str, Any], most: int, path: Path) -> dict[str, str]:
    """One record, with `most` columns for options."""
    content = (record["image"] or {}).get("bytes") or b""
    choices = [str(choice) for choice in record["choices"]]
    options = {chr(ord("A") + number): choice for number, choice in enumerate(choices + [""] * (most - len(choices)))}
    return {
        "index": str(record["idx"]),
        **{name: str(record[name]) for name in ("question", "prompt", "source", "task")},
        **options,
        "answer": record["answer"].strip("()"),
        "split": record["type"],
        "image": base64.b64encode(content).decode(),
    }
