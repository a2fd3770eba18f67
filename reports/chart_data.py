"""What the charts of the report show: rows of dots with intervals on one scale, per cent of the most possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import paper
from .other_tables import OTHERS, largest_of, other_entries
from .paper import PaperLine
from .paper_tables import Plan
from .series import Series, arm_series, paper_series
from .tables import Cell

LARGEST = {"perception": 2000.0, "cognition": 800.0}
"""Points that can be had in MME; a subtask of it has 200. Everything else is per cent."""

TABLE_OF = {paper.entries(number)[0].task: number for number in paper.NUMBERS[2:]}
"""The paper's per-subtask table of each task; RealWorldQA has none."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A number on the scale. `at`, `low`, `high` are per cent of the chart's width; `run` numbers its arm's colour."""

    label: str
    text: str
    at: float
    low: float | None
    high: float | None
    seed_low: float | None = None
    """Of an arm: the interval for other training seeds, apart from that for other questions."""
    seed_high: float | None = None
    run: int | None = None
    highlight: bool = False
    cell: Cell | None = None
    """What it shows; the pages link to the samples behind it."""


@dataclass(frozen=True, kw_only=True)
class ChartRow:
    """One line: a column of the paper or a subtask. `others` are the paper's rows, drawn as ticks."""

    label: str
    scale: str
    link: str | None
    dots: tuple[Dot, ...]
    reference: Dot | None
    others: tuple[Dot, ...]
    missing: tuple[str, ...] = ()
    """Runs that have no such number."""

    @property
    def description(self) -> str:
        """The line in words, for those who do not see it."""
        parts = [f"{dot.label} {dot.text}" for dot in (*self.dots, *((self.reference,) if self.reference else ()))]
        if self.others:
            values = sorted(self.others, key=lambda dot: dot.at)
            parts.append(f"other rows of the paper {values[0].text} to {values[-1].text}")
        parts += [f"{label} not measured" for label in self.missing]
        return f"{self.label}: " + "; ".join(parts) if parts else f"{self.label}: no numbers"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Rows of values on one scale, the paper's among them; `reference` is the paper's row that stands out."""

    title: str
    rows: tuple[ChartRow, ...]
    reference: str | None


def overview(plan: Plan) -> Chart:
    """The twelve columns: runs with their intervals among the paper's rows of Tables 1 and 2."""
    printed = {model.model: paper_series(table, model) for table in ("1", "2") for model in paper.models(table)}
    reference = printed.pop(plan.reference)
    measured = {task for run in plan.runs for task in run.results}
    rows = []
    for entry in paper.entries("main"):
        link = f"benchmark-{entry.task}.html" if entry.task in measured else None
        rows.append(_row(entry, plan, reference, list(printed.values()), link))
    return Chart(title="Twelve columns", rows=tuple(rows), reference=reference.label)


def others(plan: Plan) -> Chart | None:
    """The headline numbers of benchmarks outside the paper that have a scale; None where there are none."""
    rows = []
    for entry in other_entries(plan.runs):
        scale = largest_of(entry, plan.runs)
        if scale is not None:
            row = _row(entry, plan, None, [], f"benchmark-{entry.task}.html", scale)
            rows.append(row)
    return Chart(title="Other benchmarks", rows=tuple(rows), reference=None) if rows else None


def breakdown(number: str, plan: Plan) -> Chart:
    """The lines of a per-subtask table. Its printed rows are the reference and the other four models."""
    printed = {model.model: paper_series(number, model) for model in paper.models("appendix")}
    reference = printed.pop(plan.reference, None)
    entries = paper.entries(number)
    rows = tuple(_row(entry, plan, reference, list(printed.values()), None) for entry in entries)
    label = reference.label if reference else None
    return Chart(title="By subtask", rows=rows, reference=label)


FEWEST_PARTS, MOST_PARTS = 3, 40
"""Parts of a benchmark that make a chart."""


