"""The judge's factory: which instrument grades open answers.

offline             deterministic token overlap; toy world and CI; never comparable to GPT-4
none                nothing is judged: those samples stay unscored
replay[:NAME]       stored verdicts only, of the judge NAME where the store holds several
any other name      a model of OpenAI, or of the compatible server at `base_url`; the key is read from OPENAI_API_KEY
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.records import Judge

from .judges.budget import Budget
from .judges.endpoint import Endpoint
from .judges.offline import OfflineJudge
from .judges.openai_judge import OpenAIJudge
from .judges.prices import Price
from .judges.replay import replay
from .judges.store import VerdictStore

__all__ = ["Budget", "Price", "make_judge"]


def make_judge(
    name: str,
    *,
    base_url: str | None = None,
    cache: Path | None = None,
    budget: Budget | float | None = None,
    price: Price | None = None,
    repeats: int = 1,
    concurrency: int = 16,
    timeout: float = 120.0,
    retries: int = 5,
) -> Judge | None:
    """The judge called `name`, or None for `none`.

    `cache` is where its replies are kept (a task's verdicts.jsonl); `budget` in dollars, or a Budget that several
    judges share; `price` overrides the table's; `timeout` in seconds for one reply, `retries` by the client.

    Raises:
        UserError: a budget without a price, or several judges to replay.
    """
    if name == "none":
        return None
    store = VerdictStore(cache)
    if name == "offline":
        return OfflineJudge(store)
    if name == "replay" or name.startswith("replay:"):
        return replay(store, name.partition(":")[2] or None, repeats=repeats)
    endpoint = Endpoint(name, base_url, price=price, timeout=timeout, retries=retries)
    account = budget if isinstance(budget, Budget) else Budget(limit=budget)
    return OpenAIJudge(endpoint, store, budget=account, repeats=repeats, concurrency=concurrency)
