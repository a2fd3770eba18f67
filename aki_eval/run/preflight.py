"""What is known to fail at the end is looked at first: servers and keys, before any model is loaded or asked."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.task import Task

from ..judges import JudgeOptions
from ..predictors import Predictor, RemotePredictor

SECONDS = 10.0
"""For one reply; who does not answer by then would hold up every sample."""


def check_ahead(predictor: Predictor | None, judge: JudgeOptions, source: str, tasks: Sequence[Task]) -> None:
    """Before the first sample of `tasks`: does the predictor's server answer, does the judge's, is there such a model
    there, and a key? Raises UserError where not.

    A judge is asked in every task, if only to read answers that no rule can.
    """
    if not tasks:
        return
    judge.check_ahead()
    if isinstance(predictor, RemotePredictor):
        predictor.reach(SECONDS)
