"""Reads a run folder: what made it, its metrics, its scores, the judge's verdicts and the predictions.

Light on purpose: `report`, `compare` and `gate` read tens of thousands of lines in well under a
second. Metrics are read and checked on opening, everything else when asked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.catalogue import NAME, in_order, task_of_run
from benchmarks.data.root import is_toy
from benchmarks.errors import UserError
from benchmarks.records import Metric, Prediction, Score, Verdict
from benchmarks.scoring import why_not_comparable
from benchmarks.task import Task
from benchmarks.tasks import TASKS

from .jsonl import predictions_files, read_lines, read_predictions
from .record import RunRecord, read_record
from .typed import Record, as_record


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """One task's metrics.json: metrics by protocol and name, and what they stand on."""

    task: str
    headline: str
    protocols: Mapping[str, Mapping[str, Metric]]
    subset: Mapping[str, Any] | None = None
    judge: Mapping[str, Any] | None = None
    complete: bool = True
    prompts: str = "aki"
    data: Mapping[str, Any] = field(default_factory=dict)
    definition: Mapping[str, Any] | None = None
    """Of a task outside the paper: `catalogue.Definition`."""

    @cached_property
    def about(self) -> Task:
        """The task; of one whose code is not at hand, what its definition says.

        Raises:
            UserError: nothing is known of it.
        """
        return task_of_run(self.task, self.definition)

    @property
    def toy(self) -> bool:
        """Measured on the toy world: its numbers say nothing about the paper's."""
        return is_toy(self.data.get("source"))

    @property
    def checksums(self) -> dict[str, Any]:
        """Of the tables that were answered, by name."""
        return {name: table.get("sha256") for name, table in self.data.get("tables", {}).items()}

    @property
    def comparable_judge(self) -> bool:
        """False when an offline rubric stood in for a judge model."""
        return self.judge is None or bool(self.judge.get("comparable", True))

    def why_not_comparable(self, metric: Metric | None, protocol: str | None = None) -> str | None:
        """Why a metric is to be compared with nothing: too many answers behind it are unread."""
        if metric is None:
            return None
        return why_not_comparable(self.about, protocol or self.headline, metric)


@dataclass(frozen=True)
class RunFolder:
    """An opened run. `results` holds the scored tasks in the paper's order, `unscored` those with predictions only."""

    path: Path
    label: str
    record: RunRecord | None
    """run.json; None where only scores are left, as in a baseline's file."""
    results: Mapping[str, TaskResult]
    unscored: tuple[str, ...] = ()

    @property
    def toy(self) -> bool:
        return any(result.toy for result in self.results.values())

    @property
    def probe(self) -> str | None:
        """Under which probe it asked; None for a run that asked plainly."""
        return self.record.probe.name if self.record and self.record.probe else None

    @property
    def made_by(self) -> dict[str, Any]:
        """The content of run.json, for showing it; empty where there is none."""
        return self.record.model_dump() if self.record else {}

    def prompts_hash(self, task: str) -> str | None:
        """Of the prompts of a task's whole table; None where it is not known."""
        return self.record.prompts_hash(task) if self.record else None

    def scores(self, task: str, protocol: str | None = None) -> list[Score]:
        """All scores of a task, or those of one protocol.

        Raises:
            UserError: scores.jsonl is missing, a line of it is damaged, or it holds fewer than metrics.json counts.
        """
        path = self.path / task / "scores.jsonl"
        if not path.is_file():
            raise UserError(f"{path} not found; `aki-eval score {self.path}` writes it")
        found = list(_records(Score, path, appended=False))
        counts = Counter(score.protocol for score in found)
        for name, metrics in self.results[task].protocols.items() if task in self.results else ():
            counted = max((metric.num_samples for metric in metrics.values()), default=0)
            if counts[name] < counted:
                raise UserError(
                    f"{path} holds {counts[name]} scores of protocol {name}, but metrics.json was made of {counted}: "
                    f"lines are missing; `aki-eval score {self.path}` writes both anew"
                )
        return [score for score in found if protocol is None or score.protocol == protocol]

    def verdicts(self, task: str) -> list[Verdict]:
        """What the judge said about a task, in the order in which it was asked; empty when nothing was judged."""
        path = self.path / task / "verdicts.jsonl"
        return list(_records(Verdict, path, appended=True)) if path.is_file() else []

    def predictions(self, task: str) -> dict[str, Prediction]:
        """Predictions by sample, from all ranks, as `read_predictions` reads them."""
        mark = self.record.answers.get(task) if self.record else None
        return read_predictions(predictions_files(self.path / task), mark)

    @cached_property
    def cut(self) -> Mapping[str, tuple[int, int]]:
        """By scored task: how many answers were cut off at the limit on tokens, of how many.

        Raises:
            UserError: as `predictions`.
        """
        answers = {
            task: [each for each in self.predictions(task).values() if each.error is None] for task in self.results
        }
        return {task: (sum(each.cut for each in own), len(own)) for task, own in answers.items()}


