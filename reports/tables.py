"""The one table model: every format (terminal, markdown, LaTeX, CSV, JSON, HTML) shows what stands in here.

A cell carries its number, interval, counts and notes; nothing is formatted before a renderer asks for it. Notes are
whole sentences attached to cells, rows or columns, and become lettered footnotes in the order in which they are met.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

DASH = "–"
WRAPPED = 22
MOST_UNEVEN = 0.05
"""By how much of the larger one the two sides of an interval may differ and still be shown as ± one half width."""
LETTERS = "abcdefghijklmnoprstuvwxyz"  # no q: it has no superscript form in Unicode

RowKind = Literal["paper", "run", "reading", "difference"]
"""Whose numbers: the paper's, a run's under its headline protocol, the same answers read otherwise, a difference."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number with what it stands on, or a text. Percent or points; `value` None and no `text` shows a dash.

    `p_value`, `p_holm` (corrected for many) and the `test` that gave them are set for differences between runs;
    `significant` for differences only: True where 0 is ruled out, after correction.
    """

    value: float | None = None
    text: str | None = None
    ci95: tuple[float, float] | None = None
    seed_ci95: tuple[float, float] | None = None
    """Of an arm's mean: other training seeds, the same questions. `ci95` is then that of other questions."""
    num_samples: int | None = None
    num_scored: int | None = None
    num_unread: int | None = None
    num_units: int | None = None
    """Questions behind the scored samples, where several samples are one question."""
    p_value: float | None = None
    p_holm: float | None = None
    test: str | None = None
    significant: bool | None = None
    signed: bool = False
    suffix: str = ""
    printed: str | None = None
    """The paper's own digits, where they say more than one decimal would."""
    task: str | None = None
    metric: str | None = None
    protocol: str | None = None
    run: str | None = None
    """Whose answers stand behind it, by label; `beside`: and whose it is compared with."""
    beside: str | None = None
    link: str | None = None
    """Where the samples behind it are shown, where that does not follow from the above."""
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int | None:
        """The n of tables: scored samples, or the questions that they are."""
        return self.num_scored if self.num_units is None else self.num_units

    @property
    def number(self) -> str:
        """The number as text, one decimal as in the paper, without interval and marks."""
        if self.text is not None:
            return self.text
        if self.value is None:
            return DASH
        digits = self.printed or f"{self.value:{'+' if self.signed else ''}.1f}"
        return digits + self.suffix + ("" if not self.significant else "▲" if self.value > 0 else "▼")

    @property
    def interval(self) -> str:
        """`±1.2`, `(54.1 to 100.0)`, or nothing; of an arm `±1.2 q ±0.8 s`: by questions and by seeds, kept apart."""
        if self.value is None:
            return ""
        own = "" if self.ci95 is None else interval_text(self.value, self.ci95, signed=self.signed)
        if self.seed_ci95 is None:
            return own
        seeds = interval_text(self.value, self.seed_ci95, signed=self.signed)
        return f"{own} q {seeds} s".removeprefix(" q ")


def interval_text(value: float, bounds: tuple[float, float], *, signed: bool = False) -> str:
    """Of a 95 % interval: `±1.2` where the value is in its middle, and else its bounds, `(54.1 to 100.0)`.

    The one place that decides it, for every format. Half a width beside 100 % of a few questions would promise more
    than there is on one side, and less on the other.
    """
    below, above = value - bounds[0], bounds[1] - value
    if abs(below - above) <= MOST_UNEVEN * max(below, above):
        return f"±{(bounds[1] - bounds[0]) / 2:.1f}"
    sign = "+" if signed else ""
    return f"({bounds[0]:{sign}.1f} to {bounds[1]:{sign}.1f})"


@dataclass(frozen=True, kw_only=True)
class Column:
    """`label` may hold a subscript as `MME_P`. Columns of one `section` stand under a common heading."""

    label: str
    section: str = ""
    kind: RowKind = "paper"
    notes: tuple[str, ...] = ()
    text: bool = False
    """Words, not numbers: set flush left."""
    wrap: bool = False
    """Sentences: where there is little room they break between words, down to `WRAPPED` characters a line."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table; `section` is the heading it stands under."""

    label: str
    cells: tuple[Cell, ...]
    section: str = ""
    kind: RowKind = "paper"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """`key` names files and anchors; `notices` are lines that must be read before the numbers."""

    key: str
    title: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notices: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    """What is said below the footnotes: how the numbers came about."""
    as_list: bool = False
    """On a terminal each row is a short paragraph: a line of its cells, then those of columns that wrap."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise AssertionError(
                    f"{self.key}: row {row.label!r} has {len(row.cells)} cells for {len(self.columns)} columns"
                )

    def _notes(self) -> Iterator[str]:
        for column in self.columns:
            yield from column.notes
        for row in self.rows:
            yield from row.notes
            for cell in row.cells:
                yield from cell.notes

    @cached_property
    def footnotes(self) -> dict[str, str]:
        """Note -> letter, in the order in which a reader meets them."""
        notes = list(dict.fromkeys(self._notes()))
        return {note: _letter(position) for position, note in enumerate(notes)}

    def marks(self, notes: tuple[str, ...]) -> str:
        """The letters of some notes: `a,c`."""
        return ",".join(self.footnotes[note] for note in dict.fromkeys(notes))


def _letter(position: int) -> str:
    """a, b, ... z, aa, ab, ... zz, aaa: as many as an experiment's runs have notes."""
    count, rest = divmod(position, len(LETTERS))
    return (_letter(count - 1) if count else "") + LETTERS[rest]
