"""What a run's probes say, as tables: `aki-eval probes` and `aki-eval report` show the same ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from benchmarks.probes import PROBES
from benchmarks.results.comparison import MetricComparison
from benchmarks.results.folder import RunFolder
from benchmarks.results.looking import ColumnLooks, Looks, looks, open_probes

from .comparison_tables import difference_cell, p_text
from .tables import DASH, Cell, Column, Row, Table

FORMAT = ("letters", "paraphrase")
"""The probes of which the first table speaks as sensitivity to format."""
SEEING = ("blank", "wrong_image", "blur", "noise", "occlude")
NO_NUMBER = Cell(text=DASH)

HOW = (
    "gain: with the picture minus without it, on the questions scored both ways, with the paired 95 % interval; ▲ and "
    "▼: p < 0.05 after Holm's correction over the columns.",
    "all orders: the share of questions right in every order of their options, beside the mean over these orders.",
    "letters, paraphrase, damages: under the probe minus plainly, paired; each probe is a Holm family of its own.",
    "blind: questions right without the picture. A guess may be right: the gain is the measurement, this is a flag.",
)


def looks_of(runs: Iterable[RunFolder]) -> list[Looks]:
    """Of the runs that have probes."""
    found = [open_probes(run) for run in runs]
    return [looks(each) for each in found if each.probes or each.left_out]


def probe_tables(found: Looks, key: str = "probes") -> list[Table]:
    """The table of every column, then that of damaged pictures where any were asked about."""
    tables = [looks_table(found, key)]
    if any(name in found.probes for name in SEEING):
        tables.append(damage_table(found, f"{key}-damage"))
    return tables


def looks_table(found: Looks, key: str) -> Table:
    names = ("with", "without", "gain", "p, Holm", "mean of orders", "all orders", *FORMAT, "blind")
    asked = [probe for probe in PROBES if probe not in found.probes]
    missing = (f"Not asked: {', '.join(asked)} (aki-eval run --probe NAME).",) if asked else ()
    left_out = tuple(f"{name} is not shown: {why}." for name, why in found.left_out.items())
    return Table(
        key=key,
        title=f"Does it look? {found.run}",
        corner="column",
        columns=tuple(Column(label=name, kind="run") for name in names),
        rows=tuple(_row(column, found) for column in found.columns),
        remarks=(*HOW, *missing, *left_out),
    )


def _row(column: ColumnLooks, found: Looks) -> Row:
    gain, orders = column.gain, column.consistency
    blind, questions = found.blind.get(column.task, []), found.num_questions.get(column.task, 0)
    return Row(
        label=column.label,
        cells=(
            _side(gain, "b"),
            _side(gain, "a"),
            difference_cell(gain) if gain else NO_NUMBER,
            Cell(text=p_text(gain.p_holm)) if gain else NO_NUMBER,
            _side(orders, "a"),
            _side(orders, "b"),
            *(effect_cell(column, name) for name in FORMAT),
            Cell(text=f"{len(blind)}/{questions}") if questions else NO_NUMBER,
        ),
        notes=_left_out(gain),
    )


def _side(comparison: MetricComparison | None, side: Literal["a", "b"]) -> Cell:
    if comparison is None:
        return NO_NUMBER
    return Cell(value=comparison.a if side == "a" else comparison.b, ci95=comparison.ci95_of(side))


def _left_out(comparison: MetricComparison | None) -> tuple[str, ...]:
    if comparison is None or not comparison.num_left_out:
        return ()
    return (f"{comparison.num_left_out} samples of {comparison.task} are not scored both ways and left out",)


def effect_cell(column: ColumnLooks, probe: str) -> Cell:
    """The difference that a probe made; where it was not asked, why."""
    effect = column.effects.get(probe)
    if effect is not None:
        return difference_cell(effect)
    why = column.why_not.get(probe)
    return Cell(text=DASH, notes=(f"{probe}: {why}.",) if why else ())


def damage_table(found: Looks, key: str) -> Table:
    """What happens to each column when the picture is replaced or damaged."""
    names = [name for name in SEEING if name in found.probes]
    return Table(
        key=key,
        title=f"Pictures replaced and damaged: {found.run}",
        corner="column",
        columns=tuple(Column(label=name, kind="run") for name in names),
        rows=tuple(
            Row(label=column.label, cells=tuple(effect_cell(column, name) for name in names))
            for column in found.columns
        ),
        remarks=tuple(f"{name}: {PROBES[name].does}." for name in names),
    )