Named = TypeVar("Named", bound=RunFolder)


def open_runs(paths: Sequence[Path]) -> list[RunFolder]:
    """Opens several runs and gives each a label of its own.

    Raises:
        UserError: as `open_run`, or the same folder twice.
    """
    runs = [open_run(path) for path in paths]
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UserError(f"the same run folder is given twice: {', '.join(map(str, paths))}")
    return told_apart(runs)


def told_apart(runs: Sequence[Named]) -> list[Named]:
    """Runs of one label are called by their paths: `demo/eval` and `demo/eval` say nothing."""
    labels = [run.label for run in runs]
    return [run if labels.count(run.label) == 1 else replace(run, label=str(run.path)) for run in runs]


def open_run(path: Path) -> RunFolder:
    """Opens a run folder and checks what reports rely on.

    Raises:
        UserError: no run folder, a layout of another version, damaged files, or nothing scored yet.
    """
    if not (path / "run.json").is_file():
        raise UserError(f"{path} is no run folder: it has no run.json; give what `aki-eval run --out` got")
    record = read_record(path / "run.json")
    names = [name for name in in_order([*TASKS, *record.tasks]) if NAME.fullmatch(name)]
    present = [task for task in names if (path / task).is_dir()]
    results = {task: _result(path, task) for task in present if (path / task / "metrics.json").is_file()}
    if not results:
        raise UserError(f"{path} holds no scored task (no TASK/metrics.json); run `aki-eval score {path}` first")
    unscored = tuple(task for task in present if task not in results)
    return RunFolder(path, label_of(path, record), record, results, unscored)


def label_of(path: Path, record: RunRecord | None = None) -> str:
    """Short name for tables: the folder's, with its parent's where the folder's says nothing (`demo/eval`).

    Of a run under a probe the name of the run around it, and the probe's.
    """
    path = path.resolve()
    if record is not None and record.probe is not None:
        return f"{path.parent.parent.name} ({record.probe.name})"
    return path.name if path.name not in {"eval", "run", "out"} else f"{path.parent.name}/{path.name}"


def _cause(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else f"{error!s:.200}"


def _result(path: Path, task: str) -> TaskResult:
    file = path / task / "metrics.json"
    content = _object(file, f"{file} not found")
    if content.get("task") != task:
        raise UserError(f"{file} is about {content.get('task')!r}, expected {task!r}: was a folder renamed?")
    return task_result(content, file)


def task_result(content: Mapping[str, Any], file: Path) -> TaskResult:
    """The content of a metrics.json, checked.

    Raises:
        UserError: it is none; `file` is where it came from.
    """
    try:
        protocols = {
            protocol: {name: as_record(Metric, metric) for name, metric in metrics.items()}
            for protocol, metrics in content["protocols"].items()
        }
        result = as_record(TaskResult, {**content, "protocols": protocols})
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a metrics file of this version ({_cause(error)}); score the run again"
        ) from error
    _ = result.about  # one that nothing is known of is found out here
    if result.headline not in protocols:
        raise UserError(f"{file}: headline protocol {result.headline!r} is not among {sorted(protocols)}")
    return result


def other_data(first: RunFolder, second: RunFolder, task: str) -> bool:
    """Whether two runs answered different tables of a task: then equal indices are not equal questions."""
    return first.results[task].checksums != second.results[task].checksums


def _object(path: Path, missing: str) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(missing)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); it was cut short or edited") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def _records(record: type[Record], path: Path, *, appended: bool) -> Iterator[Record]:
    """One record a line.

    Raises:
        UserError: a line is damaged, or no such record.
    """
    for number, content in enumerate(read_lines(path, appended=appended), start=1):
        try:
            yield as_record(record, content)
        except (ValueError, TypeError, AttributeError, AssertionError) as error:
            raise UserError(f"{path} line {number} is no {record.__name__.lower()} ({error}); score again") from error
