"""From predictions to scores and metrics: the shared path that every task takes.

Right, wrong, unread, unscored. A sample without an answer, or with a judge that failed, has no value but a reason: it
is unscored. An answer in which the protocol's rule finds nothing counts as that rule says, wrong nearly always, and
keeps a reason: it is unread. Both are counted beside every metric they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from .errors import UserError
from .estimates import Estimate
from .reading.plain import without_reasoning
from .records import Judge, Metric, Prediction, Sample, Score
from .task import Task, protocol_name

MISSING = "missing"
ERROR = "error"
NO_JUDGE = "no_judge"
INCOMPLETE = "incomplete_group"
UNSCORED_MEMBER = "unscored_group_member"
UNREAD = "unread"
TOKEN_LIMIT = "unread_token_limit"
ONLY_REASONING = "unread_only_reasoning"

SHOWN_UNREAD = 0.01
"""The share of unread answers from which on tables say so."""
COMPARABLE_UNREAD = 0.05
"""The share beyond which a number is compared with nothing: it could be this many points higher, which is more than
what models are told apart by. Where a benchmark refuses to score without a judge that extracts answers, any will do."""

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

    Raises:
        UserError: a protocol that the task does not have.
    """
    wanted = [name for name, rule in task.protocols.items() if not rule.on_request] if protocols is None else protocols
    wanted = list(dict.fromkeys(protocol_name(name) for name in wanted))
    unknown = sorted(set(wanted) - set(task.protocols))
    if unknown:
        raise UserError(f"{task.name} has no protocol {unknown[0]!r}; it has {', '.join(task.protocols)}")
    sound = [sample for sample in samples if not sample.fault]
    given = [predictions.get(sample.index) or _missing(sample) for sample in sound]
    found = {name: _without_answer(task.protocols[name].score(sound, given, judge), given) for name in wanted}
    return {name: _with_faults(name, samples, scores) for name, scores in found.items()}


def _with_faults(protocol: str, samples: Sequence[Sample], scores: Sequence[Score]) -> list[Score]:
    """All samples' scores; those of rows that make no sense say what is wrong with them."""
    others = iter(scores)
    return [unscored(each, protocol, f"bad_row: {each.fault}") if each.fault else next(others) for each in samples]


def _without_answer(scores: Sequence[Score], predictions: Sequence[Prediction]) -> list[Score]:
    """Marks as unread what nobody could read: an answer that never began. Its value stays what the rule says."""
    found = [no_answer(prediction) for prediction in predictions]
    return [
        replace(score, reason=reason) if reason and score.value is not None else score
        for score, reason in zip(scores, found, strict=True)
    ]


def no_answer(prediction: Prediction) -> str | None:
    """Why a text holds no answer: cut off before it began, or nothing but reasoning; None where it may hold one."""
    text = prediction.text
    if text is None or without_reasoning(text).strip():
        return None
    if prediction.cut:
        return TOKEN_LIMIT
    return ONLY_REASONING if text.strip() else None


def _missing(sample: Sample) -> Prediction:
    return Prediction(index=sample.index, prompt="", text=None, error=MISSING)


def estimates_of(task: Task, protocol: str, scores: Sequence[Score]) -> dict[str, Estimate]:
    """Every metric of one protocol with its clusters: what intervals and paired comparisons are made of."""
    return task.protocols[protocol].estimate(scores)


def metrics_of(task: Task, scores: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    """The content of metrics.json that follows from the scores alone."""
    protocols = {
        protocol: {name: asdict(metric) for name, metric in _metrics(task, protocol, own).items()}
        for protocol, own in scores.items()
    }
    return {"task": task.name, "headline": task.headline, "protocols": protocols}


def _metrics(task: Task, protocol: str, scores: Sequence[Score]) -> dict[str, Metric]:
    """All metrics of a protocol, with the bounds that unread answers leave open."""
    metrics = task.protocols[protocol].aggregate(scores)
    if task.judged or not any(score.unread for score in scores):
        return metrics
    low, high = (estimates_of(task, protocol, [_as_if(right, score) for score in scores]) for right in (False, True))
    return {
        name: replace(metric, unread_bounds=_bounds(low[name], high[name])) if metric.num_unread else metric
        for name, metric in metrics.items()
    }


def _as_if(right: bool, score: Score) -> Score:
    """An unread score as one that was read, and right or wrong; any other as it is."""
    if not score.unread:
        return score
    opposite = {"Yes": "No", "No": "Yes"}.get(score.target or "")
    return replace(score, value=float(right), answer=score.target if right else opposite, reason=None)


def _bounds(low: Estimate, high: Estimate) -> tuple[float, float] | None:
    return None if low.value is None or high.value is None else (low.value, high.value)


def worth_saying(metric: Metric) -> bool:
    """Whether so many answers are unread that a reader must be told."""
    return (metric.num_unread or 0) > SHOWN_UNREAD * metric.num_scored


def why_not_comparable(task: Task, protocol: str, metric: Metric) -> str | None:
    """Why a number is to be compared with nothing; None where it may be.

    The one place that decides it: tables, pages, comparisons and gates ask here.
    """
    rule = task.protocols.get(protocol)
    extractor = rule.extractor if rule else "none"
    allowed = 0.0 if extractor == "needed" else COMPARABLE_UNREAD * metric.num_scored
    if not metric.num_unread or metric.num_unread <= allowed:
        return None
    number, need = ("1 answer", "needs") if metric.num_unread == 1 else (f"{metric.num_unread} answers", "need")
    return f"not comparable: {number} " + ("could not be read" if extractor == "none" else f"{need} an extractor")


def scored(
    sample: Sample,
    protocol: str,
    value: float,
    *,
    answer: str | None = None,
    target: str | None = None,
    parts: Mapping[str, float] | None = None,
    unread: bool = False,
) -> Score:
    return Score(
        index=sample.index,
        protocol=protocol,
        value=value,
        reason=UNREAD if unread else None,
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
    """A scorer that needs no judge: `read` gives the value and the answer as read; None: it could not be read."""

    def score(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
        scores, answered = split_answered(samples, predictions, protocol)
        for sample, text in answered:
            value, answer = read(sample, text)
            scores[sample.index] = scored(sample, protocol, value, answer=answer, unread=answer is None)
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

    `parts` say how many samples stand behind it and how many are unread, so that metrics go on counting samples.
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
                parts={"num_samples": float(len(members)), "num_unread": float(sum(each.unread for each in members))},
            )
        )
    return merged
