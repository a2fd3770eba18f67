"""One judge model behind an OpenAI-compatible server: how it is asked, what it does not accept, what its errors mean.

The key comes from OPENAI_API_KEY alone. It is scrubbed from every text that came from outside before anything else
sees it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest

from .prices import Price, known_price
from .store import Reply, Source

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI, BadRequestError

KEY_NAME = "OPENAI_API_KEY"
REASONING_TOKENS = 4096
"""Token limit for a model that thinks before it answers: MM-Vet's limit of 3 would end inside the thought."""


class Endpoint:
    """`base_url` is the address of a compatible server, None for OpenAI itself."""

    def __init__(
        self, model: str, base_url: str | None, *, price: Price | None = None, timeout: float = 120.0, retries: int = 5
    ) -> None:
        self.model = model
        self.base_url = base_url
        self.source = Source(model, _without_secrets(base_url) if base_url else None)
        self.price = price or (known_price(model) if base_url is None else None)
        self.timeout = timeout
        self.retries = retries
        self.adaptations: dict[str, str] = {}
        """Parameter -> what was done about it, because the server refused it."""
        self.shutdown: date | None = None
        """The model's announced end, where the server knows one."""

    @property
    def name(self) -> str:
        return self.source.name

    def connect(self) -> AsyncOpenAI:
        """A client with the library's own retries (408, 409, 429, 5xx, lost connections; Retry-After is respected).

        Raises:
            UserError: OpenAI is asked without a key.
        """
        from openai import AsyncOpenAI

        key = os.environ.get(KEY_NAME)
        if not key and self.base_url is None:
            raise UserError(
                f"the judge {self.model} needs a key in {KEY_NAME}, which is not set; "
                "--judge replay uses stored verdicts, --judge none leaves judged samples unscored"
            )
        return AsyncOpenAI(
            api_key=key or "no-key", base_url=self.base_url, timeout=self.timeout, max_retries=self.retries
        )

    async def ask(self, client: AsyncOpenAI, request: JudgeRequest) -> Reply:
        """One reply. Raises the `openai` library's errors."""
        parameters = self.adapt(request.parameters)
        response = await client.chat.completions.with_raw_response.create(
            model=self.model, messages=_messages(request), **parameters
        )
        return self._to_reply(response.text, parameters)

    async def probe(self, client: AsyncOpenAI, request: JudgeRequest) -> Reply:
        """As `ask`, and refused parameters are sent differently from here on.

        Only the preflight probes: within a run every sample is judged with the same parameters.
        """
        from openai import BadRequestError

        while True:
            sent = self.adapt(request.parameters)
            try:
                reply = await self.ask(client, request)
            except BadRequestError as error:
                self._learn(_refused_parameter(error))
                if self.adapt(request.parameters) == sent:
                    raise
                continue
            if reply.raw or reply.finish_reason != "length" or self.thinks:
                return reply
            # The limit was used up before anything was said: a reasoning model that does not reject `max_tokens`.
            self.adaptations["empty"] = f"token limit raised to {REASONING_TOKENS}"

    def adapt(self, wished: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as this server takes them."""
        parameters = dict(wished)
        if "temperature" in self.adaptations:
            parameters.pop("temperature", None)
        limit = parameters.pop("max_tokens", None)
        if limit is not None:
            name = "max_completion_tokens" if "max_tokens" in self.adaptations else "max_tokens"
            parameters[name] = max(limit, REASONING_TOKENS) if self.thinks else limit
        return parameters

    @property
    def thinks(self) -> bool:
        return bool(self.adaptations.keys() & {"max_tokens", "empty"})

    def _learn(self, refused: str | None) -> None:
        if refused == "temperature":
            self.adaptations[refused] = "left out"
        elif refused == "max_tokens":
            self.adaptations[refused] = f"max_completion_tokens of at least {REASONING_TOKENS}"

    def _to_reply(self, body: str, parameters: dict[str, Any]) -> Reply:
        """Reads the body by hand: the library builds its objects without checking that a server filled them."""
        try:
            completion = json.loads(body)
            choice = completion["choices"][0]
            raw = choice["message"].get("content") or choice["message"].get("refusal") or ""
            usage = completion.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        except (ValueError, TypeError, LookupError, AttributeError):
            error = f"not a chat completion: {scrub(body)[:80]!r}"
            return Reply(model=self.model, raw=None, error=error, parameters_sent=parameters)
        return Reply(
            model=scrub(str(completion.get("model") or self.model)),
            raw=scrub(str(raw)),
            finish_reason=choice.get("finish_reason"),
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost_usd=self.price.cost(*tokens) if self.price and usage else None,
            parameters_sent=parameters,
        )


def scrub(text: str) -> str:
    """`text` without the key, whole or as servers abbreviate it."""
    key = os.environ.get(KEY_NAME)
    if key:
        text = text.replace(key, "[key]")
    return re.sub(r"\bsk-[\w*.-]{6,}", "[key]", text)


def explain(error: APIError) -> str:
    """One line: the kind of failure, the status, and the server's own words, scrubbed and shortened."""
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APITimeoutError):
        return "no reply in time"
    if isinstance(error, APIConnectionError):
        return f"connection failed ({type(error.__cause__).__name__})"
    status = f"HTTP {error.status_code}" if isinstance(error, APIStatusError) else type(error).__name__
    return f"{status}: {' '.join(scrub(error.message).split())[:200]}"


def ends_everything(error: APIError) -> bool:
    """True when every further request would fail in the same way: no access, no such model, no credit."""
    from openai import AuthenticationError, NotFoundError, PermissionDeniedError

    return error.code == "insufficient_quota" or isinstance(
        error, AuthenticationError | PermissionDeniedError | NotFoundError
    )


def _without_secrets(base_url: str) -> str:
    """Scheme, host, port and path: names, passwords and keys in the address stay out of files.

    Raises:
        UserError: it is no address.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"the judge's base URL is {base_url!r}, expected one like http://localhost:8000/v1")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _refused_parameter(error: BadRequestError) -> str | None:
    if error.param:
        return error.param
    found = re.search(r"\b(max_tokens|temperature)\b", error.message)
    return found[1] if found else None


def _messages(request: JudgeRequest) -> Any:
    user = {"role": "user", "content": request.prompt}
    return [{"role": "system", "content": request.system}, user] if request.system else [user]
