"""Any model behind an OpenAI-compatible server (OpenAI, vLLM, llama.cpp, ...): many requests at once.

The key comes from OPENAI_API_KEY alone and is scrubbed from what a server says before anybody sees it.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.images import has_eight_bits, orientation
from benchmarks.records import ImageRef, Prompt

from ..judges.endpoint import KEY_NAME, ends_everything, explain, scrub
from .base import Generation, Unusable

if TYPE_CHECKING:
    from openai import OpenAI

SENT_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Unless a tag turns them (not every server looks at it), or they have more than eight bits."""

REASONING_TOKENS = 4096
"""Limit for models that think before they answer: a benchmark's own limit would end inside the thought."""


class EndpointPredictor:
    """One model name at one server. Pictures travel inside the request as data URLs."""

    device = "a server"

    def __init__(
        self, model: str, *, base_url: str | None = None, concurrency: int = 16, timeout: float = 300.0
    ) -> None:
        self.model = model
        self.name = model.replace("/", "_")
        self.base_url = base_url
        self.batch_size = concurrency
        self.concurrency = concurrency
        self.timeout = timeout
        self._client: OpenAI | None = None
        self._refused: set[str] = set()

    def describe(self) -> dict[str, Any]:
        return {"kind": "openai", "id": self.model, "base_url": self.base_url, "dtype": None}

    def self_test(self) -> None:
        """Nothing can be looked into from here."""
        return

    def render(self, prompt: Prompt) -> str:
        return prompt.text

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        """Raises Unusable where no request can succeed: wrong key, no such model, no credit."""
        client = self._connect()
        with ThreadPoolExecutor(self.concurrency) as threads:
            return list(threads.map(lambda prompt: self._ask(client, prompt, max_new_tokens), prompts))

    def reach(self, timeout: float) -> None:
        """Asks for the list of models, which costs nothing; a server that has none answers too.

        Raises Unusable: nobody answers within `timeout` seconds, or the key is refused.
        """
        from openai import APIConnectionError, APIStatusError, AuthenticationError

        client = self._connect().with_options(timeout=timeout, max_retries=1)
        try:
            client.models.with_raw_response.list()
        except (APIConnectionError, AuthenticationError) as error:
            place = f" at {self.base_url}" if self.base_url else ""
            raise Unusable(
                f"--model openai:{self.model}: no usable server{place}: {explain(error)}; "
                f"check --base-url and {KEY_NAME}"
            ) from None  # that error carries the key
        except APIStatusError:
            return

    def _connect(self) -> OpenAI:
        """A client with the library's own retries (408, 409, 429, 5xx, lost connections; Retry-After is respected)."""
        if self._client is None:
            from openai import OpenAI

            key = os.environ.get(KEY_NAME)
            if not key and self.base_url is None:
                raise Unusable(
                    f"--model openai:{self.model} needs a key in {KEY_NAME}, or a server of yours as --base-url"
                )
            self._client = OpenAI(api_key=key or "no-key", base_url=self.base_url, timeout=self.timeout, max_retries=5)
        return self._client

    def _ask(self, client: OpenAI, prompt: Prompt, max_new_tokens: int) -> Generation:
        from openai import APIError, BadRequestError

        content: Any = [_part(part) for part in prompt.parts]
        while True:
            sent = self._parameters(max_new_tokens)
            try:
                completion = client.chat.completions.create(
                    model=self.model, messages=[{"role": "user", "content": content}], **sent
                )
            except BadRequestError as error:
                refused = next((name for name in sent if name in (error.param or error.message)), None)
                if refused is None or refused == "max_completion_tokens":
                    return Generation(None, error=explain(error))
                self._refused.add(refused)
            except APIError as error:
                if ends_everything(error):
                    raise Unusable(f"--model openai:{self.model}: {explain(error)}") from error
                return Generation(None, error=explain(error))
            except ValueError:  # a body that is not even JSON, from something that stands before the server
                return Generation(None, error="not a chat completion: the reply is no JSON")
            else:
                return _to_generation(completion)

    def _parameters(self, max_new_tokens: int) -> dict[str, Any]:
        """Greedy and limited, in the words that this server accepts."""
        parameters: dict[str, Any] = {} if "temperature" in self._refused else {"temperature": 0.0}
        if "max_tokens" in self._refused:
            return parameters | {"max_completion_tokens": max(max_new_tokens, REASONING_TOKENS)}
        return parameters | {"max_tokens": max_new_tokens}


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


def _to_generation(completion: Any) -> Generation:
    """Servers leave fields out; a completion without text is a failure, not an empty answer."""
    if not getattr(completion, "choices", None):
        return Generation(None, error=f"not a chat completion: {scrub(str(completion))[:80]!r}")
    choice = completion.choices[0]
    text = getattr(choice.message, "content", None) if choice.message else None
    tokens = completion.usage.completion_tokens if completion.usage else None
    if text is None:
        return Generation(None, tokens, choice.finish_reason, error=f"no text (finish reason {choice.finish_reason})")
    return Generation(text, tokens, choice.finish_reason)
