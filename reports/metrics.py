"""Every metric of a task, also those that the paper has no line for, under every protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.results.folder import RunFolder

from .series import run_cell
from .tables import Cell, Column, Row, Table


def _cell(run: RunFolder, task: str, name: str, protocol: str) -> Cell:
    return replace(run_cell(run.results[task], name, protocol), run=run.label)


def every_metric(task: str, runs: Sequence[RunFolder]) -> Table:
    """Metrics as rows, one column for each run and protocol."""
    sides = [(run, protocol) for run in runs if task in run.results for protocol in run.results[task].protocols]
    names = dict.fromkeys(name for run, protocol in sides for name in run.results[task].protocols[protocol])
    columns = [Column(label=f"{run.label} · {protocol}", kind="run") for run, protocol in sides]
    rows = [Row(label=name, cells=tuple(_cell(run, task, name, protocol) for run, protocol in sides)) for name in names]
    title = next(run.results[task].about.title for run in runs if task in run.results)
    return Table(
        key=f"every-metric-{task}",
        title=f"{title}: every metric, every protocol",
        corner="Metric",
        columns=tuple(columns),
        rows=tuple(rows),
        remarks=("All protocols read the same stored answers.",),
    )
