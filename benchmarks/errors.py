"""What a user can fix."""

from __future__ import annotations

LONGEST, BEGINNING, END = 1500, 900, 400
"""Characters of what is said to a user: a line that a person reads."""


class UserError(ValueError):
    """Something the user can fix: one line that says what was found, what was expected and what to do.

    The command line prints it without a traceback and exits with code 2. What it quotes may be of any length; what is
    said is at most `LONGEST` characters: its beginning, and its end, which says what to do.
    """

    def __init__(self, message: object) -> None:
        super().__init__(bounded(str(message)))


def bounded(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    left_out = len(text) - BEGINNING - END
    return f"{text[:BEGINNING]} ... ({left_out:,} characters left out) ... {text[-END:]}"


class RowError(UserError):
    """A single row of a table makes no sense. Its sample is unscored; the others are not touched."""
