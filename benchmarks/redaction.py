"""One `redact` for everything that is stored or printed: keys, tokens and passwords leave no trace.

Secrets come in from the environment (`OPENAI_API_KEY`, `HF_TOKEN`, ...), inside addresses (`http://user:password@host`,
`?api_key=...`) and come back in what servers say about them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

HIDDEN = "[key]"
SHORTEST = 8
"""Shorter values of environment variables (`KEY=1`) are no secrets and would hide ordinary words."""

SECRET_VARIABLE = re.compile(r"(API_?KEY|SECRET_KEY|ACCESS_KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
SECRET_NAME = r"[\w.-]*(?:key|token(?!s)|secret|passw|signature|auth(?!or)|credential)[\w.-]*|sig|pwd"
ABBREVIATED = r"--judge-ke?"
"""VLMEvalKit's --judge-key, as argparse also takes it."""
PATTERNS = (
    # what the services' own keys look like, whole or as servers abbreviate them
    (re.compile(r"\b(?:sk|pk|rk)-[\w*.…-]{6,}|\bhf_\w{20,}"), HIDDEN),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=*-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # the user's part of an address; it may itself hold an @
    (re.compile(r"(\b[a-z][a-z0-9+.-]*:\\?/\\?/)[^\s/?#'\"\\]*@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(rf"([?&;](?:{SECRET_NAME})=)[^&;\s#'\"\\]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    # members of JSON, quoted once more where the JSON is itself an argument
    (
        re.compile(rf"((\\?['\"])(?:{SECRET_NAME})\2\s*:\s*\\?['\"])(?!\[key\])[^'\"\\]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """`text` without secrets; what is none stays as it is, so redacting twice changes nothing."""
    text = without_own_keys(text)
    for pattern, hidden in PATTERNS:
        text = pattern.sub(hidden, text)
    return text


def without_own_keys(text: str) -> str:
    """For answers, in which nothing else may be changed: `text` without the values of the environment's secrets."""
    for value in _secrets():
        text = text.replace(value, HIDDEN)
    return text


def redact_command(arguments: Iterable[str]) -> list[str]:
    """A command line; the value of an option that is named after a secret (`--judge-key X`) goes too."""
    redacted: list[str] = []
    hide = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        is_secret = bool(re.fullmatch(rf"--?(?:{SECRET_NAME})|{ABBREVIATED}", name, re.IGNORECASE))
        redacted.append(HIDDEN if hide else f"{name}={HIDDEN}" if is_secret and equals else redact(argument))
        hide = is_secret and not equals
    return redacted


def _secrets() -> list[str]:
    """Values of the environment's secrets, the longest first: one may hold another."""
    values = (value.strip() for name, value in os.environ.items() if SECRET_VARIABLE.search(name))
    return sorted({value for value in values if len(value) >= SHORTEST}, key=len, reverse=True)
