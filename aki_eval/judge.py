"""The judge's factory: which instrument grades open answers.

offline      deterministic token overlap; toy world and CI; never comparable to GPT-4
none         nothing is judged: those samples stay unscored
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.records import Judge, UserError

from .judges.offline import OfflineJudge
from .judges.store import VerdictStore


def make_judge(
    name: str,
    *,
    base_url: str | None = None,
    cache: Path | None = None,
    budget: float | None = None,
    repeats: int = 1,
    concurrency: int = 16,
) -> Judge | None:
    """The judge called `name`, or None for `none`. `cache` is where its replies are kept (a task's verdicts.jsonl).

    Raises:
        UserError: there is no such judge.
    """
    if name == "none":
        return None
    if name == "offline":
        return OfflineJudge(VerdictStore(cache))
    raise UserError(f"there is no judge {name!r}; expected offline or none")
