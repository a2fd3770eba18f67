"""Before the first sample is paid for: is the key good, does the model exist and live, does it take our parameters?

Costs one free request (the list of models) and one request of a few tokens for each set of parameters in use.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UserError
from benchmarks.judged import Unreadable, plain

from .address import KEY_NAME, PATH
from .completion import Completion
from .prices import known_shutdown
from .server import MODEL_UNKNOWN, AskingFailed, ChatServer

if TYPE_CHECKING:
    from openai import AsyncOpenAI

QUESTION = "Reply with the digit 1 and nothing else."
ANSWER = "1"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One way of asking: parameter names are accepted or refused, whatever their values."""

    system: str | None = None
    wished: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[bool, tuple[str, ...]]:
        return bool(self.system), tuple(sorted(self.wished))


class Preflight:
    """One server's; remembers what has been proved. `what` is how messages call it: `the judge`, `the model`."""

    def __init__(self, server: ChatServer, what: str) -> None:
        self.server = server
        self.what = what
        self.shutdown: date | None = None
        """The model's announced end, where the server knows one."""
        self._listed: dict[str, date | None] | None = None
        self._proved: set[tuple[bool, tuple[str, ...]]] = set()

    async def check(
        self, client: AsyncOpenAI, probes: Sequence[Probe], *, today: date, make_room: bool
    ) -> list[tuple[Completion, dict[str, Any]]]:
        """The replies to what had not been proved before (they cost something).

        The server then knows what to send
        differently; `make_room` also raises the token limit of a model that thinks inside it.

        Raises:
            UserError: key refused, model unknown or retired, parameter rejected, or nobody answers as such a server.
        """
        try:
            if self._listed is None:
                self._listed = self._read_list(await self.server.list_models(client), today)
            new = list({probe.shape: probe for probe in probes if probe.shape not in self._proved}.values())
            return [reply for probe in new for reply in await self._prove(client, probe, make_room)]
        except AskingFailed as failure:
            raise UserError(self._refusal(failure)) from None

    def _read_list(self, body: str, today: date) -> dict[str, date | None]:
        models = _models(body)
        self.shutdown = models.get(self.server.model)
        if self.shutdown and self.shutdown <= today:
            raise UserError(
                f"{self.what} {self.server.model} was shut down on {self.shutdown}; name another"
                + (", or replay stored verdicts with --judge replay" if "judge" in self.what else "")
            )
        return models

    async def _prove(
        self, client: AsyncOpenAI, probe: Probe, make_room: bool
    ) -> list[tuple[Completion, dict[str, Any]]]:
        """Asks until the server takes the parameters; all replies on the way."""
        replies: list[tuple[Completion, dict[str, Any]]] = []
        while True:
            sent = self.server.adapt(probe.wished)
            try:
                completion, sent = await self.server.ask(client, QUESTION, probe.system, probe.wished)
            except AskingFailed as failure:
                if self.server.learn(failure, sent, has_system=probe.system is not None):
                    continue
                if self._is_dead_end(failure) and self.server.take_other_path(client):
                    continue
                raise
            if completion.error:
                if self.server.take_other_path(client):
                    continue
                raise UserError(
                    f"{self.what} {self.server.name} answers with {completion.error}; is {self.server.way} the address "
                    f"of an OpenAI-compatible server? It usually ends in {PATH}"
                )
            replies.append((completion, sent))
            if make_room and _thinks(completion):
                if self.server.has_room:
                    raise UserError(
                        f"{self.what} {self.server.name} has only thought, and not answered, when asked for one digit "
                        f"with room for {sorted(sent.values(), key=str)[-1]} tokens; turn its reasoning off at the "
                        "server, or name another"
                    )
                self.server.make_room()
                continue
            self._proved.add(probe.shape)
            self._note(completion)
            return replies

    def _note(self, completion: Completion) -> None:
        """What was found out on the way and nobody asked for."""
        server, answered = self.server, completion.model
        if self._listed and server.model not in self._listed and answered and answered != server.model:
            server.adaptations["model"] = f"not among the server's models; {answered} answered"
        for name in ("path", "model"):
            if name in server.adaptations:
                print(f"aki-eval: {self.what} {server.name}: {server.adaptations[name]}", file=sys.stderr)

    def _is_dead_end(self, failure: AskingFailed) -> bool:
        """Nobody lives at this path, rather than: this model does not."""
        return failure.status in (404, 405) and not MODEL_UNKNOWN.search(failure.words)

    def _refusal(self, failure: AskingFailed) -> str:
        server, listed = self.server, self._listed or {}
        name = f"{self.what} {server.name}"
        if failure.status == 401:
            if not server.has_key:
                return f"{name} needs a key in {KEY_NAME}, which is not set ({failure.reason})"
            return f"the key in {KEY_NAME} was refused by the server of {name} (HTTP 401; {server.way})"
        shutdown = known_shutdown(server.model) if server.address.is_openai or failure.status == 404 else None
        if failure.status == 404 and shutdown:
            return f"there is no model {server.name}: its shutdown was announced for {shutdown}; name another"
        if self._is_dead_end(failure):
            return (
                f"{name}: nothing answers chat completions at {server.way} (HTTP {failure.status}); "
                f"an OpenAI-compatible server usually has an address that ends in {PATH}"
            )
        if failure.status == 404 or (failure.is_refusal and listed and server.model not in listed):
            close = difflib.get_close_matches(server.model, listed, n=3) or list(listed)[:3]
            known = f"; it has {', '.join(close)}" if close else ""
            return f"the server knows no model {server.model!r} (HTTP {failure.status}){known}"
        if failure.is_refusal:
            what = f"the parameter {failure.param!r}" if failure.param else "the request"
            return f"{name} rejects {what}: {failure.reason}"
        if failure.final or (failure.status or 0) in range(300, 400):
            return f"{name} does not answer: {failure.reason} ({server.way})"
        return f"{name} does not answer: {failure.reason} ({server.way}); try again later, or give another address"


def _thinks(completion: Completion) -> bool:
    """The limit was used up, and the digit has not come."""
    if completion.finish_reason != "length":
        return False
    try:
        return ANSWER not in plain(completion.text or "")
    except Unreadable:
        return True


def _models(body: str) -> dict[str, date | None]:
    """Name -> announced end, as far as the list can be read."""
    try:
        return {str(model["id"]): _date(model.get("shutdown_date")) for model in json.loads(body)["data"]}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}


def _date(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
