"""The page of comparisons: who gained and lost what against whom, each number a link to its questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import Any

from benchmarks.errors import UserError
from benchmarks.results.comparison import Comparison, MetricComparison, compare
from benchmarks.results.folder import RunFolder, other_data
from benchmarks.results.pairing import WARNING

from ..chart_data import part_label
from ..comparison_tables import HOW, answers_text, difference_cell, making_lines, moved_texts, p_text, verdict
from ..links import group_of, samples_link, unions
from ..tables import Cell, Column, Row, Table
from .signs import letter

MOST_RUNS = 4
"""Up to as many runs every pair is compared; beyond, each with the baseline."""
MOST_MOVED = 6
"""Numbers that are named above a pair's table, for either way; the others are a press away."""
POPE_COUNTS = (
    "POPE: a question that is asked in several splits is answered once, so gained and lost count it once; F1, accuracy "
    "and the like over all splits count it once for each."
)


@dataclass(frozen=True)
class PairOfRuns:
    """Run `b` against run `a`, each with its place among the report's runs.

    `comparison` is None where the two hold nothing in common. `caveats`: what was not compared, or asked differently.
    """

    key: str
    a: RunFolder
    b: RunFolder
    places: tuple[int, int]
    comparison: Comparison | None
    caveats: tuple[str, ...] = ()

    @property
    def signs(self) -> tuple[str, str]:
        return letter(self.places[0]), letter(self.places[1])


def compare_page(runs: Sequence[RunFolder], baseline: RunFolder | None) -> dict[str, Any]:
    """What the template is given: the matrix of all pairs, and a table for each."""
    pairs = [_pair(number, runs, a, b) for number, (a, b) in enumerate(_pairs(runs, baseline), start=1)]
    return {
        "matrix": _matrix(runs, pairs) if len(runs) > 2 else None,
        "pairs": [
            {
                "key": pair.key,
                "a": pair.places[0],
                "b": pair.places[1],
                "caveats": pair.caveats,
                **_compared(pair),
            }
            for pair in pairs
        ],
    }


def _compared(pair: PairOfRuns) -> dict[str, Any]:
    """What a pair's part of the page says first, what moved, and its table."""
    if pair.comparison is None:
        return {"verdict": None, "made": [], "moved": [], "table": None}
    lines = [line for task in _tasks(pair.comparison) for line in _lines(pair, pair.comparison, task)]
    return {
        "verdict": verdict(pair.comparison),
        "made": making_lines(pair.comparison, pair.signs),
        "moved": _moved(lines),
        "table": _table(pair, pair.comparison, lines),
    }


def _tasks(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(metric.task for metric in comparison.metrics))


def _pairs(runs: Sequence[RunFolder], baseline: RunFolder | None) -> Iterator[tuple[int, int]]:
    places = range(len(runs))
    if len(runs) <= MOST_RUNS:
        yield from combinations(places, 2)
        return
    first = next((place for place in places if runs[place] is baseline), 0)
    yield from ((first, place) for place in places if place != first)


def _pair(number: int, runs: Sequence[RunFolder], first: int, second: int) -> PairOfRuns:
    """On the same questions, even where they were asked or judged differently: then it says so."""
    a, b = runs[first], runs[second]
    found = PairOfRuns(f"pair{number}", a, b, (first, second), None)
    tasks = [task for task in a.results if task in b.results]
    same = [task for task in tasks if not other_data(a, b, task)]
    caveats = [f"Not compared, because measured on other data: {', '.join(t for t in tasks if t not in same)}."]
    caveats = caveats if len(same) < len(tasks) else []
    missing = [task for task in {**a.results, **b.results} if task not in tasks]
    if missing:
        caveats.append(f"Not measured by both: {', '.join(missing)}.")
    if not same:
        return replace(found, caveats=(*caveats, "No benchmark is scored in both on the same data."))
    try:
        comparison = compare(a, b, different="allow", tasks=same)
    except UserError:
        comparison = compare(a, b, different="leave_out", tasks=same)
    return replace(
        found,
        comparison=comparison,
        caveats=(
            *caveats,
            *(f"Asked differently, so read with care: {line}" for line in _grouped(comparison.warnings)),
            *(f"Not compared: {line}" for line in _grouped(list(chain.from_iterable(comparison.left_out.values())))),
        ),
    )


def _grouped(reasons: Sequence[str]) -> Iterator[str]:
    """`mme: prompts aki and vlmevalkit` of many tasks as one line; hashes follow from wordings and are left out."""
    by_reason: dict[str, list[str]] = {}
    for reason in reasons:
        task, _, what = reason.partition(": ")
        if not what.startswith("hash of the prompts"):
            by_reason.setdefault(what or task, []).append(task)
    for what, tasks in by_reason.items():
        yield f"{what} ({', '.join(tasks)})."


def _matrix(runs: Sequence[RunFolder], pairs: Sequence[PairOfRuns]) -> Table:
    """Gained and lost questions of every pair: the row's run against the column's."""
    found = {(id(pair.a), id(pair.b)): pair for pair in pairs}

    def cell(of: RunFolder, against: RunFolder) -> Cell:
        pair, turned = found.get((id(against), id(of))), False
        if pair is None:
            pair, turned = found.get((id(of), id(against))), True
        if pair is None or pair.comparison is None:
            return Cell()
        gained = sum(flip.b > flip.a for flip in pair.comparison.flips)
        lost = len(pair.comparison.flips) - gained
        if turned:
            gained, lost = lost, gained
        return Cell(text=f"+{gained} \u2212{lost}", link=f"#{pair.key}")

    return Table(
        key="matrix",
        title="Questions gained and lost, all benchmarks together",
        corner="run against",
        columns=tuple(Column(label=f"{letter(place)} {run.label}", kind="run") for place, run in enumerate(runs)),
        rows=tuple(
            Row(label=f"{letter(place)} {run.label}", cells=tuple(cell(run, other) for other in runs))
            for place, run in enumerate(runs)
        ),
        remarks=(
            "+ questions that the row's run answers better than the column's, \u2212 those that it answers worse; each "
            "roll of a question of MMBench by itself.",
        ),
    )


