"""One model behind an OpenAI-compatible server: how it is asked, what it does not accept, what its errors mean.

The key comes from OPENAI_API_KEY alone; whatever a server says is redacted before anything else sees it. Every request
ends: each try, the whole of them, and the size of a reply are limited.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from benchmarks.errors import UserError
from benchmarks.redaction import redact

from .address import KEY_NAME, PATH, Address, check_environment, find_address
from .completion import Completion, read_completion

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAIError

REASONING_TOKENS = 4096
"""Token limit for a model that thinks before it answers: MM-Vet's limit of 3 would end inside the thought."""
LONGEST_REPLY = 16 * 2**20
"""Bytes; a grade or an answer has some thousands."""
REFUSALS = (400, 404, 422)
"""Statuses of a request that was understood and not liked: OpenAI and Azure say 400, FastAPI and Mistral 422."""
NO_ACCESS = (401, 402, 403, 404)

LIMIT, RENAMED = "max_tokens", "max_completion_tokens"
TOP, FEWER = "top_logprobs", 5
"""How many of the most probable tokens are asked for, and with how many servers are content that refuse more."""
REQUIRED = re.compile(r"\b(required|missing|must be (set|provided|specified))\b", re.IGNORECASE)
SYSTEM_ROLE = re.compile(r"\bsystem\b.*\b(role|message|prompt)|\b(role|message).*\bsystem\b", re.IGNORECASE | re.DOTALL)
MODEL_UNKNOWN = re.compile(r"\b(model|deployment)", re.IGNORECASE)


