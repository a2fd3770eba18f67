"""One burst of requests to a judge: bounded concurrency, the budget, and an end when nothing can succeed any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.records import JudgeRequest

from .budget import Budget, most_expensive
from .endpoint import Endpoint, ends_everything, explain
from .store import Reply

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FAILURES_IN_A_ROW = 20
"""After so many requests in a row got no reply (each after the client's own retries) the server is taken for dead."""


class Session:
    """Lives inside one event loop."""

    def __init__(self, client: AsyncOpenAI, endpoint: Endpoint, budget: Budget, concurrency: int) -> None:
        self.client = client
        self.endpoint = endpoint
        self.budget = budget
        self._slots = asyncio.Semaphore(concurrency)
        self._settled = asyncio.Condition()
        self._failures = 0
        self._over: str | None = None

    async def ask(self, request: JudgeRequest) -> Reply:
        """A reply, or a Reply without text that says why there is none."""
        async with self._slots:
            if self._over:
                return self._none(self._over)
            amount = self._most_expensive(request)
            if not await self.budget.promise(amount, self._settled):
                return self._none(f"the judge's budget of ${self.budget.limit:g} is spent")
            reply = self._none("interrupted")
            try:
                reply = await self._send(request)
            finally:
                # A reply without token counts is charged at its most expensive; without text nothing was delivered.
                cost = reply.cost_usd if reply.cost_usd is not None else amount * (reply.raw is not None)
                await self.budget.settle(amount, cost, self._settled)
            return reply

    def affords(self, request: JudgeRequest) -> bool:
        return self.budget.fits(self._most_expensive(request))

    def _most_expensive(self, request: JudgeRequest) -> float:
        return most_expensive(self.endpoint.price, request, self.endpoint.adapt(request.parameters))

    async def _send(self, request: JudgeRequest) -> Reply:
        from openai import APIError

        try:
            reply = await self.endpoint.ask(self.client, request)
        except APIError as error:
            return self._failed(explain(error), final=ends_everything(error))
        self._failures = 0
        return reply

    def _failed(self, reason: str, *, final: bool) -> Reply:
        self._failures += 1
        if final:
            self._over = f"not asked: the judge refused an earlier request ({reason})"
        elif self._failures >= FAILURES_IN_A_ROW:
            self._over = f"not asked: {self._failures} requests in a row got no reply ({reason})"
        return self._none(reason)

    def _none(self, reason: str) -> Reply:
        return Reply(model=self.endpoint.model, raw=None, error=reason)