@dataclass(frozen=True)
class LineOfPair:
    """A metric of both runs, and the questions behind its difference."""

    metric: MetricComparison
    row: Row
    gained: int
    lost: int


def _table(pair: PairOfRuns, comparison: Comparison, lines: Sequence[LineOfPair]) -> Table:
    """Every metric of both runs, and which questions are behind its difference."""
    a, b = pair.signs
    names = (a, b, f"{b} \u2212 {a}", "gained", "lost", "p", "p, Holm", "test", "detectable")
    return Table(
        key=pair.key,
        title=f"{pair.b.label} against {pair.a.label}",
        corner="metric",
        columns=tuple(Column(label=name, kind="run", text=name == "test") for name in names),
        rows=tuple(line.row for line in lines),
        notices=(WARNING,) if comparison.warnings else (),
        remarks=(
            *(line.replace("B - A", f"{b} \u2212 {a}") for line in HOW),
            f"gained, lost: questions of the metric that are worth more, or less, in {b} than in {a}; where several "
            "answers are one to the metric, as MMBench's rolls, their groups, which p counts, stand beside them.",
            *(() if "pope" not in _tasks(comparison) else (POPE_COUNTS,)),
        ),
    )


@dataclass(frozen=True)
class Moved:
    """A number that moved, as one line of the list above a pair's table. `untested`: why it says nothing."""

    label: str
    difference: Cell
    gained: str
    lost: str
    p: str
    untested: str | None


def _moved(lines: Sequence[LineOfPair]) -> list[tuple[str, list[Moved], list[Moved], list[Moved]]]:
    """What got worse and what got better: the word, those least like chance, the others, and those without a test.

    Columns and sub-scores alike; points and per cent have no common scale, so p and then the count of questions decide.
    """
    found = []
    for word, sign in (("Worse", -1), ("Better", 1)):
        own = [line for line in lines if (line.metric.difference or 0) * sign > 0]
        own.sort(key=_likeness_to_chance)
        tested = [_as_moved(line) for line in own if line.metric.p is not None]
        untested = [_as_moved(line) for line in own if line.metric.p is None]
        found.append((word, tested[:MOST_MOVED], tested[MOST_MOVED:], untested))
    return found


def _likeness_to_chance(line: LineOfPair) -> tuple[float, float]:
    """P is at most 1; what has none stands last."""
    return 2.0 if line.metric.p is None else line.metric.p, -abs(line.gained - line.lost)


def _as_moved(line: LineOfPair) -> Moved:
    row, metric = line.row, line.metric
    label = row.label if row.kind == "run" else f"{row.section}: {row.label}"
    gained, lost, p = (row.cells[place].text or "" for place in (3, 4, 5))
    return Moved(label, row.cells[2], gained, lost, p, metric.reason)


def _lines(pair: PairOfRuns, comparison: Comparison, task: str) -> Iterator[LineOfPair]:
    """The paper's columns of a task first, then its sub-scores."""
    result = pair.a.results[task]
    groups = {score.index: score.groups for score in pair.a.scores(task, result.headline)}
    known = sorted({group for own in groups.values() for group in own})
    together = unions(known)
    flips = [flip for flip in comparison.flips if flip.task == task]
    for metric in comparison.of_task(task).values():
        group = group_of(metric.metric, known)
        wanted = {group, *together.get(group or "", ())}
        own = [flip for flip in flips if group is None or wanted & set(groups.get(flip.index, ()))]
        gained = sum(flip.b > flip.a for flip in own)
        lost = len(own) - gained
        row = Row(
            label=metric.label if metric.is_column else part_label(task, metric.metric),
            section=result.about.title,
            kind="run" if metric.is_column else "reading",
            cells=_cells(pair, metric, group, gained, lost),
        )
        yield LineOfPair(metric, row, gained, lost)


def _cells(pair: PairOfRuns, metric: MetricComparison, group: str | None, gained: int, lost: int) -> tuple[Cell, ...]:
    def count(number: int, text: str, result: str) -> Cell:
        return Cell(value=number, text=text, link=_link(pair, metric, group, result) if number else None)

    texts = moved_texts(metric, gained, lost)
    difference = replace(difference_cell(metric), link=_link(pair, metric, group, "flipped"))
    if metric.difference == 0 and not gained and not lost:
        difference = replace(difference, ci95=None, text=f"identical on all {answers_text(metric)}", link=None)
    own = Cell(task=metric.task, metric=metric.metric, protocol=metric.protocol)
    return (
        replace(own, value=metric.a, run=pair.a.label),
        replace(own, value=metric.b, run=pair.b.label),
        difference,
        count(gained, texts[0], "gained"),
        count(lost, texts[1], "lost"),
        Cell(text=p_text(metric.p)),
        Cell(text=p_text(metric.p_holm)),
        Cell(text=metric.test or "\u2013"),
        Cell(value=metric.detectable),
    )


def _link(pair: PairOfRuns, metric: MetricComparison, group: str | None, result: str) -> str:
    return samples_link(
        metric.task, a=pair.a.label, b=pair.b.label, group=group, protocol=metric.protocol, result=result
    )
