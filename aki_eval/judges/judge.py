"""A judge behind an OpenAI-compatible server: many questions at once, every reply on disk before it counts.

What has been answered is never asked again, whatever ended the process that asked. A failure (no reply, no budget,
nothing readable after all tries of the protocol) is a verdict without value that says why, never a number.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from statistics import fmean, pstdev
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest, Verdict

from ..chat.loops import outside_loops
from ..chat.preflight import Preflight, Probe
from ..chat.prices import Price, known_price
from ..chat.server import ChatServer
from .asking import Session, attempts, to_reply, watched
from .budget import Budget
from .cache import Reply, Source, VerdictStore, key_of, read, verdict_of

GPT_4 = re.compile(r"gpt-4(-\d{4}(-preview)?|-turbo.*)?")
"""The family that the benchmarks' published numbers were judged by; gpt-4o and gpt-4.1 are other instruments."""

WHAT = "the judge"
PROBE = Probe(wished={"temperature": 0, "max_tokens": 3})
"""Asked ahead of everything: as MM-Vet asks. Other ways of asking are tried when they are about to be used."""
AHEAD = 10.0
"""Seconds for a reply to that; who does not answer by then would hold up every sample."""
COMMON_ERRORS = 5

Job = tuple[JudgeRequest, int]
"""A request and the number of its repeat."""


class ServedJudge:
    """A model at a server, for all tasks of a command: what the preflight learnt of it holds for each of them."""

    def __init__(self, server: ChatServer, price: Price | None = None, source: Source | None = None) -> None:
        self.server = server
        self.price = price or (known_price(server.model) if server.address.is_openai else None)
        self.preflight = Preflight(server, WHAT)
        self.source = source or Source(server.model, server.address.server)
        """Under which its replies are stored."""

    def check_ahead(self, budget: Budget) -> None:
        """Before anything is predicted: key, address, model, parameters and thoughts, by one request of a few tokens.

        Raises:
            UserError: it would fail.
        """
        outside_loops(lambda: asyncio.run(self._check(budget)))

    async def _check(self, budget: Budget) -> None:
        async with self.server.connect(timeout=AHEAD, retries=1) as client:
            probes = [PROBE] if budget.limit is None or budget.limit > budget.spent else []
            for completion, sent in await self.preflight.check(client, probes, today=date.today(), make_room=True):
                budget.spent += to_reply(self.server.model, completion, sent, self.price).cost_usd or 0.0


