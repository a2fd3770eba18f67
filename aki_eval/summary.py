"""The last thing a run says: the headline numbers, and what is missing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.tasks import COLUMNS

from .score import TaskResult


def show_results(console: Console, root: Path, results: Sequence[TaskResult]) -> None:
    """A row for each of the paper's columns that was measured."""
    table = Table()
    for heading, side in (
        ("benchmark", "left"),
        ("value", "right"),
        ("95 % interval", "right"),
        ("scored", "right"),
        ("", "left"),
    ):
        table.add_column(heading, justify="right" if side == "right" else "left")
    by_task = {result.task.name: result for result in results}
    for column in COLUMNS:
        if column.task in by_task:
            result = by_task[column.task]
            metric = result.metrics["protocols"][result.metrics["headline"]].get(column.metric)
            table.add_row(column.label, *_cells(metric), _note(result))
    console.print(table)
    for line in _remarks(root, results):
        console.print(line, highlight=False, soft_wrap=True)


def _remarks(root: Path, results: Sequence[TaskResult]) -> list[str]:
    """Where it all is, and whatever makes the numbers less than a measurement of the paper's columns."""
    remarks = [f"run folder {root}; aki-eval report {root} sets it beside the paper"]
    if any(result.metrics["data"]["source"] == "toy" for result in results):
        remarks.append("toy world: not comparable to the paper")
    if any(result.metrics["subset"] for result in results):
        remarks.append("subset: only part of each table was asked")
    judges = {result.metrics["judge"]["name"] for result in results if result.metrics["judge"]}
    return remarks + [f"judge: {name}" for name in sorted(judges)]


def _cells(metric: dict[str, Any] | None) -> tuple[str, str, str]:
    if metric is None:
        return "-", "-", "-"
    value, interval = metric["value"], metric["ci95"]
    return (
        "-" if value is None else f"{value:.1f}",
        "-" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}",
        f"{metric['num_scored']}/{metric['num_samples']}",
    )


def _note(result: TaskResult) -> str:
    judged = "judged" if result.metrics["judge"] else ""
    return ", ".join(note for note in (judged, "" if result.complete else "incomplete") if note)


def explain_incomplete(root: Path, results: Sequence[TaskResult], allow_partial: bool) -> int:
    """Says on stderr what is missing and what to do; the exit code: 1 when something is and that was not allowed."""
    incomplete = [result for result in results if not result.complete]
    for result in incomplete:
        print(f"aki-eval: {_reason(root, result)}", file=sys.stderr)
    return 1 if incomplete and not allow_partial else 0


def _reason(root: Path, result: TaskResult) -> str:
    name = result.task.name
    if result.num_missing:
        return f"{name}: {result.num_missing} samples were not asked; repeat the command to go on"
    if result.num_errors:
        return (
            f"{name}: {result.num_errors} samples failed (see error in {root / name}/predictions.jsonl); "
            "repeat the command to ask them again"
        )
    if result.task.judged and result.metrics["judge"] is None:
        return f"{name}: no judge graded the answers; aki-eval score {root} --bench {name} --judge NAME"
    headline = result.metrics["protocols"][result.metrics["headline"]]
    unscored = max((metric["num_unscored"] for metric in headline.values()), default=0)
    return f"{name}: {unscored} samples could not be scored (see reason in {root / name}/scores.jsonl)"
