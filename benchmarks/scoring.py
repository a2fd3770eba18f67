"""From predictions to scores and metrics: the shared path that every task takes.

Right, wrong, unscored: a sample without an answer, or with a judge that failed, has no value but a reason, and is
counted beside every metric it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from .errors import UserError
from .records import Judge, Prediction, Sample, Score
from .statistics import Estimate
from .task import Task

MISSING = "missing"
ERROR = "error"
NO_JUDGE = "no_judge"
INCOMPLETE = "incomplete_group"
UNSCORED_MEMBER = "unscored_group_member"

Scorer = Callable[[Sequence[Sample], Sequence[Prediction], Judge | None], list[Score]]


def score_task(
    task: Task,
    samples: Sequence[Sample],
    predictions: Mapping[str, Prediction],
    judge: Judge | None,
    protocols: Collection[str] | None = None,
) -> dict[str, list[Score]]:
    """One score a sample and protocol, in the samples' order.

    `protocols` None: all but those that are scored on request only (they would pay a judge a second time).
    Raises UserError for a protocol that the task does not have.
    """
    wanted = [name for name, rule in task.protocols.items() if not rule.on_request] if protocols is None else protocols
    unknown = sorted(set(wanted) - set(task.protocols))
    if unknown:
        raise UserError(f"{task.name} has no protocol {unknown[0]!r}; it has {', '.join(task.protocols)}")
    given = [predictions.get(sample.index) or _missing(sample) for sample in samples]
    return {name: task.protocols[name].score(samples, given, judge) for name in wanted}


def _missing(sample: Sample) -> Prediction:
    return Prediction(index=sample.index, prompt="", text=None, error=MISSING)


def estimates_of(task: Task, protocol: str, scores: Sequence[Score]) -> dict[str, Estimate]:
    """Every metric of one protocol with its clusters: what intervals and paired comparisons are made of."""
    return task.protocols[protocol].estimate(scores)


def metrics_of(task: Task, scores: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    """The content of metrics.json that follows from the scores alone."""
    protocols = {
        protocol: {name: asdict(metric) for name, metric in task.protocols[protocol].aggregate(list(own)).items()}
        for protocol, own in scores.items()
    }
    return {"task": task.name, "headline": task.headline, "protocols": protocols}


def scored(
    sample: Sample,
    protocol: str,
    value: float,
    *,
    answer: str | None = None,
    target: str | None = None,
    parts: Mapping[str, float] | None = None,
) -> Score:
    return Score(
        index=sample.index,
        protocol=protocol,
        value=value,
        answer=answer,
        target=sample.target if target is None else target,
        groups=sample.groups,
        cluster=sample.cluster,
        parts=parts or {},
    )


def unscored(sample: Sample, protocol: str, reason: str) -> Score:
    return Score(
        index=sample.index,
        protocol=protocol,
        value=None,
        reason=reason,
        target=sample.target,
        groups=sample.groups,
        cluster=sample.cluster,
    )


def split_answered(
    samples: Sequence[Sample], predictions: Sequence[Prediction], protocol: str
) -> tuple[dict[str, Score], list[tuple[Sample, str]]]:
    """Scores of the samples without an answer (by index), and the others with their answers."""
    scores: dict[str, Score] = {}
    answered: list[tuple[Sample, str]] = []
    for sample, prediction in zip(samples, predictions, strict=True):
        if prediction.text is None:
            scores[sample.index] = unscored(sample, protocol, MISSING if prediction.error == MISSING else ERROR)
        else:
            answered.append((sample, prediction.text))
    return scores, answered


def each_by_itself(protocol: str, read: Callable[[Sample, str], tuple[float, str | None]]) -> Scorer:
    """A scorer that needs no judge: `read` gives the value and the answer as read."""

    def score(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
        scores, answered = split_answered(samples, predictions, protocol)
        for sample, text in answered:
            value, answer = read(sample, text)
            scores[sample.index] = scored(sample, protocol, value, answer=answer)
        return [scores[sample.index] for sample in samples]

    return score


def by_cluster(scores: Iterable[Score]) -> dict[str, list[Score]]:
    members: dict[str, list[Score]] = {}
    for score in scores:
        members.setdefault(score.cluster, []).append(score)
    return members


def only_complete(score: Scorer, is_complete: Callable[[Sequence[Sample]], bool]) -> Scorer:
    """Samples whose cluster lacks members in the table are unscored: half a group is never scored as a whole."""

    def guarded(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
        members: dict[str, list[Sample]] = {}
        for sample in samples:
            members.setdefault(sample.cluster, []).append(sample)
        broken = {cluster for cluster, group in members.items() if not is_complete(group)}
        return [
            replace(each, value=None, reason=INCOMPLETE) if each.cluster in broken and each.value is not None else each
            for each in score(samples, predictions, judge)
        ]

    return guarded


def merged(scores: Sequence[Score], worth: Callable[[Sequence[float]], float]) -> list[Score]:
    """One score a cluster: `worth` of its members' values, none as soon as a member has none.

    `parts["num_samples"]` says how many samples stand behind it, so that metrics go on counting samples.
    """
    merged = []
    for members in by_cluster(scores).values():
        values = [score.value for score in members if score.value is not None]
        complete = len(values) == len(members)
        merged.append(
            replace(
                members[0],
                value=worth(values) if complete else None,
                reason=None if complete else UNSCORED_MEMBER,
                answer=None,
                target=None,
                parts={"num_samples": float(len(members))},
            )
        )
    return merged
