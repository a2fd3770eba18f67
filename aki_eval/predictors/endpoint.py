"""Any model behind an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, ...): many requests at once."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.errors import UserError
from benchmarks.images import has_eight_bits, orientation
from benchmarks.records import ImageRef, Prompt

from ..chat.completion import Completion
from ..chat.loops import outside_loops
from ..chat.preflight import Preflight, Probe
from ..chat.server import AskingFailed, ChatServer
from .base import Generation, Unusable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SENT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Unless a tag turns them (not every server looks at it), or they have more than eight bits."""

DEADLINE = 900.0
"""Seconds for one prompt with all its retries."""


class EndpointPredictor:
    """One model name at one server. Pictures travel inside the request as data URLs.

    Raises:
        UserError: `base_url`, or what the environment says in its place, is no address.
    """

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
        return {"kind": "openai", "id": self.model, "base_url": self.server.address.server, "dtype": None}

    def self_test(self) -> None:
        """Nothing can be looked into from here."""
        return

    def render(self, prompt: Prompt) -> str:
        return prompt.text

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        """Raises Unusable where no request can succeed: wrong key, no such model, no credit."""
        return list(self._run(self._ask_all(prompts, max_new_tokens)))

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

    def _run(self, work: Any) -> list[Generation]:
        """All batches share one event loop, and so the connections. What breaks one, such as Ctrl-C, ends it."""
        runner = self._runner = self._runner or asyncio.Runner()
        try:
            generations: list[Generation] = outside_loops(lambda: runner.run(work))
            return generations
        except BaseException:
            self._drop()
            raise

    async def _ask_all(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        if self._client is None:
            try:
                self._client = self.server.connect()
            except UserError as error:
                raise Unusable(f"--model openai:{self.model}: {error}") from None
        slots = asyncio.Semaphore(self.concurrency)

        async def ask(client: AsyncOpenAI, prompt: Prompt) -> Generation:
            async with slots:
                return await self._ask(client, prompt, max_new_tokens)

        return await asyncio.gather(*(ask(self._client, prompt) for prompt in prompts))

    async def _ask(self, client: AsyncOpenAI, prompt: Prompt, max_new_tokens: int) -> Generation:
        content = await asyncio.to_thread(lambda: [_part(part) for part in prompt.parts])
        wished = {"temperature": 0.0, "max_tokens": max_new_tokens}
        while True:
            sent = self.server.adapt(wished)
            try:
                completion, _ = await self.server.ask(client, content, None, wished)
            except AskingFailed as failure:
                if failure.is_refusal and (self.server.learn(failure, sent) or self.server.adapt(wished) != sent):
                    continue
                if failure.final:
                    raise Unusable(f"--model openai:{self.model}: {failure.reason}") from None
                return Generation(None, error=failure.reason)
            return _to_generation(completion)


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
