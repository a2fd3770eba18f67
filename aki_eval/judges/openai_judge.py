"""A judge behind an OpenAI-compatible server: many questions at once, every reply on disk before it counts.

What has been answered is never asked again, whatever ended the process that asked. A failure (no reply, no budget,
nothing readable after all tries of the protocol) is a verdict without value that says why, never a number.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest, Verdict

from .budget import Budget
from .endpoint import Endpoint
from .preflight import preflight
from .progress import progress_bar
from .protocols import attempts
from .session import Session
from .spread import spread
from .store import Reply, VerdictStore, key_of, read, verdict_of

GPT_4 = re.compile(r"gpt-4(-\d{4}(-preview)?|-turbo.*)?")
"""The family that the benchmarks' published numbers were judged by; gpt-4o and gpt-4.1 are other instruments."""

Job = tuple[JudgeRequest, int]
"""A request and the number of its repeat."""


class OpenAIJudge:
    """See the module. `repeats` gradings of each answer, `concurrency` requests at a time."""

    comparable = True

    def __init__(
        self, endpoint: Endpoint, store: VerdictStore, *, budget: Budget, repeats: int = 1, concurrency: int = 16
    ) -> None:
        if repeats < 1 or concurrency < 1:
            raise UserError(f"judge repeats and concurrency start at 1, not {repeats} and {concurrency}")
        if budget.limit is not None and endpoint.price is None:
            raise UserError(
                f"a budget needs a price, and none is known for the judge {endpoint.name}; "
                "give it as --judge-price IN/OUT in dollars per million tokens (0/0 for a server of your own)"
            )
        self.endpoint = endpoint
        self.store = store
        self.budget = budget
        self.repeats = repeats
        self.concurrency = concurrency
        self.name = endpoint.name
        self._verdicts: dict[tuple[str, str, int], Verdict] = {}
        self._paid: list[Reply] = []
        self._models: set[str] = set()

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """One verdict for each request and repeat: all repeats of the first request, then those of the second, ...

        Raises:
            UserError: the preflight failed; no sample was paid for then.
        """
        jobs = [(request, repeat) for request in requests for repeat in range(self.repeats)]
        verdicts = [self._from_store(job) for job in jobs]
        unanswered = [job for job, verdict in zip(jobs, verdicts, strict=True) if verdict is None]
        asked = iter(asyncio.run(self._ask_all(unanswered)) if unanswered else [])
        return self._noted([verdict or next(asked) for verdict in verdicts])

    def describe(self) -> dict[str, Any]:
        """For the record: who judged and what had to be adapted. Tokens and dollars are those of this process."""
        return {
            "name": self.name,
            "model": self.endpoint.model,
            "server": self.endpoint.source.server,
            "models_answered": sorted(self._models),
            "comparable": self.comparable,
            "judge_of_published_numbers": self.endpoint.base_url is None and bool(GPT_4.fullmatch(self.endpoint.model)),
            "repeats": self.repeats,
            "spread": spread(self._verdicts.values()),
            "adaptations": dict(self.endpoint.adaptations),
            "shutdown_date": self.endpoint.shutdown and str(self.endpoint.shutdown),
            "requests_paid": len(self._paid),
            "input_tokens": sum(reply.input_tokens for reply in self._paid),
            "output_tokens": sum(reply.output_tokens for reply in self._paid),
            "cost_usd": self.budget.spent if self.endpoint.price else None,
        }

    def _noted(self, verdicts: list[Verdict]) -> list[Verdict]:
        """Kept for the record; two protocols that ask the same count once."""
        self._verdicts |= {(verdict.kind, verdict.index, verdict.repeat): verdict for verdict in verdicts}
        return verdicts

    def _from_store(self, job: Job) -> Verdict | None:
        """The stored verdict, or None when the next thing to do is to ask."""
        request, repeat = job
        replies: list[Reply] = []
        for attempt, asked in enumerate(attempts(request)):
            reply = self._find(asked, repeat, attempt)
            if reply is None:
                return None
            replies.append(reply)
            if read(request, reply)[1] is None:
                break
        return self._verdict(job, replies, cached=True)

    async def _ask_all(self, jobs: Sequence[Job]) -> list[Verdict]:
        """Verdicts of jobs without stored ones. What several jobs ask in the same words is paid for once."""
        leaders: dict[str, Job] = {}
        for job in jobs:
            leaders.setdefault(self._key(job), job)
        answers = dict(zip(leaders, await self._ask_each(list(leaders.values())), strict=True))
        return [
            answers[key] if leaders[key] is job else self._from_store(job) or replace(answers[key], index=job[0].index)
            for job in jobs
            for key in [self._key(job)]
        ]

    def _key(self, job: Job) -> str:
        request, repeat = job
        return key_of(self.endpoint.source, next(attempts(request)), repeat, 0)

    async def _ask_each(self, jobs: Sequence[Job]) -> list[Verdict]:
        async with self.endpoint.connect() as client:
            session = Session(client, self.endpoint, self.budget, self.concurrency)
            if any(session.affords(request) for request, _ in jobs):
                for probe in await preflight(client, self.endpoint, [request for request, _ in jobs], date.today()):
                    self.budget.spent += probe.cost_usd or 0.0
                    self._paid.append(probe)
            with progress_bar(f"judge {self.name}", len(jobs)) as advance:
                return await asyncio.gather(*(self._ask(session, job, advance) for job in jobs))

    async def _ask(self, session: Session, job: Job, advance: Any) -> Verdict:
        """Go through the tries of the protocol until a reply can be read or none comes."""
        request, repeat = job
        replies: list[Reply] = []
        for attempt, asked in enumerate(attempts(request)):
            reply = self._find(asked, repeat, attempt)
            if reply is None:
                reply = await session.ask(asked)
                self._keep(asked, reply, repeat, attempt)
            replies.append(reply)
            if reply.raw is None or read(request, reply)[1] is None:
                break
        advance()
        return self._verdict(job, replies, cached=False)

    def _find(self, asked: JudgeRequest, repeat: int, attempt: int) -> Reply | None:
        return self.store.find(self.endpoint.source, asked, repeat=repeat, attempt=attempt)

    def _keep(self, asked: JudgeRequest, reply: Reply, repeat: int, attempt: int) -> None:
        self.store.append(self.endpoint.source, asked, reply, repeat=repeat, attempt=attempt)
        if reply.raw is not None:
            self._paid.append(reply)

    def _verdict(self, job: Job, replies: Sequence[Reply], *, cached: bool) -> Verdict:
        """The last reply counts; tokens and dollars are those of all tries."""
        request, repeat = job
        self._models.update(reply.model for reply in replies if reply.raw is not None)
        costs = [reply.cost_usd for reply in replies if reply.cost_usd is not None]
        total = replace(
            replies[-1],
            input_tokens=sum(reply.input_tokens for reply in replies),
            output_tokens=sum(reply.output_tokens for reply in replies),
            cost_usd=sum(costs) if costs else None,
        )
        return verdict_of(request, total, judge=self.name, repeat=repeat, tries=len(replies), cached=cached)
