"""From stored predictions to metrics. The model is never asked here, and a number never guessed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.catalogue import describe, source_of
from benchmarks.errors import UserError
from benchmarks.likelihood import NAMES as LIKELIHOODS
from benchmarks.records import Judge, Prediction, Score
from benchmarks.results.record import DataRecord, RunRecord
from benchmarks.results.store import RunStore
from benchmarks.scoring import metrics_of, score_task
from benchmarks.task import Task
from benchmarks.tasks import TASKS

from ..judges import JudgeOptions
from .inputs import TaskInput
from .likelihood import as_predictions


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """The outcome of one task: its metrics.json, and how many samples have no answer.

    `num_refused` of the `num_errors` are ValueErrors: the model itself will not take such a prompt, now or later.
    `num_unscored` samples have no value under the headline protocol. `failure`: scoring itself broke off, and there are
    no metrics.
    """

    task: Task
    metrics: dict[str, Any]
    num_missing: int
    num_errors: int
    num_refused: int = 0
    num_unscored: int = 0
    failure: str | None = None

    @property
    def complete(self) -> bool:
        return bool(self.metrics["complete"])


def score_inputs(
    folder: RunStore, run: RunRecord, inputs: Sequence[TaskInput], options: JudgeOptions
) -> list[TaskOutcome]:
    """Scores every task from its stored predictions and writes scores.jsonl and metrics.json.

    What can be wrong with the tables or the judge of any task is found before the metrics of the first are replaced.
    A task whose scoring fails takes no other with it: it is a result that names the failure.

    Raises:
        UserError: the tables are not those that the predictions were made with, or there is no such judge; or, after
            all tasks have had their turn, a task cannot be scored as asked.
    """
    for given in inputs:
        _check_tables(run, given)
    judges = [options.make(run.data.source, folder.verdicts_path(given.task.name)) for given in inputs]
    results: list[TaskOutcome] = []
    refusals: list[UserError] = []
    for given, judge in zip(inputs, judges, strict=True):
        try:
            results.append(_score(folder, run, given, options, judge))
        except UserError as error:
            refusals.append(error)
        except Exception as error:  # noqa: BLE001 (whatever it is: the other tasks' results are not lost with this one's)
            results.append(_failed(folder, run, given, error))
    if refusals:
        raise refusals[0]
    return results


def _failed(folder: RunStore, run: RunRecord, given: TaskInput, error: Exception) -> TaskOutcome:
    """The result of a task whose scoring broke off. The traceback goes into the task's folder."""
    folder.write_failure(given.task.name, "".join(traceback.format_exception(error)))
    metrics: dict[str, Any] = {
        "headline": given.task.headline,
        "protocols": {given.task.headline: {}},
        "subset": run.subset.model_dump() if run.subset else None,
        "judge": None,
        "complete": False,
        "data": {"source": run.data.source},
    }
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return TaskOutcome(task=given.task, metrics=metrics, num_missing=0, num_errors=0, failure=reason)


def _check_tables(run: RunRecord, given: TaskInput) -> None:
    for name, table in given.tables.items():
        stored = run.data.tables.get(name)
        if stored is None or stored.sha256 != table.sha256:
            raise UserError(
                f"table {name} has sha256 {table.sha256[:12]}, the predictions were made with "
                f"{stored.sha256[:12] if stored else None}; use the data of the run ({run.data.source})"
            )


def _score(
    folder: RunStore, run: RunRecord, given: TaskInput, options: JudgeOptions, judge: Judge | None
) -> TaskOutcome:
    task = given.task
    predictions = folder.predictions(task.name)
    if given.probe is not None:
        predictions = _read_back(given, predictions)
    wanted = _protocols(task, options)
    scores = score_task(task, given.samples, predictions, judge, [name for name in wanted if name not in LIKELIHOODS])
    for name in (name for name in wanted if name in LIKELIHOODS):
        scores |= score_task(task, given.samples, as_predictions(folder, task.name, name), None, [name])
    metrics = metrics_of(task, scores) | {
        "subset": run.subset.model_dump() if run.subset else None,
        "judge": _judge_record(folder, task, judge, scores),
        "complete": _is_complete(given, predictions, scores[task.headline]),
        "prompts": run.prompts,
        "data": DataRecord(source=run.data.source, tables=given.tables).model_dump(),
        "definition": describe(task, scores),
    }
    _check_headline(task, metrics, run)
    folder.write_scores(task.name, scores, metrics)
    wanted = [sample.index for sample in given.samples]
    errors = [error for index in wanted if index in predictions and (error := predictions[index].error) is not None]
    return TaskOutcome(
        task=task,
        metrics=metrics,
        num_missing=sum(index not in predictions for index in wanted),
        num_errors=len(errors),
        num_refused=sum(error.startswith("ValueError: ") for error in errors),
        num_unscored=sum(score.value is None for score in scores[task.headline]),
    )


def _check_headline(task: Task, metrics: Mapping[str, Any], run: RunRecord) -> None:
    """A benchmark outside the paper has to give the numbers that it is shown by. A subset may lack a group of them.

    Raises:
        UserError: its aggregation gives others.
    """
    given = metrics["protocols"][task.headline]
    missing = next((name for name in task.headline_metrics if name not in given), None)
    if missing is not None and task.name not in TASKS and run.subset is None:
        raise UserError(
            f"{task.name}: headline_metrics names {missing!r}, which its protocol {task.headline!r} does not give; it "
            f"gives {', '.join(given) or 'nothing'}; mend the benchmark ({source_of(task)}) and score again"
        )


def _read_back(given: TaskInput, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
    """The answers in the words of the benchmark, where the probe changed these."""
    assert given.probe is not None
    samples = {sample.index: sample for sample in given.samples}
    return {
        index: given.probe.read_back(samples[index], prediction) if index in samples else prediction
        for index, prediction in predictions.items()
    }


def _protocols(task: Task, options: JudgeOptions) -> list[str]:
    return [name for name, rule in task.protocols.items() if not rule.on_request or name in options.protocols]


def _judge_record(
    folder: RunStore, task: Task, judge: Judge | None, scores: Mapping[str, Sequence[Score]]
) -> dict[str, Any] | None:
    """Who judged; None where no score of the task rests on a judge."""
    if judge is None or not (task.judged or folder.verdicts_path(task.name).exists()):
        return None
    return {**judge.describe(), "protocol": task.headline}


def _is_complete(given: TaskInput, predictions: Mapping[str, Prediction], headline: Sequence[Score]) -> bool:
    answered = all(s.index in predictions and predictions[s.index].error is None for s in given.samples)
    return answered and all(score.value is not None for score in headline)
