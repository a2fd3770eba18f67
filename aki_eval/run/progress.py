"""What a person sees while a run works: bars with rate and time left on a terminal, plain lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from benchmarks.console import PlainConsole
from benchmarks.records import Prediction

PLAIN_SECONDS = 15.0
"""Time between two lines where there is no terminal."""


class Progress:
    """Told what is to be done and what was done; decides how to show it. Quiet on ranks other than 0."""

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or PlainConsole(stderr=True)
        self.quiet = quiet
        self._bars: Bars | None = None
        self._rows: dict[str, TaskID] = {}
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._errors = 0
        self._right: dict[str, int] = {}
        self._start = self._last_line = 0.0

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def predicting(self, totals: Mapping[str, int]) -> Iterator[None]:
        """While the block runs, `advance` shows how far each of the tasks and all together are."""
        self._totals, self._done, self._errors, self._right = dict(totals), dict.fromkeys(totals, 0), 0, {}
        self._start = self._last_line = time.monotonic()
        if self.quiet or not self.console.is_terminal:
            yield
            return
        with self._make_bars() as self._bars:
            for name in ("all", *totals):
                self._rows[name] = self._bars.add_task(name, total=self._total(name), rate="", note="")
            yield
        self._bars = None

    def advance(self, task: str, predictions: Sequence[Prediction], num_right: int | None = None) -> None:
        """`num_right`: how many of these are word for word right, where that means something."""
        self._done[task] += len(predictions)
        self._errors += sum(prediction.error is not None for prediction in predictions)
        if num_right is not None:
            self._right[task] = self._right.get(task, 0) + num_right
        if self._bars is not None:
            for name in (task, "all"):
                self._bars.update(
                    self._rows[name], completed=self._count(name), rate=self._rate(), note=self._note(name)
                )
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS or self._done[task] == self._totals[task]:
            self._last_line = time.monotonic()
            self.say(self._line(task))

    def _line(self, task: str) -> str:
        done, total = self._count("all"), self._total("all")
        left = (time.monotonic() - self._start) / done * (total - done)
        return (
            f"{task} {self._done[task]}/{self._totals[task]}, all {done}/{total}, "
            f"{self._rate()}, {left:.0f} s left {self._note(task)} {self._note('all')}".rstrip()
        )

    def _total(self, name: str) -> int:
        return sum(self._totals.values()) if name == "all" else self._totals[name]

    def _count(self, name: str) -> int:
        return sum(self._done.values()) if name == "all" else self._done[name]

    def _rate(self) -> str:
        return f"{self._count('all') / max(time.monotonic() - self._start, 1e-9):.1f} samples/s"

    def _note(self, name: str) -> str:
        if name == "all":
            return f"{self._errors} failed" if self._errors else ""
        right = self._right.get(name)
        return "" if right is None else f"{right / self._done[name]:.0%} word for word right"

    def _make_bars(self) -> Bars:
        return Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
        )
