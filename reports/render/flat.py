"""Tables for programs: one CSV line a cell, and JSON with every metric of the runs, shown in a table or not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.printable import for_json, for_spreadsheet
from benchmarks.results.folder import RunFolder

from ..tables import Cell, Row, Table

COLUMNS = (
    "table",
    "section",
    "row",
    "kind",
    "column",
    "task",
    "metric",
    "protocol",
    "value",
    "ci95_low",
    "ci95_high",
    "seed_ci95_low",
    "seed_ci95_high",
    "num_samples",
    "num_scored",
    "num_unread",
    "num_units",
    "p_value",
    "p_holm",
    "test",
    "shown",
    "notes",
)


def to_csv(tables: Sequence[Table]) -> str:
    """All tables in one long CSV. `shown` is the cell as the other formats print it, `kind` whose number it is."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                kind = row.kind if row.kind != "paper" else column.kind
                place = {"table": table.key, "section": row.section, "row": row.label, "kind": kind}
                line = {**place, "column": column.label, **_cell(cell)}
                ours = () if cell.text is not None else ("shown",)  # +1.2 is a number, and no formula
                writer.writerow(
                    {
                        name: for_spreadsheet(value) if isinstance(value, str) and name not in ours else value
                        for name, value in line.items()
                    }
                )
    return stream.getvalue()


def _cell(cell: Cell) -> dict[str, Any]:
    low, high = cell.ci95 or (None, None)
    seed_low, seed_high = cell.seed_ci95 or (None, None)
    return {
        "task": cell.task,
        "metric": cell.metric,
        "protocol": cell.protocol,
        "value": cell.value,
        "ci95_low": low,
        "ci95_high": high,
        "seed_ci95_low": seed_low,
        "seed_ci95_high": seed_high,
        "num_samples": cell.num_samples,
        "num_scored": cell.num_scored,
        "num_unread": cell.num_unread,
        "num_units": cell.num_units,
        "p_value": cell.p_value,
        "p_holm": cell.p_holm,
        "test": cell.test,
        "shown": cell.number,
        "notes": " ".join(cell.notes),
    }


def to_json(tables: Sequence[Table], runs: Sequence[RunFolder]) -> str:
    """Tables as nested objects, and each run with all its metrics and what made it."""
    content = {
        "format": 1,
        "runs": [_run(run) for run in runs],
        "tables": [_table(table) for table in tables],
    }
    return for_json(json.dumps(content, indent=2, ensure_ascii=False)) + "\n"


def _run(run: RunFolder) -> dict[str, Any]:
    return {
        "label": run.label,
        "made_by": run.made_by,
        "answered_but_not_scored": list(run.unscored),
        "tasks": {task: asdict(result) for task, result in run.results.items()},
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "key": table.key,
        "title": table.title,
        "notices": list(table.notices),
        "columns": [{"label": column.label, "kind": column.kind} for column in table.columns],
        "rows": [_row(row) for row in table.rows],
        "remarks": list(table.remarks),
    }


def _row(row: Row) -> dict[str, Any]:
    cells = [{**_cell(cell), "notes": list(cell.notes)} for cell in row.cells]
    return {"label": row.label, "kind": row.kind, "section": row.section, "notes": list(row.notes), "cells": cells}
