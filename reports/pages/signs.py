"""The sign of a run, which tells it from others without its colour."""

from __future__ import annotations

from string import ascii_uppercase


def letter(place: int) -> str:
    """A to Z, then the run's number."""
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)
