"""All samples in one flat table: a row a sample and protocol."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results.folder import RunFolder

from .rows import sample_rows

FILE = "samples.parquet"


def write(run: RunFolder, out: Path) -> list[Path]:
    """`samples.parquet`; columns have the same types whatever is missing in them."""
    import pyarrow as pa
    from pyarrow import parquet

    text, number = pa.string(), pa.float64()
    schema = pa.schema(
        [
            *((name, text) for name in ("run", "model", "task", "protocol", "index", "prompt", "prediction")),
            *((name, text) for name in ("answer", "target")),
            ("value", number),
            *((name, text) for name in ("reason", "error", "finish_reason")),
            ("num_tokens", pa.int64()),
            ("groups", pa.list_(text)),
            ("cluster", text),
        ]
    )
    path = out / FILE
    with parquet.ParquetWriter(path, schema) as writer:
        for task, result in run.results.items():
            for protocol in result.protocols:
                rows = list(sample_rows(run, task, protocol))
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return [path]
