"""What a person sees while a run works: two lines on a terminal (the task, all tasks), plain lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column

from benchmarks.console import PlainConsole
from benchmarks.printable import printable
from benchmarks.records import Prediction

PLAIN_SECONDS = 15.0
"""Time between two lines where there is no terminal."""
WORDS_WIDTH = 74
"""What a line takes beside its bar, so that it fits 80 columns."""
ALL = "all"


class Progress:
    """Told what is to be done and what was done; decides how to show it. Of those that share a terminal one speaks.

    Tasks are answered one after the other: the rate is that of the task, from the moment at which its turn came.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or PlainConsole(stderr=True)
        self.quiet = quiet
        self._bars: Bars | None = None
        self._rows: dict[str, TaskID] = {}
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._errors = 0
        self._right: dict[str, int] = {}
        self._starts: dict[str, float] = {}
        self._last = self._last_line = 0.0

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def predicting(self, totals: Mapping[str, int]) -> Iterator[None]:
        """While the block runs, `advance` shows how far the task at work and all of them together are."""
        self._totals, self._done, self._errors, self._right = dict(totals), dict.fromkeys(totals, 0), 0, {}
        self._last = self._last_line = time.monotonic()
        self._starts, self._rows = {ALL: self._last}, {}
        if self.quiet or not self.console.is_terminal:
            yield
            return
        with self._make_bars() as self._bars:
            self._rows[ALL] = self._bars.add_task(ALL, total=self._total(ALL), **self._fields(ALL))
            yield
        self._bars = None

    def elsewhere(self, task: str, number: int) -> None:
        """So many of the task's questions are another worker's; fewer than none: they have come back."""
        if task in self._totals:
            self._totals[task] -= number

    def advance(self, task: str, predictions: Sequence[Prediction], num_right: int | None = None) -> None:
        """`num_right`: how many of these are word for word right, where that means something."""
        self._starts.setdefault(task, self._last)
        self._last = time.monotonic()
        self._done[task] += len(predictions)
        self._errors += sum(prediction.error is not None for prediction in predictions)
        if num_right is not None:
            self._right[task] = self._right.get(task, 0) + num_right
        if self._bars is not None:
            self._show(self._bars, task)
        elif self._last - self._last_line >= PLAIN_SECONDS or self._done[task] == self._totals[task]:
            self._last_line = self._last
            self.say(self._line(task))

    def _show(self, bars: Bars, task: str) -> None:
        """A finished task's bar goes; a line of it stays above the others."""
        if task not in self._rows:
            bars.remove_task(self._rows[ALL])
            for name in (task, ALL):
                self._rows[name] = bars.add_task(name, total=self._total(name), **self._fields(name))
        if self._done[task] < self._totals[task]:
            bars.update(self._rows[task], completed=self._count(task), **self._fields(task))
        else:
            bars.remove_task(self._rows[task])
            taken = duration(self._last - self._starts[task])
            counts = f"{self._counts(task):>{self._bar_width + 14}}"
            self.say(
                f"{self._name(task)} {counts} {self._rate(task):>8} {'in ' + taken:>10} {self._note(task)}".rstrip()
            )
        bars.update(self._rows[ALL], completed=self._count(ALL), **self._fields(ALL))

    def _line(self, task: str) -> str:
        parts = [f"{task} {self._counts(task)}", self._rate(task), self._note(task)]
        together = [f"{ALL} {self._counts(ALL)}", f"{self._left(ALL)} left", self._note(ALL)]
        return "; ".join(", ".join(part for part in each if part) for each in (parts, together))

    def _fields(self, name: str) -> dict[str, Any]:
        return {
            "name": self._name(name),
            "counts": self._counts(name),
            "rate": self._rate(name),
            "left": f"{self._left(name)} left",
            "note": self._note(name),
        }

    def _name(self, name: str) -> str:
        return f"{printable(name):<13.13}"

    def _total(self, name: str) -> int:
        return sum(self._totals.values()) if name == ALL else self._totals[name]

    def _count(self, name: str) -> int:
        return sum(self._done.values()) if name == ALL else self._done[name]

    def _counts(self, name: str) -> str:
        return f"{self._count(name):,}/{self._total(name):,}"

    def _per_second(self, name: str) -> float:
        return self._count(name) / max(self._last - self._starts.get(name, self._last), 1e-9)

    def _rate(self, name: str) -> str:
        return f"{self._per_second(name):.1f}/s" if self._count(name) else ""

    def _left(self, name: str) -> str:
        done = self._count(name)
        return duration((self._total(name) - done) / self._per_second(name)) if done else "?"

    def _note(self, name: str) -> str:
        if name == ALL:
            return f"{self._errors} failed" if self._errors else ""
        # Of single answers, letter for letter: no benchmark's score, which may be of groups, or read by rules.
        right = self._right.get(name)
        return "" if right is None else f"{right / self._done[name]:.0%} exact match"

    @property
    def _bar_width(self) -> int:
        return max(4, min(40, self.console.width - WORDS_WIDTH))

    def _make_bars(self) -> Bars:
        return Bars(
            TextColumn("{task.fields[name]}", table_column=Column(no_wrap=True), markup=False),
            BarColumn(bar_width=self._bar_width),
            *(
                TextColumn(
                    f"{{task.fields[{name}]}}", justify="right", table_column=Column(no_wrap=True, min_width=size)
                )
                for name, size in (("counts", 13), ("rate", 8), ("left", 10))
            ),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
            console=self.console,
        )


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3 h 05`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02}"
