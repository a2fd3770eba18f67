"""What a model can do in the toy world: accuracy by skill over all tables, beside the prior.

    python -m benchmarks.toy_world.abilities RUN_DIR...

One run comes with the intervals of its questions; several runs (seeds of a training, say) with their mean and standard
deviation: what one training is worth, and how far the next may lie from it.

Read from a run's scores under each benchmark's headline protocol. MM-Vet and LLaVA-Bench are left out: a judge's
grade is no accuracy. The intervals respect pictures, as everywhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

from ..errors import UserError
from ..estimates import mean_by_group
from ..records import Metric, Score
from ..task import Task
from ..tasks import TASKS
from .priors import Prior, distinct_entries, priors, weight


def abilities(run: Path) -> dict[str, tuple[Metric, Prior]]:
    """Skill -> (accuracy in percent, prior), over the tables of all tasks that are scored without a judge.

    Raises:
        UserError: a task was not scored in this run.
    """
    tasks = [task for task in TASKS.values() if not task.judged]
    scores = [score for task in tasks for score in _scores_by_skill(run, task)]
    floor = priors([table.name for task in tasks for table in task.tables])
    found = mean_by_group(scores, overall=None)
    return {skill: (estimate.metric(), floor[f"skill/{skill}"]) for skill, estimate in sorted(found.items())}


def _scores_by_skill(run: Path, task: Task) -> Iterator[Score]:
    """The scores of a task's distinct questions, grouped by skill; POPE's once for each split they count in."""
    known = _read_scores(run / task.name / "scores.jsonl", task.headline)
    for table in task.tables:
        for entry in distinct_entries(table.name):
            index = f"{table.name}/{entry.row['index']}" if len(task.tables) > 1 else entry.row["index"]
            if index not in known:
                raise UserError(f"{run}: {task.name} has no score for sample {index}; run all of the toy world first")
            score = replace(known[index], groups=(entry.question.skill,), cluster=f"{task.name}/{known[index].cluster}")
            yield from [score] * weight(entry)


def _read_scores(path: Path, protocol: str) -> dict[str, Score]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected the folder of a run on the toy world") from error
    records = [record for line in lines if (record := json.loads(line))["protocol"] == protocol]
    return {record["index"]: Score(**record | {"groups": tuple(record["groups"])}) for record in records}


def abilities_table(runs: Sequence[Path]) -> str:
    """The same as markdown, percent; for several runs mean, standard deviation over the runs, lowest and highest."""
    found = [abilities(run) for run in runs]
    lines = ["| skill | accuracy | 95 % interval | prior | questions |"]
    if len(found) > 1:
        lines = [f"| skill | mean of {len(found)} | sd | lowest to highest | prior | questions |"]
    lines.append("|---" * lines[0].count(" | ") + "|---|")
    for skill, (metric, prior) in found[0].items():
        numbers = _one(metric) if len(found) == 1 else _several([each[skill][0] for each in found])
        lines.append(f"| {skill} | {numbers} | {100 * prior.value:.1f} | {prior.num_questions} |")
    return "\n".join(lines)


def _one(metric: Metric) -> str:
    low, high = metric.ci95 or (float("nan"), float("nan"))
    return f"{_value(metric):.1f} | {low:.1f} to {high:.1f}"


def _several(metrics: Sequence[Metric]) -> str:
    values = [_value(metric) for metric in metrics]
    return f"{mean(values):.1f} | {stdev(values):.1f} | {min(values):.1f} to {max(values):.1f}"


def _value(metric: Metric) -> float:
    return float("nan") if metric.value is None else metric.value


def main(arguments: Sequence[str]) -> None:
    if not arguments:
        raise SystemExit(__doc__)
    try:
        print(abilities_table([Path(argument) for argument in arguments]))
    except UserError as error:
        raise SystemExit(f"{error}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