class ServerJudge:
    """See the module. `repeats` gradings of each answer, `concurrency` requests at a time."""

    comparable = True

    def __init__(
        self, served: ServedJudge, store: VerdictStore, *, budget: Budget, repeats: int = 1, concurrency: int = 16
    ) -> None:
        """Nothing is asked yet.

        Raises:
            UserError: a budget without a known price, or fewer than one repeat or request at once.
        """
        if repeats < 1 or concurrency < 1:
            raise UserError(f"judge repeats and concurrency start at 1, not {repeats} and {concurrency}")
        if budget.limit is not None and served.price is None:
            raise UserError(
                f"a budget needs a price, and none is known for the judge {served.server.name}; "
                "give it as --judge-price IN/OUT in dollars per million tokens (0/0 for a server of your own)"
            )
        self.served = served
        self.server = served.server
        self.source = served.source
        self.store = store
        self.budget = budget
        self.repeats = repeats
        self.concurrency = concurrency
        self.name = self.source.name
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
        asked = iter(outside_loops(lambda: asyncio.run(self._ask_all(unanswered))) if unanswered else [])
        return self._noted([verdict or next(asked) for verdict in verdicts])

    def describe(self) -> dict[str, Any]:
        """For the record: who judged and what had to be adapted. Tokens and dollars are those of this process."""
        address, shutdown = self.server.address, self.served.preflight.shutdown
        names = self._models or {self.server.model}
        errors = Counter(verdict.error for verdict in self._verdicts.values() if verdict.error)
        return {
            "name": self.name,
            "model": self.server.model,
            "server": address.server,
            "server_given_by": address.given_by,
            "proxy": address.proxy,
            "models_answered": sorted(self._models),
            "comparable": self.comparable,
            "judge_of_published_numbers": address.is_openai and all(map(GPT_4.fullmatch, {self.server.model, *names})),
            "repeats": self.repeats,
            "spread": spread(self._verdicts.values()),
            "errors": dict(errors.most_common(COMMON_ERRORS)),
            "adaptations": dict(self.server.adaptations),
            "shutdown_date": shutdown and str(shutdown),
            "requests_paid": len(self._paid),
            "input_tokens": sum(reply.input_tokens for reply in self._paid),
            "output_tokens": sum(reply.output_tokens for reply in self._paid),
            "cost_usd": self.budget.spent if self.served.price else None,
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
        return key_of(self.source, next(attempts(request)), repeat, 0)

    async def _ask_each(self, jobs: Sequence[Job]) -> list[Verdict]:
        async with self.server.connect() as client:
            session = Session(client, self.server, self.served.price, self.budget, self.concurrency)
            if any(session.affords(request) for request, _ in jobs):
                probes = [Probe(system=request.system, wished=dict(request.parameters)) for request, _ in jobs]
                preflight = self.served.preflight
                for completion, sent in await preflight.check(client, probes, today=date.today(), make_room=True):
                    probe = to_reply(self.server.model, completion, sent, self.served.price)
                    self.budget.spent += probe.cost_usd or 0.0
                    self._paid.append(probe)
            async with watched(f"judge {self.name}", len(jobs)) as advance:
                asked = (self._ask(session, job, advance) for job in jobs)
                verdicts = await asyncio.gather(*asked, return_exceptions=True)
        # Whatever went wrong with one, the replies to all others have been waited for and stored.
        broken = next((each for each in verdicts if isinstance(each, BaseException)), None)
        if broken is not None:
            raise broken
        return [each for each in verdicts if isinstance(each, Verdict)]

    async def _ask(self, session: Session, job: Job, advance: Callable[[], None]) -> Verdict:
        """Go through the tries of the protocol until a reply can be read or none comes."""
        request, repeat = job
        replies: list[Reply] = []
        try:
            for attempt, asked in enumerate(attempts(request)):
                reply = self._find(asked, repeat, attempt)
                if reply is None:
                    reply = await session.ask(asked)
                    self._keep(asked, reply, repeat, attempt)
                replies.append(reply)
                if reply.raw is None or read(request, reply)[1] is None:
                    break
        except BaseException as error:
            session.stop(f"{type(error).__name__}: {error}")  # a full disk, say: nothing more is to be paid for
            raise
        advance()
        if replies[-1].raw is not None:
            why = read(request, replies[-1])[1]
            session.was_read(readable=why is None, why=why)
        return self._verdict(job, replies, cached=False)

    def _find(self, asked: JudgeRequest, repeat: int, attempt: int) -> Reply | None:
        return self.store.find(self.source, asked, repeat=repeat, attempt=attempt)

    def _keep(self, asked: JudgeRequest, reply: Reply, repeat: int, attempt: int) -> None:
        self.store.append(self.source, asked, reply, repeat=repeat, attempt=attempt)
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


def spread(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """By judge protocol: each repeat's score and their population standard deviation, as MM-Vet's authors report it.

    Only samples that every repeat could grade count. Protocols without two repeats, or without numbers, are left out.
    """
    by_kind: dict[str, dict[str, list[Any]]] = {}
    for verdict in verdicts:
        by_kind.setdefault(verdict.kind, {}).setdefault(verdict.index, []).append(verdict.value)
    found = {}
    for kind, samples in by_kind.items():
        graded = [values for values in samples.values() if len(values) > 1 and all(map(_is_number, values))]
        if graded:
            repeats = [total(values) for values in zip(*graded, strict=True)]
            found[kind] = {"scores": repeats, "sd": pstdev(repeats), "num_samples": len(graded)}
    return found


def total(values: Sequence[Any]) -> float:
    """What a judge's numbers add up to: 100 times their mean, of pairs (reference, candidate) the ratio of means."""
    if isinstance(values[0], int | float):
        return 100 * fmean(values)
    references, candidates = zip(*values, strict=True)
    return float(100 * sum(candidates) / sum(references))


def _is_number(value: Any) -> bool:
    numbers = value if isinstance(value, list | tuple) and len(value) == 2 else (value,)
    return all(isinstance(number, int | float) for number in numbers)
