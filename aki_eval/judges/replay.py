"""Stored verdicts and nothing else: the judge that outlives its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest, Verdict

from ..chat.address import OPENAI
from ..chat.server import ChatServer
from .budget import Budget
from .cache import Reply, VerdictStore, verdict_of
from .judge import ServedJudge, ServerJudge
from .offline import SOURCE as OFFLINE
from .offline import OfflineJudge


class ReplayJudge(ServerJudge):
    """Answers from the store as the judge that filled it would; a request without a stored reply gets no value."""

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """The stored replies to these requests.

        Raises:
            UserError: not one of the requests is in the store: its verdicts are of other answers.
        """
        jobs = [(request, repeat) for request in requests for repeat in range(self.repeats)]
        verdicts = [self._from_store(job) for job in jobs]
        if jobs and not any(verdicts):
            raise UserError(
                f"none of the {len(self.store)} replies in {self.store.path} is to one of these {len(jobs)} requests: "
                "they judge another run's answers, or follow another judge protocol"
            )
        missing = Reply(model=self.server.model, raw=None, error="no stored verdict for this answer")
        return self._noted(
            [
                verdict or verdict_of(request, missing, judge=self.name, repeat=repeat, tries=0)
                for verdict, (request, repeat) in zip(verdicts, jobs, strict=True)
            ]
        )

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "replayed": True}


class NothingStored:
    """Replays an empty store: fine for a task that needs no judge, an error for every answer that does."""

    name = "replay of no verdicts"
    comparable = True  # an answer that asks for a judge is to be seen as not judged, never as not matched

    def __init__(self, store: VerdictStore) -> None:
        self.store = store

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        missing = Reply(model="", raw=None, error=f"there are no stored verdicts in {self.store.path or 'memory'}")
        return [verdict_of(request, missing, judge=self.name, tries=0) for request in requests]

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "comparable": self.comparable, "replayed": True}


def replay(store: VerdictStore, wanted: str | None, *, repeats: int) -> ReplayJudge | OfflineJudge | NothingStored:
    """The judge whose replies the store holds; `wanted` names it where there are several.

    Raises:
        UserError: the store does not say which judge is meant.
    """
    found = {source.name: source for source in store.sources}
    if not found:
        return NothingStored(store)
    if (wanted is None and len(found) > 1) or (wanted is not None and wanted not in found):
        raise UserError(
            f"{store.path} holds verdicts of {', '.join(sorted(found))}; choose one with --judge replay:NAME"
        )
    source = found[wanted] if wanted else next(iter(found.values()))
    if source == OFFLINE:
        return OfflineJudge(store)
    server = ChatServer(source.model, source.server or OPENAI, option="the stored verdicts")
    return ReplayJudge(ServedJudge(server, source=source), store, budget=Budget(), repeats=repeats)
