"""What a user can fix."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can fix: one line that says what was found, what was expected and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


class RowError(UserError):
    """A single row of a table makes no sense. Its sample is unscored; the others are not touched."""
