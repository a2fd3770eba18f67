"""How a judge is asked: how often and in which words, how many questions at once, and when there is no point any more.

A named protocol is part of a score's name. What all of them leave out on purpose: where the original then writes 0, -1
or a random option, the verdict has no value.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.records import JudgeRequest

from ..chat.completion import Completion
from ..chat.prices import Price
from ..chat.server import AskingFailed, ChatServer
from .budget import Budget, most_expensive
from .cache import Reply

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FAILURES_IN_A_ROW = 20
"""After so many requests in a row got no reply (each after the client's own retries) the server is taken for dead."""
UNREADABLE_IN_A_ROW = 20
"""After so many samples in a row of which no try could be read, the judge is taken for one that cannot do this."""
SILENCE = 30.0
"""Seconds without a reply after which a word is said."""


@dataclass(frozen=True)
class Asking:
    """`temperatures`: one a try, None keeps the request's own. `suffix` is added to the prompt from try 2 on."""

    temperatures: tuple[float | None, ...]
    suffix: str = ""


ONCE = Asking((None,))

ASKINGS = {
    # VLMEvalKit's MMVet_auxeval: temperature i * 0.5, five tries, then 0.0.
    "mm_vet": Asking((0.0, 0.5, 1.0, 1.5, 2.0)),
    # mm-vet_evaluator of the benchmark's authors: the second try still at 0, five replies are read, then 0.0.
    "mm_vet_official": Asking((0.0, 0.0, 0.5, 1.0, 1.5), suffix="\nPredict the correctness of the answer (digit): "),
    # LLaVA's eval_gpt_review and VLMEvalKit's LLaVABench_atomeval: asked once, then [-1, -1].
    "llava_bench": ONCE,
    "llava_bench_swapped": ONCE,
    # VLMEvalKit's MathVista_auxeval: asked again only when no reply came, which the client does by itself.
    "extract_mathvista": ONCE,
    # VLMEvalKit's extract_answer_from_item: three tries, then a random option.
    "extract_choice": Asking((None, None, None)),
    # VLMEvalKit's YOrN_auxeval: temperature i * 0.5, five tries, then "Unknown".
    "extract_yes_no": Asking((0.0, 0.5, 1.0, 1.5, 2.0)),
}


def attempts(request: JudgeRequest) -> Iterator[JudgeRequest]:
    """The request as it is asked at the first, second, ... try of its protocol; an unlisted protocol is asked once."""
    asking = ASKINGS.get(request.kind, ONCE)
    for number, temperature in enumerate(asking.temperatures):
        parameters = dict(request.parameters)
        if temperature is not None:
            parameters["temperature"] = temperature
        yield replace(request, prompt=request.prompt + asking.suffix * (number > 0), parameters=parameters)


class Session:
    """One burst of requests. Lives inside one event loop."""

    def __init__(
        self, client: AsyncOpenAI, server: ChatServer, price: Price | None, budget: Budget, concurrency: int
    ) -> None:
        self.client = client
        self.server = server
        self.price = price
        self.budget = budget
        self._slots = asyncio.Semaphore(concurrency)
        self._settled = asyncio.Condition()
        self._failures = 0
        self._unreadable = 0
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

    def was_read(self, *, readable: bool, why: str | None) -> None:
        """To be told of every sample that got a reply."""
        self._unreadable = 0 if readable else self._unreadable + 1
        if self._unreadable >= UNREADABLE_IN_A_ROW:
            self.stop(f"the replies to {self._unreadable} samples in a row could not be read ({why})")

    def stop(self, why: str) -> None:
        """Nothing more is asked in this burst."""
        self._over = self._over or f"not asked: {why}"

    def _most_expensive(self, request: JudgeRequest) -> float:
        return most_expensive(self.price, request, self.server.adapt(request.parameters))

    async def _send(self, request: JudgeRequest) -> Reply:
        try:
            completion, sent = await self.server.ask(self.client, request.prompt, request.system, request.parameters)
        except AskingFailed as failure:
            return self._failed(failure)
        self._failures = 0
        return to_reply(self.server.model, completion, sent, self.price)

    def _failed(self, failure: AskingFailed) -> Reply:
        self._failures += 1
        if failure.final:
            self.stop(f"the judge refused an earlier request ({failure.reason})")
        elif self._failures >= FAILURES_IN_A_ROW:
            self.stop(f"{self._failures} requests in a row got no reply ({failure.reason})")
        return self._none(failure.reason)

    def _none(self, reason: str) -> Reply:
        return Reply(model=self.server.model, raw=None, error=reason)


def to_reply(model: str, completion: Completion, sent: dict[str, Any], price: Price | None) -> Reply:
    """What is stored of a completion; its price is unknown where a token count is."""
    if completion.error:
        return Reply(model=model, raw=None, error=completion.error, parameters_sent=sent)
    given, answered = completion.input_tokens, completion.output_tokens
    known = price is not None and given is not None and answered is not None
    return Reply(
        model=completion.model or model,
        raw=completion.text or completion.refusal or "",
        finish_reason=completion.finish_reason,
        input_tokens=given or 0,
        output_tokens=answered or 0,
        cost_usd=price.cost(given, answered) if known else None,  # type: ignore[union-attr, arg-type]
        parameters_sent=sent,
    )


@asynccontextmanager
async def watched(title: str, total: int) -> AsyncIterator[Callable[[], None]]:
    """Yields a function that counts one more as done.

    It shows a bar with rate and time left on a person's terminal, and on every stderr a line when nothing has come for
    a while.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    done = 0

    async def speak() -> None:
        before = -1
        while True:
            await asyncio.sleep(SILENCE)
            if done == before or not done:
                line = f"aki-eval: {title}: waiting, nothing has come for {SILENCE:g} s ({done} of {total} done)"
                if console.is_terminal:
                    progress.console.print(line, markup=False)
                else:
                    print(line, file=sys.stderr)
            before = done

    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)

        def advance() -> None:
            nonlocal done
            done += 1
            progress.advance(task)

        speaker = asyncio.create_task(speak())
        try:
            yield advance
        finally:
            speaker.cancel()
