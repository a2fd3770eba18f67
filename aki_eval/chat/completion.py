"""A chat completion, read without trusting the server that wrote it: nothing in it may raise."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from benchmarks.redaction import redact, without_own_keys

MOST_TOKENS = 9
"""Digits of a token count; a longer one is a mistake."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a server answered.

    `text` is None where none came; `error` says why there is no completion at all. Token counts are None where the
    server does not say.
    """

    text: str | None = None
    refusal: str | None = None
    error: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


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
    )


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
