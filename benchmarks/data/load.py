"""A task's samples from its tables, and what identifies the tables.

Tables are VLMEvalKit's: `<root>/<TABLE>.tsv`. CV-Bench is also read from the Hub's layout, `<root>/test_2d.parquet` and
`test_3d.parquet`. Nothing is evaluated as code, no cell is guessed away, and pictures are decoded when somebody looks
at them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import RowError, UserError
from ..plugins import named_as_theirs
from ..records import ImageRef, Row, Sample
from ..task import DataTable, Task
from .arrow import read_large
from .hub import find_parquet, read_parquet, read_records
from .tsv import TableData, file_sha256, read_into_memory

LARGE = 64 * 2**20
"""Bytes from which on a table is converted to Arrow (SEED-Bench and MMBench are of the 1 GB class)."""


def load_samples(task: Task, root: Path) -> list[Sample]:
    """All samples in the tables' order. A row that makes no sense, or whose picture is damaged, is one with a fault.

    Raises:
        UserError: a table is missing, damaged, lacks a column, names an index twice, or no row makes sense; or the
            task's `to_sample` fails, gives no Sample, or gives two of them one index.
    """
    samples: list[Sample] = []
    seen: set[str] = set()
    for table in task.tables:
        data = _read(table.name, root)
        for position, row in enumerate(data.rows):
            sample = _sample(task, table.name, row, data.images(position))
            if position in data.faults:
                sample = replace(sample, fault=data.faults[position], cluster=sample.cluster or sample.index)
            if sample.index in seen:  # answers are stored by index: of two, one would get the other's
                raise UserError(
                    f"table {table.name}: the sample of row {row['index']} has the index {sample.index!r}, which "
                    f"another one has; to_sample of {task.name} has to give each its own (of several tables, "
                    "TABLE/INDEX)"
                )
            seen.add(sample.index)
            samples.append(sample)
    if samples and all(sample.fault for sample in samples):
        raise UserError(f"no row makes sense: {samples[0].fault}")
    return samples


def is_present(table: DataTable, root: Path) -> bool:
    """As VLMEvalKit's table or (CV-Bench) as the Hub's file."""
    return (root / f"{table.name}.tsv").is_file() or find_parquet(table.name, root) is not None


def checksum(task: Task, root: Path) -> dict[str, dict[str, Any]]:
    """sha256 of the file and number of rows, by table."""
    tables = {table.name: _read(table.name, root) for table in task.tables}
    return {name: {"sha256": data.sha256, "num_rows": len(data.rows)} for name, data in tables.items()}


def _read(table: str, root: Path) -> TableData:
    path = root / f"{table}.tsv"
    if path.is_file():
        large = path.stat().st_size >= LARGE
        return read_large(path, file_sha256(path)) if large else read_into_memory(path)
    parquet = find_parquet(table, root)
    if parquet:
        large = parquet.stat().st_size >= LARGE
        return read_large(parquet, file_sha256(parquet), read_records) if large else read_parquet(parquet)
    raise UserError(
        f"table {table} not found: no file {path}; `aki-eval data fetch` downloads it, --data names a folder"
    )


def _sample(task: Task, table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    try:
        with named_as_theirs(task.to_sample, f"{task.name}: to_sample of row {row['index']}"):
            sample: object = task.to_sample(table, row, images)
        if not isinstance(sample, Sample):
            raise UserError(
                f"{task.name}: to_sample gives a {type(sample).__name__}, expected a benchmarks.records.Sample"
            )
        return sample
    except RowError as error:
        index = row["index"] if len(task.tables) == 1 else f"{table}/{row['index']}"
        question = row.get("question", "")
        fault = f"table {table}: {error}"
        return Sample(index=index, images=images, question=question, target="", cluster=index, row=row, fault=fault)
    except UserError as error:
        raise UserError(f"table {table}: {error}") from error
