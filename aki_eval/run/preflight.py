"""What is known to fail at the end is looked at first: servers and keys, before any model is loaded or asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date

from benchmarks.task import Task

from ..judge import make_judge
from ..judges.openai_judge import OpenAIJudge
from ..judges.preflight import preflight
from ..predictors import Predictor, RemotePredictor
from .score import JudgeOptions

REPLAYED = "replay"
SECONDS = 10.0
"""For one reply; who does not answer by then would hold up every sample."""


def check_ahead(predictor: Predictor | None, judge: JudgeOptions, source: str, tasks: Sequence[Task]) -> None:
    """Before the first sample of `tasks`: does the predictor's server answer, does the judge's, and is there a key?
    Raises UserError where not.

    A judge is asked in every task, if only to read answers that no rule can.
    """
    if not tasks:
        return
    _check_judge(judge, judge.resolve(source))
    if isinstance(predictor, RemotePredictor):
        predictor.reach(SECONDS)


def _check_judge(options: JudgeOptions, name: str) -> None:
    """Free: the server is asked for its list of models, and nothing is graded."""
    if name.partition(":")[0] == REPLAYED:
        return
    judge = make_judge(
        name, base_url=options.base_url, budget=options.budget, price=options.parsed_price, timeout=SECONDS, retries=1
    )
    if isinstance(judge, OpenAIJudge):
        asyncio.run(_reach(judge))


async def _reach(judge: OpenAIJudge) -> None:
    async with judge.endpoint.connect() as client:
        await preflight(client, judge.endpoint, [], date.today())
