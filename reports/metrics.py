"""Every metric of a task, also those that the paper has no line for, under every protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.results.folder import RunFolder

from .series import run_cell
from .tables import Column, Row, Table


def every_metric(task: str, runs: Sequence[RunFolder]) -> Table:
    """Metrics as rows, one column for each run and protocol."""
    sides = [(run, protocol) for run in runs if task in run.results for protocol in run.results[task].protocols]
    names = dict.fromkeys(name for run, protocol in sides for name in run.results[task].protocols[protocol])
    columns = [Column(label=f"{run.label} · {protocol}", kind="run") for run, protocol in sides]
    rows = [
        Row(
            label=name,
            cells=tuple(replace(run_cell(run.results[task], name, at), run=run.label) for run, at in sides),
        )
        for name in names
    ]
    title = next(run.results[task].about.title for run in runs if task in run.results)
    return Table(
        key=f"every-metric-{task}",
        title=f"{title}: every metric, every protocol",
        corner="Metric",
        columns=tuple(columns),
        rows=tuple(rows),
        remarks=("All protocols read the same stored answers.",),
    )
