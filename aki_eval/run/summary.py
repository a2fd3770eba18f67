"""The last thing a run says: the headline numbers, and what is missing."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.catalogue import in_order
from benchmarks.records import Metric
from benchmarks.results.record import RunRecord
from benchmarks.scoring import why_not_comparable, worth_saying
from benchmarks.tasks import headline_labels

from .score import TaskOutcome


def show_results(console: Console, root: Path, results: Sequence[TaskOutcome]) -> None:
    """A row for each column that was measured: the paper's, then other benchmarks'."""
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
    for task in in_order(by_task):
        result = by_task[task]
        for name, label in headline_labels(result.task).items():
            found = result.metrics["protocols"][result.metrics["headline"]].get(name)
            metric = None if found is None else Metric(**found)
            table.add_row(label, *_cells(metric), _note(result, metric))
    console.print(table)
    for line in _remarks(root, results):
        console.print(line, highlight=False, soft_wrap=True)


def _remarks(root: Path, results: Sequence[TaskOutcome]) -> list[str]:
    """Where it all is, and whatever makes the numbers less than a measurement of the paper's columns."""
    remarks = [f"run folder {root}; aki-eval report {root} sets it beside the paper"]
    if any(result.metrics["data"]["source"] == "toy" for result in results):
        remarks.append("toy world: not comparable to the paper")
    if any(result.metrics["subset"] for result in results):
        remarks.append("subset: only part of each table was asked")
    judges = {result.metrics["judge"]["name"] for result in results if result.metrics["judge"]}
    return remarks + [f"judge: {name}" for name in sorted(judges)]


def _cells(metric: Metric | None) -> tuple[str, str, str]:
    if metric is None:
        return "-", "-", "-"
    return (
        "-" if metric.value is None else f"{metric.value:.1f}",
        "-" if metric.ci95 is None else f"{metric.ci95[0]:.1f} to {metric.ci95[1]:.1f}",
        f"{metric.num_scored}/{metric.num_samples}",
    )


def _note(result: TaskOutcome, metric: Metric | None) -> str:
    notes = ["judged" if result.metrics["judge"] else "", "" if result.complete else "incomplete"]
    if result.failure:
        notes = ["scoring failed"]
    elif metric:
        why = why_not_comparable(result.task, result.metrics["headline"], metric)
        notes.append(why or (f"{metric.num_unread} unread" if worth_saying(metric) else ""))
    return ", ".join(note for note in notes if note)


def explain_incomplete(
    root: Path, results: Sequence[TaskOutcome], allow_partial: bool, again: str = "repeat the command"
) -> int:
    """Says on stderr what is missing and what to do; the exit code: 1 when something is and that was not allowed,
    or when scoring itself failed.

    `again` is how unasked samples come to be asked, seen from the command that speaks.
    """
    incomplete = [result for result in results if not result.complete]
    failed = [result for result in results if result.failure]
    for result in incomplete:
        for reason in _reasons(root, result, again):
            print(f"aki-eval: {result.task.name}: {reason}", file=sys.stderr)
    unjudged = ",".join(result.task.name for result in incomplete if _lacks_judge(result))
    if unjudged:
        print(
            f"aki-eval: {unjudged}: no judge graded the answers; aki-eval score {root} --bench {unjudged} --judge NAME",
            file=sys.stderr,
        )
    return 1 if failed or (incomplete and not allow_partial) else 0


def how_to_ask(run: RunRecord) -> str:
    """What brings the answers that a run folder lacks, from its run.json: scoring it again does not."""
    if run.imported:
        return "aki-eval import a file that has them, into another --out,"
    commands = [session.command for session in reversed(run.sessions)]
    known = next((command for command in commands if command[1:2] == ["run"]), None)
    return shlex.join(part for part in known if part != "--fresh") if known else "aki-eval run with the same options"


def count_samples(number: int) -> str:
    return f"{number} sample" if number == 1 else f"{number} samples"


def _reasons(root: Path, result: TaskOutcome, again: str) -> Iterator[str]:
    folder = root / result.task.name
    if result.failure:
        yield f"scoring failed ({result.failure}); see {folder}/scoring_failure.txt. The other tasks are not touched"
        return
    passing = result.num_errors - result.num_refused
    if result.num_missing:
        yield f"{count_samples(result.num_missing)} not asked; {again} to go on"
    if passing:
        yield f"{count_samples(passing)} failed (see error in {folder}/predictions.jsonl); {again} to ask again"
    if result.num_refused:
        yield (
            f"{count_samples(result.num_refused)} cannot be answered by this model, however often it is asked "
            f"(see ValueError in {folder}/predictions.jsonl)"
        )
    if not (result.num_missing or result.num_errors or _lacks_judge(result)):
        causes = (result.metrics["judge"] or {}).get("errors") or {}
        why = f"; the judge: {next(iter(causes))}; see error in {folder}/verdicts.jsonl" if causes else ""
        yield f"{count_samples(result.num_unscored)} could not be scored (see reason in {folder}/scores.jsonl{why})"


def _lacks_judge(result: TaskOutcome) -> bool:
    return result.task.judged and result.metrics["judge"] is None and not result.failure
