"""What a user of the training commands can fix."""

from __future__ import annotations


class UserError(ValueError):
    """One line: what was found, what was expected, what to do. The command line prints it and exits with code 2."""
