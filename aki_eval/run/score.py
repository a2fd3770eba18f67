"""From stored predictions to metrics. The model is never asked here, and a number never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.records import Judge, Prediction, Score, Task, UserError
from benchmarks.results.store import RunFolder
from benchmarks.scoring import metrics_of, score_task

from ..judges import JudgeOptions
from .inputs import TaskInput


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """The outcome of one task: its metrics.json, and how many samples have no answer.

    `num_refused` of the `num_errors` are ValueErrors: the model itself will not take such a prompt, now or later.
    """

    task: Task
    metrics: dict[str, Any]
    num_missing: int
    num_errors: int
    num_refused: int = 0

    @property
    def complete(self) -> bool:
        return bool(self.metrics["complete"])


def score_inputs(
    folder: RunFolder, run: Mapping[str, Any], inputs: Sequence[TaskInput], options: JudgeOptions
) -> list[TaskResult]:
    """Scores every task from its stored predictions and writes scores.jsonl and metrics.json.

    What can be wrong with the tables or the judge of any task is found before the metrics of the first are replaced.

    Raises UserError when the tables are not those that the predictions were made with, or there is no such judge.
    """
    for given in inputs:
        _check_tables(run, given)
    source = run["data"]["source"]
    judges = [options.make(source, folder.verdicts_path(given.task.name)) for given in inputs]
    return [_score(folder, run, given, options, judge) for given, judge in zip(inputs, judges, strict=True)]


def _check_tables(run: Mapping[str, Any], given: TaskInput) -> None:
    for name, table in given.tables.items():
        stored = run["data"]["tables"].get(name, {}).get("sha256")
        if stored != table["sha256"]:
            raise UserError(
                f"table {name} has sha256 {table['sha256'][:12]}, the predictions were made with {str(stored)[:12]}; "
                f"use the data of the run ({run['data']['source']})"
            )


def _score(
    folder: RunFolder, run: Mapping[str, Any], given: TaskInput, options: JudgeOptions, judge: Judge | None
) -> TaskResult:
    task = given.task
    predictions = folder.predictions(task.name)
    scores = score_task(task, given.samples, predictions, judge, _protocols(task, options))
    metrics = metrics_of(task, scores) | {
        "subset": run["subset"],
        "judge": _judge_record(folder, task, judge, scores),
        "complete": _is_complete(given, predictions, scores[task.headline]),
        "prompts": run["prompts"],
        "data": {"source": run["data"]["source"], "tables": given.tables},
    }
    folder.write_scores(task.name, scores, metrics)
    wanted = [sample.index for sample in given.samples]
    errors = [error for index in wanted if index in predictions and (error := predictions[index].error) is not None]
    return TaskResult(
        task=task,
        metrics=metrics,
        num_missing=sum(index not in predictions for index in wanted),
        num_errors=len(errors),
        num_refused=sum(error.startswith("ValueError: ") for error in errors),
    )


def _protocols(task: Task, options: JudgeOptions) -> list[str]:
    return [name for name, rule in task.protocols.items() if not rule.on_request or name in options.protocols]


def _judge_record(
    folder: RunFolder, task: Task, judge: Judge | None, scores: Mapping[str, Sequence[Score]]
) -> dict[str, Any] | None:
    """Who judged; None where no score of the task rests on a judge."""
    if judge is None or not (task.judged or folder.verdicts_path(task.name).exists()):
        return None
    return {**judge.describe(), "protocol": task.headline}


def _is_complete(given: TaskInput, predictions: Mapping[str, Prediction], headline: Sequence[Score]) -> bool:
    answered = all(s.index in predictions and predictions[s.index].error is None for s in given.samples)
    return answered and all(score.value is not None for score in headline)
