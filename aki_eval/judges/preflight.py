"""Before the first sample is paid for: is the key good, does the model exist and live, does it take our parameters?

Costs one free request (the list of models) and one request of a few tokens for each set of parameters in use.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest

from .endpoint import Endpoint, ends_everything, explain
from .prices import known_shutdown
from .store import Reply

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

PROBE = "Reply with the digit 1 and nothing else."


async def preflight(
    client: AsyncOpenAI, endpoint: Endpoint, requests: Sequence[JudgeRequest], today: date
) -> list[Reply]:
    """The probes' replies (they cost something). The endpoint then knows which parameters to send differently.

    Raises:
        UserError: the key is refused, the model is unknown or retired, a parameter is rejected, or nobody answers.
    """
    from openai import APIError

    listed: list[str] = []
    try:
        listed = await _check_list(client, endpoint, today)
        probes = [replace(request, prompt=PROBE) for request in _one_of_each(requests)]
        return [await endpoint.probe(client, probe) for probe in probes]
    except APIError as error:
        raise UserError(_refusal(endpoint, error, listed)) from None  # that error carries the key


async def _check_list(client: AsyncOpenAI, endpoint: Endpoint, today: date) -> list[str]:
    """The names of the server's models; none where it shows no such list, or not to this key. Ends with the model's
    end.

    Raises:
        UserError: the model's `shutdown_date` has come.
    """
    from openai import APIStatusError, AuthenticationError

    try:
        response = await client.models.with_raw_response.list()
    except AuthenticationError:
        raise
    except APIStatusError:
        return []
    models = _models(response.text)
    shutdown = models.get(endpoint.model)
    if shutdown:
        endpoint.shutdown = shutdown
        if shutdown <= today:
            raise UserError(
                f"the judge {endpoint.model} was shut down on {shutdown}; name another --judge, "
                "or replay stored verdicts with --judge replay"
            )
    return list(models)


def _models(body: str) -> dict[str, date | None]:
    """Name -> announced end, as far as the list can be read."""
    try:
        return {str(model["id"]): _date(model.get("shutdown_date")) for model in json.loads(body)["data"]}
    except (ValueError, TypeError, LookupError, AttributeError):
        return {}


def _date(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _one_of_each(requests: Sequence[JudgeRequest]) -> list[JudgeRequest]:
    """One request for each set of parameter names: values differ, what is accepted does not."""
    return list({tuple(sorted(request.parameters)): request for request in requests}.values())


def _refusal(endpoint: Endpoint, error: APIError, listed: Sequence[str]) -> str:
    from openai import AuthenticationError, BadRequestError, NotFoundError

    if isinstance(error, AuthenticationError):
        return f"the key in OPENAI_API_KEY was refused by the judge's server ({endpoint.name}, HTTP 401)"
    if isinstance(error, NotFoundError):
        return _unknown_model(endpoint, listed)
    if isinstance(error, BadRequestError) and error.param:
        return f"the judge {endpoint.name} rejects the parameter {error.param!r}: {explain(error)}"
    advice = "" if ends_everything(error) else "; try again later, or give the server's address with --judge-base-url"
    return f"the judge {endpoint.name} does not answer: {explain(error)}{advice}"


def _unknown_model(endpoint: Endpoint, listed: Sequence[str]) -> str:
    shutdown = known_shutdown(endpoint.model)
    if shutdown:
        return f"there is no judge {endpoint.name}: its shutdown was announced for {shutdown}; name another --judge"
    close = difflib.get_close_matches(endpoint.model, listed, n=3) or list(listed[:3])
    known = f"; it has {', '.join(close)}" if close else ""
    return f"the server knows no model {endpoint.model!r} (HTTP 404){known}"
