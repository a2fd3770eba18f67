"""In which order and in what sizes prompts are answered."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence

from benchmarks.records import Prompt

LENGTH_STEP = 64
"""Prompts whose texts differ by less than this many characters may share a batch.

Padding costs less than reordering.
"""

LARGEST = 256


def ordered(prompts: Sequence[Prompt], open_ended: Container[str] = ()) -> list[Prompt]:
    """Long prompts first, alike lengths together, questions about one picture next to each other.

    Long first, so that a batch that does not fit shows at the start and the time left is over- and not underestimated;
    pictures together, so that a small cache of vision features is enough. `open_ended` are indices of questions without
    options; they come before those with some, because a batch takes as long as its longest answer, and a letter would
    wait for a sentence.
    """
    first_seen = {prompt: position for position, prompt in enumerate(prompts)}
    picture: dict[tuple[str, ...], int] = {}
    for prompt in prompts:
        picture.setdefault(_pictures(prompt), first_seen[prompt])

    def key(prompt: Prompt) -> tuple[bool, int, int, int, int]:
        length = -len(prompt.images), -(len(prompt.text) // LENGTH_STEP)
        return prompt.index not in open_ended, *length, picture[_pictures(prompt)], first_seen[prompt]

    return sorted(prompts, key=key)


def _pictures(prompt: Prompt) -> tuple[str, ...]:
    return tuple(image.key for image in prompt.images)


class BatchSize:
    """How many prompts are sent at once: a number, or what turns out to be fast and to fit.

    Automatic: doubles as long as that answers at least a tenth more prompts a second. Whether automatic or not, running
    out of memory halves it for good.
    """

    def __init__(self, wanted: int | None, start: int = 8) -> None:
        self.wanted = wanted
        self.size = wanted or start
        self._limit = wanted or LARGEST
        self._grows = wanted is None
        self._best_rate = 0.0

    def answered(self, count: int, seconds: float) -> None:
        """Told after each batch. Batches that were not full say nothing about speed."""
        if not self._grows or count < self.size:
            return
        rate = count / max(seconds, 1e-9)
        if rate < 1.1 * self._best_rate:
            self._grows = False
            return
        self._best_rate = max(rate, self._best_rate)
        self.size = min(2 * self.size, self._limit)
        self._grows = self.size < self._limit

    def out_of_memory(self, count: int) -> None:
        """Told when a batch of `count` did not fit."""
        self.size = self._limit = max(1, min(self.size, count // 2))
        self._grows = False


class Stopwatch:
    """Seconds spent inside `with`, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since
