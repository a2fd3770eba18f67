"""A task's samples from its tables, and what identifies the tables.

Tables are VLMEvalKit's: `<root>/<TABLE>.tsv`. CV-Bench is also read from the Hub's layout, `<root>/test_2d.parquet` and
`test_3d.parquet`. Nothing is evaluated as code, no cell is guessed away, and pictures are decoded when somebody looks
at them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..records import ImageRef, Row, Sample, Task, UserError
from .hub import find_parquet, read_parquet
from .tsv import TableData, read_table


def load_samples(task: Task, root: Path) -> list[Sample]:
    """All samples in the tables' order.

    Raises UserError when a table is missing, damaged, lacks a column, names an index twice, or a row makes no sense.
    """
    samples = []
    for table in task.tables:
        data = _read(table.name, root)
        for position, row in enumerate(data.rows):
            samples.append(_sample(task, table.name, row, data.images(position)))
    return samples


def checksum(task: Task, root: Path) -> dict[str, dict[str, Any]]:
    """sha256 of the file and number of rows, by table."""
    tables = {table.name: _read(table.name, root) for table in task.tables}
    return {name: {"sha256": data.sha256, "num_rows": len(data.rows)} for name, data in tables.items()}


def _read(table: str, root: Path) -> TableData:
    path = root / f"{table}.tsv"
    if path.is_file():
        return read_table(path)
    parquet = find_parquet(table, root)
    if parquet:
        return read_parquet(table, parquet)
    raise UserError(
        f"table {table} not found: no file {path}; `aki-eval data fetch` downloads it, --data names a folder"
    )


def _sample(task: Task, table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    try:
        return task.to_sample(table, row, images)
    except UserError as error:
        raise UserError(f"table {table}: {error}") from error
