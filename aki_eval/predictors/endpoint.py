"""Any model behind an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, ...): many requests at once."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Coroutine, Sequence
from datetime import date
from math import exp, log
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from benchmarks.errors import UserError
from benchmarks.images import has_eight_bits, orientation
from benchmarks.records import ImageRef, Prompt
from benchmarks.results.record import NOT_VERIFIED

from ..chat.completion import Completion, FirstToken
from ..chat.loops import outside_loops
from ..chat.preflight import Preflight, Probe
from ..chat.server import TOP, AskingFailed, ChatServer
from .base import Generation, Logprobs, NoProbabilities, Unusable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SENT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Unless a tag turns them (not every server looks at it), or they have more than eight bits."""

DEADLINE = 900.0
"""Seconds for one prompt with all its retries."""

MOST_TOP = 20
"""The most that OpenAI tells, and what vLLM tells unless it is configured otherwise."""

T = TypeVar("T")


class EndpointPredictor:
    """One model name at one server. Pictures travel inside the request as data URLs.

    Raises:
        UserError: `base_url`, or what the environment says in its place, is no address.
    """

    knows_texts = False

    def __init__(
        self, model: str, *, base_url: str | None = None, concurrency: int = 16, timeout: float = 300.0
    ) -> None:
        self.model = model
        self.name = model.replace("/", "_")
        self.server = ChatServer(model, base_url, timeout=timeout, deadline=DEADLINE)
        self.batch_size = concurrency
        self.concurrency = concurrency
        self._runner: asyncio.Runner | None = None
        self._client: AsyncOpenAI | None = None

    @property
    def device(self) -> str:
        """Who computes, and what stands between: neither decides an answer."""
        proxy = self.server.address.proxy
        return f"{self.server.address.netloc} (a server)" + (f" through {proxy}" if proxy else "")

    def describe(self) -> dict[str, Any]:
        """`base_url` is the server really asked, whoever named it; None is OpenAI itself."""
        where = self.server.address.server
        return {"kind": "openai", "id": self.model, "base_url": where, "dtype": None, "mask": NOT_VERIFIED}

    def self_test(self) -> None:
        """Nothing can be looked into from here, and the record says so: `mask`, not verified."""
        return

    def render(self, prompt: Prompt) -> str:
        return prompt.text

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        """Raises Unusable where no request can succeed: wrong key, no such model, no credit."""

        async def generation(client: AsyncOpenAI, prompt: Prompt) -> Generation:
            found = await self._ask(client, prompt, {"max_tokens": max_new_tokens})
            return Generation(None, error=found) if isinstance(found, str) else _to_generation(found)

        return self._run(self._ask_all(prompts, generation))

    def continuation_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> Sequence[Logprobs | NoProbabilities]:
        """Of words that are one token, among the most probable ones in the place where the answer begins.

        A word that the server does not list has None: it is less probable than the last one listed, and nobody knows
        by how much. Tokens that differ in the spaces around them are one word's, and add up.

        Raises:
            Unusable: the server refuses to tell, or tells nothing about any prompt.
        """
        wished = {"max_tokens": 1, "logprobs": True, TOP: MOST_TOP}

        async def completion(client: AsyncOpenAI, prompt: Prompt) -> Completion | str:
            return await self._ask(client, prompt, wished)

        replies = self._run(self._ask_all(prompts, completion))
        answered = [reply for reply in replies if isinstance(reply, Completion) and not reply.error]
        if answered and not any(reply.first for reply in answered):
            raise Unusable(f"--model openai:{self.model}: the server tells no log-probabilities of its tokens")
        return [_logprobs(reply, words) for reply, words in zip(replies, continuations, strict=True)]

    def reach(self, timeout: float) -> None:
        """Asks for one digit, as briefly as it goes: is there such a server, under this address, with this model?

        Raises:
            Unusable: no, or nobody answers within `timeout` seconds, or the key is refused.
        """
        probe = Probe(wished={"temperature": 0.0, "max_tokens": 16})

        async def check() -> None:
            async with self.server.connect(timeout=timeout, retries=1) as client:
                await Preflight(self.server, "the model").check(client, [probe], today=date.today(), make_room=False)

        try:
            outside_loops(lambda: asyncio.run(check()))
        except UserError as error:
            raise Unusable(str(error)) from None

    def close(self) -> None:
        """Ends the connections; the next prediction opens new ones."""
        runner, client = self._runner, self._client
        if runner is not None and client is not None:
            outside_loops(lambda: runner.run(client.close()))
        self._drop()

    def _drop(self) -> None:
        """Whatever is still on its way is cancelled."""
        if self._runner is not None:
            outside_loops(self._runner.close)
        self._runner = self._client = None

    def _run(self, work: Coroutine[Any, Any, list[T]]) -> list[T]:
        """All batches share one event loop, and so the connections. What breaks one, such as Ctrl-C, ends it."""
        runner = self._runner = self._runner or asyncio.Runner()
        try:
            return outside_loops(lambda: runner.run(work))
        except BaseException:
            self._drop()
            raise

    async def _ask_all(
        self, prompts: Sequence[Prompt], ask: Callable[[AsyncOpenAI, Prompt], Coroutine[Any, Any, T]]
    ) -> list[T]:
        if self._client is None:
            try:
                self._client = self.server.connect()
            except UserError as error:
                raise Unusable(f"--model openai:{self.model}: {error}") from None
        slots = asyncio.Semaphore(self.concurrency)

        async def in_turn(client: AsyncOpenAI, prompt: Prompt) -> T:
            async with slots:
                return await ask(client, prompt)

        return await asyncio.gather(*(in_turn(self._client, prompt) for prompt in prompts))

    async def _ask(self, client: AsyncOpenAI, prompt: Prompt, limits: dict[str, Any]) -> Completion | str:
        """What came back, or why nothing did."""
        content = await asyncio.to_thread(lambda: [_part(part) for part in prompt.parts])
        wished = {"temperature": 0.0, **limits}
        while True:
            sent = self.server.adapt(wished)
            try:
                completion, _ = await self.server.ask(client, content, None, wished)
            except AskingFailed as failure:
                if failure.is_refusal and (self.server.learn(failure, sent) or self.server.adapt(wished) != sent):
                    continue
                if failure.final or (failure.is_refusal and TOP in sent and failure.speaks_of_logprobs):
                    raise Unusable(f"--model openai:{self.model}: {failure.reason}") from None
                return failure.reason
            return completion


