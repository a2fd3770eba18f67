"""Does the place in which a judge is shown an answer decide its grade? LLaVA-Bench judged in both orders.

Every answer is graded beside a reference, and the benchmark always shows the reference first. A judge that favors the
first place then shifts every score (Zheng et al. 2023, arXiv 2306.05685, section 3.3). Protocol `swapped` asks the same
judge with the reference second; the two are compared answer by answer, paired and clustered as two runs are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..errors import UserError
from ..estimates import Columns, Estimate
from ..records import Score
from ..scoring import estimates_of
from ..tasks.llava_bench import SWAPPED, TASK
from .arms import as_arm
from .comparison import MetricComparison, compare_pairs, corrected
from .folder import RunFolder
from .pairing import Pairs


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A mean over the answers with its clustered 95 % interval, in grades (1 to 10)."""

    value: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class PositionEffects:
    """What the order does to one judge's grades of one run's answers.

    `metrics`: A is the score with the reference first, B with it second; one family of Holm's correction.
    `both_orders`: by metric, the score over the grades of both orders with its interval. `first_place`: what that place
    is worth, the mean of what the answer and the reference gain by standing there. `num_turned` of the `num_answers`:
    which of the two got the higher grade changes with the order.
    """

    run: str
    judge: str
    metrics: list[MetricComparison]
    both_orders: Mapping[str, tuple[float | None, tuple[float, float] | None]]
    answer_first: Effect
    reference_first: Effect
    first_place: Effect
    num_answers: int
    num_turned: int
    num_left_out: int

    def as_json(self) -> dict[str, Any]:
        return asdict(replace(self, metrics=[])) | {"metrics": [metric.as_json() for metric in self.metrics]}


def position(run: RunFolder) -> PositionEffects:
    """Of a run whose answers were judged in both orders.

    Raises:
        UserError: they were not, or no answer was graded in both.
    """
    result = run.results.get(TASK.name)
    if result is None or SWAPPED not in result.protocols:
        raise UserError(
            f"{run.path} holds no grades of {TASK.name} with the reference second; "
            f"aki-eval score {run.path} --judge NAME --protocols {SWAPPED} asks for them"
        )
    kept = [
        (one, other)
        for one, other in zip(run.scores(TASK.name, TASK.headline), run.scores(TASK.name, SWAPPED), strict=True)
        if one.value is not None and other.value is not None
    ]
    if not kept:
        raise UserError(f"{run.path}: no answer of {TASK.name} was graded in both orders")
    first, second = ([pair[side] for pair in kept] for side in (0, 1))
    num_left_out = len(run.scores(TASK.name, SWAPPED)) - len(kept)
    pairs = Pairs(
        task=TASK.name,
        protocol=TASK.headline,
        runs_a=[first],
        runs_b=[second],
        num_left_out=num_left_out,
        num_lost=0,
    )
    metrics = list(compare_pairs(pairs, as_arm(run), as_arm(run)))
    whole = corrected([replace(metric, is_column=True) for metric in metrics])  # one family
    columns = Columns(first)
    answers, references = (_gained(kept, part) for part in (_answer, _reference))
    judge = result.judge
    return PositionEffects(
        run=run.label,
        judge=str(judge.get("name")) if judge else "no judge",
        metrics=whole,
        both_orders={
            name: (estimate.value, estimate.interval())
            for name, estimate in estimates_of(TASK, TASK.headline, [_in_both(*pair) for pair in kept]).items()
        },
        answer_first=_effect(columns, answers),
        reference_first=_effect(columns, -references),
        first_place=_effect(columns, (answers - references) / 2),
        num_answers=len(kept),
        num_turned=sum(_winner(one) != _winner(other) for one, other in kept),
        num_left_out=num_left_out,
    )


def _answer(score: Score) -> float:
    assert score.value is not None
    return score.value


def _reference(score: Score) -> float:
    return score.parts["reference"]


def _gained(pairs: Sequence[tuple[Score, Score]], grade: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N,): with the reference second minus with it first."""
    return np.array([grade(other) - grade(one) for one, other in pairs], dtype=np.float64)


def _winner(score: Score) -> int:
    return int(np.sign(round(_answer(score) - _reference(score), 9)))


def _in_both(one: Score, other: Score) -> Score:
    parts = {"reference": (_reference(one) + _reference(other)) / 2}
    return replace(one, value=(_answer(one) + _answer(other)) / 2, parts=parts)


def _effect(columns: Columns, values: np.ndarray[Any, np.dtype[np.float64]]) -> Effect:
    estimate: Estimate = replace(columns.mean(columns.everything, values, scale=1.0), scale=None)
    return Effect(value=estimate.value, ci95=estimate.interval())
