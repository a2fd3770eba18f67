"""A chat completion, read without trusting the server that wrote it: nothing in it may raise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from benchmarks.redaction import redact, without_own_keys

MOST_TOKENS = 9
"""Digits of a token count; a longer one is a mistake."""
ROUNDED = 1e-3
"""How far above 0 rounding may lift the logarithm of a probability."""


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """The token that an answer begins with, and the most probable ones in its place: (text, natural logarithm)."""

    text: str
    among: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a server answered.

    `text` is None where none came; `error` says why there is no completion at all. Token counts, and the `first`
    token's probabilities, are None where the server does not say.
    """

    text: str | None = None
    refusal: str | None = None
    error: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first: FirstToken | None = None


def read_completion(body: str) -> Completion:
    """Numbers are kept as they are written: `1e999` tokens are no count, and an answer of `0.50` is a text."""
    try:
        whole = json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
        choice = whole["choices"][0]
        message = choice["message"]
        content, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
        usage = whole.get("usage") or {}
        counts = [_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
        model = whole.get("model")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return Completion(error=f"not a chat completion: {redact(body[:2000])[:80]!r}")
    text = text_of(content)
    if text is None and content:
        return Completion(error=f"an answer that is no text: {redact(repr(content)[:2000])[:80]}")
    return Completion(
        text=None if text is None else without_own_keys(text),
        refusal=without_own_keys(refusal) if isinstance(refusal, str) and refusal else None,
        model=redact(model)[:200] if isinstance(model, str) and model else None,
        finish_reason=finish[:80] if isinstance(finish, str) else None,
        input_tokens=counts[0],
        output_tokens=counts[1],
        first=_first_token(choice.get("logprobs")),
    )


def _first_token(logprobs: Any) -> FirstToken | None:
    """None where there are no probabilities, or what stands in their place is none."""
    try:
        first = logprobs["content"][0]
        listed = [(each["token"], each.get("bytes"), float(each["logprob"])) for each in first["top_logprobs"]]
        own = (first["token"], first.get("bytes"), float(first["logprob"]))
    except (TypeError, LookupError, ValueError, AttributeError):
        return None
    if own[:2] not in [each[:2] for each in listed]:  # the one that was taken need not be among the most probable
        listed.append(own)
    if not all(isinstance(text, str) and isfinite(value) and value <= ROUNDED for text, _, value in listed):
        return None
    return FirstToken(text=own[0], among=tuple((text, value) for text, _, value in listed))


def text_of(content: Any) -> str | None:
    """A content that is text, or a list of parts with text among them (thoughts are left out); None for all else."""
    if isinstance(content, str):
        return content
    if isinstance(content, int | float) and not isinstance(content, bool):
        return str(content)
    if not isinstance(content, list):
        return None
    texts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | dict)]
    whole = [text for text in texts if isinstance(text, str)]
    return "".join(whole) if whole else None


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= MOST_TOKENS else None