def _part(part: str | ImageRef) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": _data_url(part)}}


def _data_url(image: ImageRef) -> str:
    raw = image.read()
    with Image.open(io.BytesIO(raw)) as opened:
        kind = SENT_AS_THEY_ARE.get(opened.format or "")
        as_it_is = orientation(opened) == 1 and has_eight_bits(opened)
    if kind is None or not as_it_is:
        buffer = io.BytesIO()
        image.decode().convert("RGB").save(buffer, "PNG")
        raw, kind = buffer.getvalue(), "image/png"
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def _to_generation(completion: Completion) -> Generation:
    """Servers leave fields out; a completion without text is a failure, not an empty answer."""
    if completion.error:
        return Generation(None, error=completion.error)
    finish, tokens = completion.finish_reason, completion.output_tokens
    if completion.text is None:
        return Generation(None, tokens, finish, error=f"no text (finish reason {finish})")
    return Generation(completion.text, tokens, finish)


def _logprobs(reply: Completion | str, words: Sequence[str]) -> Logprobs | NoProbabilities:
    error = reply if isinstance(reply, str) else reply.error
    if isinstance(reply, str) or error:
        return NoProbabilities(str(error))
    if reply.first is None:
        return NoProbabilities("the server told no log-probabilities")
    begun = reply.first.text.strip()
    if begun.isascii() and not (reply.text or "").lstrip().startswith(begun):
        return NoProbabilities(f"the answer does not begin with the first token {begun!r}: the model thinks before it")
    return [_of_word(reply.first, word) for word in words]


def _of_word(first: FirstToken, word: str) -> tuple[float, int] | None:
    listed = [value for text, value in first.among if text.strip() == word]
    return (log(sum(map(exp, listed))) if len(listed) > 1 else listed[0], 1) if listed else None