class AskingFailed(Exception):
    """No reply, and why, in one redacted line. `final`: every further request would fail in the same way."""

    def __init__(
        self, reason: str, *, status: int | None = None, words: str = "", code: str = "", param: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.words = words
        """All that the server said."""
        self.param = param
        self.final = status in NO_ACCESS or code == "insufficient_quota"

    @property
    def is_refusal(self) -> bool:
        return self.status in REFUSALS

    @property
    def speaks_of_logprobs(self) -> bool:
        return "logprobs" in self.words


class ChatServer:
    """`timeout` in seconds for one try, `deadline` for a request with all its retries.

    Raises:
        UserError: `base_url`, or what the environment says in its place, is no address.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        option: str = "--base-url",
        timeout: float = 120.0,
        deadline: float = 300.0,
        retries: int = 5,
    ) -> None:
        self.model = model
        self.address: Address = find_address(base_url, option)
        self.timeout = timeout
        self.deadline = deadline
        self.retries = retries
        self.adaptations: dict[str, str] = {}
        """What is done differently because the server refused it, for the record."""
        self._path = ""
        """Put behind the address, once the address alone has been found to be a dead end."""
        self._url = self.address.url

    @property
    def name(self) -> str:
        """The model, and its server where that is not OpenAI's."""
        return self.model if self.address.server is None else f"{self.model} at {self.address.netloc}"

    @property
    def way(self) -> str:
        """For messages: the address asked, what named it, and the proxy on the way."""
        proxy = self.address.proxy
        return f"{self.address.shown}, from {self.address.given_by}" + (f", through the proxy {proxy}" if proxy else "")

    @property
    def has_key(self) -> bool:
        return bool(os.environ.get(KEY_NAME, "").strip())

    def require_key(self) -> None:
        """Refuses what could only fail.

        Raises:
            UserError: OpenAI would be asked without a key.
        """
        if not self.has_key and self.address.is_openai:
            raise UserError(f"{self.name} needs a key in {KEY_NAME}, which is not set")

    def connect(self, *, timeout: float | None = None, retries: int | None = None) -> AsyncOpenAI:
        """A client with the library's own retries (408, 409, 429, 5xx, lost connections; Retry-After is respected).

        It does not follow redirections: who answers is who was asked.

        Raises:
            UserError: OpenAI is asked without a key, or the environment holds what cannot be used.
        """
        check_environment()
        self.require_key()
        from openai import AsyncOpenAI

        key = os.environ.get(KEY_NAME, "").strip() or "no-key"
        return AsyncOpenAI(
            api_key=key,
            base_url=self._url,
            default_query=dict(self.address.query),
            default_headers={"api-key": key} if self.address.is_azure else None,
            timeout=timeout or self.timeout,
            max_retries=self.retries if retries is None else retries,
            http_client=_bounded_client(timeout or self.timeout),
        )

    async def ask(
        self, client: AsyncOpenAI, content: Any, system: str | None = None, wished: Mapping[str, Any] | None = None
    ) -> tuple[Completion, dict[str, Any]]:
        """One completion, perhaps without text, and the parameters that were sent.

        Raises:
            AskingFailed: no reply came.
        """
        from openai import OpenAIError

        sent = self.adapt(wished or {})
        try:
            async with asyncio.timeout(self.deadline):
                response = await client.chat.completions.with_raw_response.create(
                    model=self.model, messages=self._messages(content, system), **sent
                )
        except TimeoutError:
            raise AskingFailed(f"no reply within {self.deadline:g} s") from None
        except OpenAIError as error:
            raise self._failure(error) from None  # that error carries the key
        except UnicodeError as error:
            raise AskingFailed(f"cannot be sent: {type(error).__name__}") from None
        return read_completion(response.text), sent

    async def list_models(self, client: AsyncOpenAI) -> str:
        """The body of the server's list of models; empty where it shows none.

        Raises:
            AskingFailed: the key is refused, or nobody answers.
        """
        from openai import APIStatusError, AuthenticationError, OpenAIError

        try:
            async with asyncio.timeout(self.deadline):
                response = await client.models.with_raw_response.list()
            return str(response.text)
        except TimeoutError:
            raise AskingFailed(f"no reply within {self.deadline:g} s") from None
        except OpenAIError as error:
            if isinstance(error, APIStatusError) and not isinstance(error, AuthenticationError):
                return ""
            raise self._failure(error) from None

    def adapt(self, wished: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as this server takes them."""
        parameters = {name: value for name, value in wished.items() if self.adaptations.get(name) != "left out"}
        limit = parameters.pop(LIMIT, None)
        if limit is None and "limit" in self.adaptations:
            limit = REASONING_TOKENS
        if limit is not None:
            name = RENAMED if LIMIT in self.adaptations else LIMIT
            parameters[name] = max(limit, REASONING_TOKENS) if self.has_room else limit
        if TOP in parameters and TOP in self.adaptations:
            parameters[TOP] = FEWER
        return parameters

    def learn(self, failure: AskingFailed, sent: Mapping[str, Any], *, has_system: bool = False) -> bool:
        """Whether the next request goes out differently because of what was refused in this one."""
        if not failure.is_refusal:
            return False
        words, before = failure.words, dict(self.adaptations)
        named = [name for name in ("temperature", LIMIT, RENAMED) if re.search(rf"\b{name}\b", words)]
        if "temperature" in named and "temperature" in sent:
            self.adaptations["temperature"] = "left out"
        elif LIMIT in named and LIMIT in sent:
            self.adaptations[LIMIT] = f"{RENAMED} of at least {REASONING_TOKENS}"
        elif (LIMIT in named or RENAMED in named) and REQUIRED.search(words) and not {LIMIT, RENAMED} & sent.keys():
            self.adaptations["limit"] = f"{LIMIT} of {REASONING_TOKENS} where none is asked for"
        elif has_system and SYSTEM_ROLE.search(words):
            self.adaptations["system"] = "put in front of the question"
        elif failure.speaks_of_logprobs and sent.get(TOP, 0) > FEWER:
            self.adaptations[TOP] = f"{FEWER}, as more are refused"
        return self.adaptations != before

    @property
    def has_room(self) -> bool:
        """Whether token limits leave room for thoughts."""
        return bool(self.adaptations.keys() & {LIMIT, "room"})

    def make_room(self) -> None:
        """For a model that uses its limit up before it has said anything."""
        self.adaptations["room"] = f"token limit raised to {REASONING_TOKENS}: it thinks before it answers"

    def take_other_path(self, client: AsyncOpenAI) -> bool:
        """From here on asks under the path that an address without /v1 may have meant; False when there is none."""
        if self._path or (self.address.shown.endswith(PATH) and not self.address.assumed):
            return False
        if self.address.assumed:
            self._path, self._url = "/", self.address.url.removesuffix(PATH)
        else:
            self._path, self._url = PATH, self.address.url + PATH
        client.base_url = self._url
        self.adaptations["path"] = f"asked under {self._path}"
        return True

    def _messages(self, content: Any, system: str | None) -> Any:
        if system and "system" in self.adaptations and isinstance(content, str):
            content, system = f"{system}\n\n{content}", None
        user = {"role": "user", "content": content}
        return [{"role": "system", "content": system}, user] if system else [user]

    def _failure(self, error: OpenAIError) -> AskingFailed:
        """One line: the kind of failure, the status, and the server's own words, redacted and shortened."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        cause = error.__cause__
        if isinstance(error, APITimeoutError):
            return AskingFailed("no reply in time")
        if isinstance(error, APIConnectionError) and not isinstance(cause, OpenAIError):
            return AskingFailed(f"connection failed ({type(cause).__name__})")
        if not isinstance(error, APIStatusError):
            return AskingFailed(_line(str(cause if isinstance(cause, OpenAIError) else error)))
        onwards = error.response.headers.get("location")
        if 300 <= error.status_code < 400 and onwards:
            target = redact(urljoin(str(error.response.url), onwards))[:100]
            return AskingFailed(
                f"HTTP {error.status_code}: the server sends its callers on to {target}; give that address",
                status=error.status_code,
            )
        code = error.code if isinstance(error.code, str) else ""
        body = redact(error.response.text[:5000])
        param = redact(str(error.param))[:80] if error.param else None
        return AskingFailed(
            f"HTTP {error.status_code}: {_line(_said(body))}",
            status=error.status_code,
            words=f"{param or ''} {code} {body}",
            code=code,
            param=param,
        )


def _said(body: str) -> str:
    """A server's own words: OpenAI's `error.message`, FastAPI's `detail`, or all of the body."""
    try:
        found = json.loads(body)
        found = found.get("error", found)
        said = found if isinstance(found, str) else found.get("message") or found.get("detail")
    except (ValueError, AttributeError, RecursionError):
        return body
    return said if isinstance(said, str) else json.dumps(said) if said else body


def _line(text: str) -> str:
    return " ".join(redact(text[:5000]).split())[:200]


def _bounded_client(seconds: float) -> Any:
    """The client's own HTTP client: a try ends after so many seconds, a reply after so many bytes, even if it drips."""
    from openai import APIError, DefaultAsyncHttpxClient

    http = import_module(DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])  # httpx, or what succeeds it

    class BoundedClient(DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            try:
                async with asyncio.timeout(seconds):
                    response = await super().send(request, stream=True, **options)
                    try:
                        body = await _read(response)
                    finally:
                        await response.aclose()
            except TimeoutError:
                raise http.ReadTimeout(f"no whole reply within {seconds:g} s", request=request) from None
            if body is None:
                words = f"the server's reply is longer than {LONGEST_REPLY // 2**20} MB"
                raise APIError(words, request, body=None)
            return type(response)(
                response.status_code,
                headers=_headers_of_plain_body(response.headers.multi_items()),
                content=body,
                request=request,
                extensions={name: value for name, value in response.extensions.items() if name != "network_stream"},
            )

    return BoundedClient(follow_redirects=False)


async def _read(response: Any) -> bytes | None:
    """None: the server sends more than any reply has."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LONGEST_REPLY:
            return None
    return bytes(body)


def _headers_of_plain_body(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without those that speak of how the body travelled."""
    gone = {"content-encoding", "content-length", "transfer-encoding"}
    return [(name, value) for name, value in headers if name.lower() not in gone]