def further_parts(task: str, plan: Plan, printed: str | None) -> list[Chart]:
    """Parts that the paper's table of the task (`printed`) has no line for, a chart for each kind of them.

    MMBench's twenty abilities, MMMU's subjects: metrics named `kind/part` that can be 100.
    """
    known = {entry.metric for entry in paper.entries(printed)} if printed else set()
    names: dict[str, dict[str, None]] = {}
    for run in plan.runs:
        result = run.results.get(task)
        for name, metric in result.protocols[result.headline].items() if result else ():
            kind, slash, _ = name.partition("/")
            if slash and name not in known and metric.unit == "percent":
                names.setdefault(kind, {})[name] = None
    charts = []
    for kind, own in names.items():
        if not FEWEST_PARTS <= len(own) <= MOST_PARTS:
            continue
        lines = [
            PaperLine(table=OTHERS, section="", label=_spelled(name), task=task, metric=name, num_questions=None)
            for name in own
        ]
        rows = tuple(_row(line, plan, None, [], None, 100.0) for line in lines)
        charts.append(Chart(title=f"By {kind.replace('_', ' ')}", rows=rows, reference=None))
    return charts


def part_label(task: str, name: str) -> str:
    """What the pages call a part of a benchmark: as the paper's table of it does, and else in words, with its kind."""
    number = TABLE_OF.get(task)
    printed = [entry for entry in paper.entries(number) if entry.metric == name] if number else []
    if printed:
        return _label(printed[0])
    kind, slash, _ = name.partition("/")
    return f"{kind.replace('_', ' ')}: {_spelled(name)}" if slash else name


def _spelled(name: str) -> str:
    return name.partition("/")[2].replace("_", " ")


def _row(
    entry: PaperLine,
    plan: Plan,
    reference: Series | None,
    others: Sequence[Series],
    link: str | None,
    largest: float | None = None,
) -> ChartRow:
    largest = largest or _largest(entry)
    runs = [(number, arm_series(arm)) for number, arm in enumerate(plan.arms)]
    dots = [_dot(series.label, series.cell(entry), largest, number) for number, series in runs]
    printed = _dot(reference.label, reference.cell(entry), largest, highlight=True) if reference else None
    ticks = [_dot(series.label, series.cell(entry), largest) for series in others]
    return ChartRow(
        label=_label(entry),
        scale=f"(of {largest:g})" if largest > 200 else "",
        link=link,
        dots=tuple(dot for dot in dots if dot),
        reference=printed,
        others=tuple(tick for tick in ticks if tick),
        missing=tuple(series.label for (_, series), dot in zip(runs, dots, strict=True) if dot is None),
    )


def _label(entry: PaperLine) -> str:
    """The printed label, made clear where it relies on its place in the table."""
    if entry.table == "13":
        return f"{entry.section}: {'F1' if entry.label == 'Overall' else entry.label}"
    return f"{entry.section}: sum" if entry.label == "Sum" else entry.label


def _largest(entry: PaperLine) -> float:
    if entry.task != "mme":
        return 100.0
    return LARGEST.get(entry.metric, 200.0)


def _dot(label: str, cell: Cell, largest: float, run: int | None = None, highlight: bool = False) -> Dot | None:
    if cell.value is None:
        return None
    low, high = cell.ci95 or (None, None)
    seed_low, seed_high = cell.seed_ci95 or (None, None)
    split = " (development split)" if cell.task == "mmmu" and str(cell.metric).startswith("dev") else ""
    return Dot(
        label=label + split,
        text=f"{cell.number} {cell.interval}".strip(),
        at=_place(cell.value, largest),
        low=None if low is None else _place(low, largest),
        high=None if high is None else _place(high, largest),
        seed_low=None if seed_low is None else _place(seed_low, largest),
        seed_high=None if seed_high is None else _place(seed_high, largest),
        run=run,
        highlight=highlight,
        cell=cell,
    )


def _place(value: float, largest: float) -> float:
    """Per cent of the width; what lies beyond the scale (LLaVA-Bench may exceed 100) is drawn at its end."""
    return round(min(100.0, max(0.0, 100 * value / largest)), 2)
