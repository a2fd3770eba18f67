"""The last thing a run says: the headline numbers, and what is missing."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from benchmarks.printable import printable
from benchmarks.results.folder import RunFolder, label_of, task_result
from benchmarks.results.record import RunRecord, read_record
from reports.paper_tables import Plan
from reports.summary import show_summary

from .score import TaskOutcome


def show_results(console: Console, root: Path, results: Sequence[TaskOutcome]) -> None:
    """The one-screen summary of what was scored just now."""
    scored = {
        result.task.name: task_result(result.metrics, root / result.task.name / "metrics.json")
        for result in results
        if not result.failure
    }
    record = read_record(root / "run.json") if (root / "run.json").is_file() else None
    run = RunFolder(root, label_of(root, record), record, scored)
    show_summary(console, Plan((run,)), failed=[result.task.name for result in results if result.failure])


def explain_incomplete(
    root: Path,
    results: Sequence[TaskOutcome],
    allow_partial: bool,
    again: str = "repeat the command",
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Says on stderr what is missing and what to do, and returns the exit code.

    It is 1 when something is missing and that was not allowed, or when scoring itself failed.

    Args:
        root: the run folder.
        results: of the tasks that were scored.
        allow_partial: what is missing is no failure.
        again: how unasked samples come to be asked, seen from the command that speaks.
        left_out: tasks without tables, and the reasons.
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
    for name, reason in left_out.items():
        print(printable(f"aki-eval: {name}: not run: {reason}"), file=sys.stderr)
    return 1 if failed or ((incomplete or left_out) and not allow_partial) else 0


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
