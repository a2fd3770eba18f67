"""The answer on one screen: what `aki-eval run`, `score`, `import` and `report` end with, 20 lines of 80 columns.

One run: each of the paper's columns with its interval, how it was read, what is unscored and unread, the paper's
number and the difference. Several runs: their numbers side by side, and of two of them the paired difference. Then
what must be known before any of it is compared, and where to look next. Everything else is in the tables
(`report --all`) and pages.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from textwrap import wrap

from rich.console import Console
from rich.text import Text

from benchmarks.printable import printable
from benchmarks.results.folder import RunFolder, TaskResult
from benchmarks.tasks import COLUMNS, TASKS

from . import paper
from .comparison_tables import difference_cell, p_text
from .differences import to_paper
from .notices import cut_off
from .other_tables import other_entries
from .paper import PaperLine
from .paper_tables import TITLES, Plan, reference_row
from .series import find_metric, paper_series, run_cell
from .tables import DASH, Cell

WIDTH = 80
HEIGHT = 20
SHOWN_RUNS = 4
"""As many runs as fit side by side."""
RULES = {("cv_bench", "official"): "an exact letter only", ("cv_bench", "cambrian"): "the first letter only"}
"""What a protocol counts that is much stricter than others: said where the two are far apart."""
LETTERS = "ABCD"
SHOWN_NAMES = 3
NOT_COMPARED = "n.c."
"""Instead of a difference to the paper; beside several runs, of which none may be compared, instead of its number."""


@dataclass(frozen=True)
class Line:
    """A row of the summary: a column of the paper, or the headline metric of a benchmark that the paper has not."""

    label: str
    task: str
    metric: str
    entry: PaperLine | None


def show_summary(console: Console, plan: Plan, failed: Sequence[str] = (), next_: Sequence[str] | None = None) -> None:
    """Prints the summary. `failed` names tasks whose scoring broke off; `next_` replaces where to look next."""
    for line in summary(plan, failed, next_):
        console.print(line, highlight=False, soft_wrap=True)


def summary(plan: Plan, failed: Sequence[str] = (), next_: Sequence[str] | None = None) -> list[Text]:
    """The summary's lines: at most `HEIGHT`, and `WIDTH` wide where no folder's name is longer.

    Benchmarks that the paper does not have come on top of the paper's twelve lines.
    """
    if not plan.runs:
        return _contents()
    lines = _measured(plan.runs, failed)
    body = _one(plan, lines, failed) if len(plan.runs) == 1 else _several(plan, lines)
    following = list(next_ if next_ is not None else _next(plan.runs))
    room = max(HEIGHT - len(body) - len(following), 1)
    return [*body, *_fitted(list(_remarks(plan, lines, failed)), room), *(Text(line) for line in following)]


def _contents() -> list[Text]:
    """Without a run: which tables of the paper there are."""
    lines = [Text("The paper's tables; give run folders to see their numbers beside them.", style="bold")]
    lines += [Text(f"  {title}") for title in TITLES.values()]
    return [
        *lines,
        Text("next: aki-eval report --table 2   one of them; --all   every one; --audit   what contradicts"),
    ]


def _measured(runs: Sequence[RunFolder], failed: Sequence[str]) -> list[Line]:
    """The paper's columns that some run has, in its order, then other benchmarks' headline metrics."""
    present = {task for run in runs for task in run.results} | set(failed)
    others = [Line(entry.label, entry.task, entry.metric, None) for entry in other_entries(runs)]
    entries = {(entry.task, entry.metric): entry for entry in paper.entries("main")}
    known = [
        Line(column.label, column.task, column.metric, entries.get((column.task, column.metric)))
        for column in COLUMNS
        if column.task in present
    ]
    broken = [task for task in failed if task not in TASKS]
    return known + others + [Line(task, task, "", None) for task in broken]


# -- one run ----------------------------------------------------------------------------------------------------------
HEADINGS = ("", "value", "95 % interval", "  reading", "unscored", "unread", "paper", "difference")
SIZES = (11, 7, 17, 10, 9, 7, 8, 11)
FLUSH_LEFT = (0, 3)


def _one(plan: Plan, lines: Sequence[Line], failed: Sequence[str]) -> list[Text]:
    run = plan.runs[0]
    table, row = reference_row(plan.reference)
    printed, minus = paper_series(table, row), to_paper(run, table, row)
    heading = f"{run.label}: {_count(lines)} beside {row.label}"
    body = [Text(printable(_cut(heading)), style="bold"), Text(_columns(HEADINGS), style="dim")]
    for line in lines:
        result = run.results.get(line.task)
        cell = run_cell(result, line.metric) if result else Cell()
        theirs = printed.cell(line.entry) if line.entry else Cell()
        difference = _difference(run, cell, minus.cell(line.entry) if line.entry else Cell(), theirs)
        reading = "  failed" if line.task in failed else f"  {cell.protocol or DASH}"
        numbers = (cell.number.removesuffix(cell.suffix), _interval(cell), reading, *_missing(cell))
        text = Text(_columns((_short(line.label), *numbers, theirs.number.removesuffix(theirs.suffix), difference)))
        text.stylize("bold cyan", SIZES[0], SIZES[0] + SIZES[1])
        body.append(text)
    return body


def _count(lines: Sequence[Line]) -> str:
    number = sum(line.entry is not None for line in lines)
    others = len(lines) - number
    beside = f"{others} of other benchmarks" if others else ""
    ours = f"{number} of the paper's {len(COLUMNS)} columns" if number < len(COLUMNS) else "the paper's 12 columns"
    return " and ".join(part for part in (ours if number or not others else "", beside) if part)


def _difference(run: RunFolder, own: Cell, difference: Cell, theirs: Cell) -> str:
    if own.value is None or theirs.value is None:
        return DASH
    if run.toy or own.suffix or difference.value is None:
        return NOT_COMPARED
    return difference.number.removesuffix(difference.suffix) if not difference.significant else difference.number


def _interval(cell: Cell) -> str:
    return DASH if cell.ci95 is None else f"{cell.ci95[0]:.1f} to {cell.ci95[1]:.1f}"


def _missing(cell: Cell) -> tuple[str, str]:
    """How many samples are unscored, how many answers unread."""
    if cell.num_samples is None or cell.num_scored is None:
        return DASH, DASH
    return str(cell.num_samples - cell.num_scored), DASH if cell.num_unread is None else str(cell.num_unread)


def _columns(cells: Sequence[str]) -> str:
    parts = [
        f"{cell:<{size}}" if place in FLUSH_LEFT else f"{cell:>{size}}"
        for place, (cell, size) in enumerate(zip(cells, SIZES, strict=True))
    ]
    return printable("".join(parts).rstrip())


# -- several runs -----------------------------------------------------------------------------------------------------
def _several(plan: Plan, lines: Sequence[Line]) -> list[Text]:
    """The baseline and the last of the others side by side, and of two runs the paired difference."""
    baseline = plan.baseline or plan.runs[0]
    others = [run for run in plan.runs if run is not baseline]
    shown = [baseline, *others[-(SHOWN_RUNS - 1) :]]
    table, row = reference_row(plan.reference)
    printed = paper_series(table, row)
    minus = [to_paper(run, table, row) for run in shown]
    pair = plan.pair(shown[1]) if len(shown) == 2 else None
    body = [Text(printable(_cut(f"{letter} {run.label}"))) for letter, run in zip(LETTERS, shown, strict=False)]
    if len(others) + 1 > len(shown):
        body[0].append(f"   ({len(others) + 1 - len(shown)} more: --all)", style="dim")
    headings = [*LETTERS[: len(shown)], *(("B - A", "p, Holm") if pair else ())]
    sizes = (18, 18, 16, 9) if pair else (60 // len(shown),) * len(shown)
    body.append(Text(_spread("", headings, "paper", sizes), style="dim"))
    for line in lines:
        cells = [run_cell(run.results[line.task], line.metric) if line.task in run.results else Cell() for run in shown]
        words = [_with_interval(cell, size) for cell, size in zip(cells, sizes, strict=False)]
        if pair:
            found = pair.comparison.of_task(line.task).get(line.metric)
            cell = Cell() if found is None else difference_cell(found)
            words += [_with_interval(cell, sizes[2]), p_text(found.p_holm if found else None)]
        theirs = printed.cell(line.entry) if line.entry else Cell()
        against = {
            _difference(run, cell, each.cell(line.entry), theirs)
            for run, cell, each in zip(shown, cells, minus, strict=True)
            if line.entry and cell.value is not None
        }
        paper_number = NOT_COMPARED if against == {NOT_COMPARED} else theirs.number.removesuffix(theirs.suffix)
        body.append(Text(_spread(_short(line.label), words, paper_number, sizes)))
    return body


def _spread(label: str, words: Sequence[str], last: str, sizes: Sequence[int]) -> str:
    parts = [f"{word:>{size}}" for word, size in zip(words, sizes, strict=True)]
    return printable((f"{label:<11}" + "".join(parts) + f"{last:>8}").rstrip())


def _with_interval(cell: Cell, size: int) -> str:
    """A number with its interval as tables have it, bounds as close as `size` asks for: 54.1..99.2, 54..100.

    The mark of a number that is not comparable stays, whatever gives way.
    """
    number, mark = cell.number.removesuffix(cell.suffix), cell.suffix
    if cell.value is None or cell.ci95 is None:
        return number + mark
    own = cell.interval
    close = own.strip("()").replace(" to ", "..").replace("+", "")
    texts = [own] if " to " not in own else [close, _outwards(*cell.ci95)]
    fitting = [text for text in texts if len(number) + len(text) + len(mark) + 2 <= size]
    if not fitting and mark:
        return number + mark
    return f"{number} {fitting[0] if fitting else '(--all)'}{mark}"


def _outwards(low: float, high: float) -> str:
    return f"{floor(low)}..{ceil(high)}"


# -- what must be known, and where to look ----------------------------------------------------------------------------
def _remarks(plan: Plan, lines: Sequence[Line], failed: Sequence[str]) -> Iterator[Text]:
    """Most important first; what does not fit is counted."""
    runs = plan.runs
    if failed:
        yield Text(
            f"scoring failed: {', '.join(failed)}; see scoring_failure.txt in the task's folder", style="bold red"
        )
    for run in runs:
        record = run.record
        if record and record.mask_self_test and not record.mask_self_test.passed:
            yield Text(f"{run.label}: the attention self-test failed: not the attention it names", style="bold red")
        if record and record.model.is_served:
            yield Text(f"{_of(run, runs)}a server answered: mask not verified", style="yellow")
    partial = {line.task for run in runs for line in lines if line.task in run.results} & {
        task for run in runs for task, result in run.results.items() if not result.complete
    }
    if partial:
        names = ", ".join(sorted(partial)) if len(partial) <= SHOWN_NAMES else f"{len(partial)} tasks"
        yield Text(f"incomplete: {names}; unscored samples are left out, not wrong", style="yellow")
    yield from (Text(f"{_of(run, runs)}{cut}", style="yellow") for run in runs if (cut := cut_off(run)))
    if any(run.toy for run in runs):
        yield Text("toy world: compare with nothing but runs of the toy world", style="yellow")
    yield from (Text(line, style="yellow") for line in _incomparable(runs, lines))
    yield from (Text(line) for line in _judges(runs))
    yield from (Text(line, style="yellow") for line in _readings(runs))
    yield from (Text(line) for line in _split(plan, lines))
    for run in runs:
        if run.unscored:
            yield Text(f"{_of(run, runs)}answered, not scored: {', '.join(run.unscored)}", style="yellow")
        subsets = {str(result.subset) for result in run.results.values() if result.subset}
        if subsets:
            yield Text(f"{_of(run, runs)}subset: only part of each table was asked", style="yellow")
    if len(runs) == 1 and not runs[0].toy:
        yield Text("▲ ▼ the paper's number lies outside the interval", style="dim")
    if len(runs) == 2:
        yield Text("B - A: paired by question, 95 %; ▲ ▼ p < 0.05 after Holm's correction", style="dim")


def _of(run: RunFolder, runs: Sequence[RunFolder]) -> str:
    return "" if len(runs) == 1 else f"{run.label}: "


def _readings(runs: Sequence[RunFolder]) -> Iterator[str]:
    """Where another protocol reads the same answers as a number outside the headline's interval."""
    for task in dict.fromkeys(column.task for column in COLUMNS):
        far = {run.label: found for run in runs if task in run.results and (found := _far(run, task))}
        labels = [column.label for column in COLUMNS if column.task == task]
        title = labels[0] if len(labels) == 1 else labels[0].rpartition(" ")[0] or TASKS[task].title
        rule = RULES.get((task, TASKS[task].headline))
        counts = f"{TASKS[task].headline} counts {rule}; " if rule else ""
        if far and len(runs) == 1:
            (found,) = far.values()
            words = "; ".join(f"{name} reads {', '.join(numbers)}" for name, numbers in found.items())
            yield f"{title}: {counts}{words} of the same answers"
        elif far:
            names = dict.fromkeys(name for found in far.values() for name in found)
            yield f"{title}: {counts}{', '.join(names)} reads otherwise by more than the interval"


def _far(run: RunFolder, task: str) -> dict[str, list[str]]:
    """By protocol, the columns and values that are outside the headline's intervals."""
    result = run.results[task]
    far: dict[str, list[str]] = {}
    columns = [column for column in COLUMNS if column.task == task]
    for protocol in result.protocols:
        for column in columns:
            own, other = (run_cell(result, column.metric, name) for name in (result.headline, protocol))
            if other.value is not None and own.ci95 and not own.ci95[0] <= other.value <= own.ci95[1]:
                short = column.label.split()[-1] + " " if len(columns) > 1 else ""
                far.setdefault(protocol, []).append(f"{short}{other.value:.1f}")
    return far


def _incomparable(runs: Sequence[RunFolder], lines: Sequence[Line]) -> Iterator[str]:
    """One column in its own words, several in one line."""
    found = {}
    for run in runs:
        for line in lines:
            result = run.results.get(line.task)
            metric = find_metric(result.protocols[result.headline], line.metric) if result else None
            why = result.why_not_comparable(metric) if result and metric else None
            if why:
                found[f"{_of(run, runs)}{line.label}"] = why
    if len(found) == 1:
        yield from (f"{label}: {why}" for label, why in found.items())
    elif found:
        yield "not comparable: " + ", ".join(
            f"{label} {why.removeprefix('not comparable: ').replace('answers need', 'need')}"
            for label, why in found.items()
        )


def _split(plan: Plan, lines: Sequence[Line]) -> Iterator[str]:
    """MMMU's printed number may be of another split than the value; the difference is of the same one."""
    table, row = reference_row(plan.reference)
    if len(plan.runs) != 1 or plan.runs[0].toy or "mmmu" not in plan.runs[0].results:
        return
    if ("mmmu", "dev") in paper.by_metric(table, row.model):
        dev = run_cell(plan.runs[0].results["mmmu"], "dev")
        if dev.value is not None and any(line.task == "mmmu" for line in lines):
            yield f"MMMU: the paper's number is on the development split; the run has {dev.value:.1f} there"


def _judges(runs: Sequence[RunFolder]) -> Iterator[str]:
    """Who judged, and what it cost as far as prices are known."""
    by_name: dict[str, list[TaskResult]] = {}
    for result in (result for run in runs for result in run.results.values() if result.judge):
        by_name.setdefault(str((result.judge or {}).get("name", "unknown")), []).append(result)
    for name, results in by_name.items():
        yield f"judge: {name}{_cost(results)}"


def _cost(results: Sequence[TaskResult]) -> str:
    """`, $0.43 for 164 requests`: of the last scoring, for what was not paid before."""
    records = [dict(result.judge or {}) for result in results]
    paid = sum(int(record.get("requests_paid") or 0) for record in records)
    if not paid:
        return ""
    costs = [record.get("cost_usd") for record in records]
    requests = f"{paid} request{'' if paid == 1 else 's'}"
    if any(cost is None for cost in costs):
        return f", {requests}, price not known"
    return f", ${sum(float(cost or 0) for cost in costs):.2f} for {requests}"


def _next(runs: Sequence[RunFolder]) -> list[str]:
    names = " ".join(shlex.quote(printable(str(run.path))) for run in runs)
    if len(runs) > 1 and len(names) > WIDTH // 2:
        names = "RUN..."
    if len(runs) == 2:
        return [f"next: aki-eval compare {names}   which questions flipped", f"      aki-eval view {names}"]
    tables = [TASKS[task].paper_table for run in runs for task in run.results if task in TASKS]
    number = next((table for table in tables if table), 2)
    return [f"next: aki-eval view {names}", f"      aki-eval report {names} --all   (or --table {number})"]


def _fitted(remarks: list[Text], room: int) -> list[Text]:
    """As many remarks as there is room for, wrapped; the last line counts the others."""
    wrapped = [
        [Text(part, style=remark.style) for part in wrap(printable(remark.plain), WIDTH, subsequent_indent="  ")]
        for remark in remarks
    ]
    if sum(map(len, wrapped)) <= room:
        return [line for lines in wrapped for line in lines]
    shown: list[Text] = []
    for place, lines in enumerate(wrapped):
        if len(shown) + len(lines) > room - 1:
            left = len(wrapped) - place
            return [*shown, Text(f"({left} more remark{'' if left == 1 else 's'}: --all)", style="yellow")]
        shown += lines
    return shown


def _short(label: str) -> str:
    """Benchmark and metric begin and end a label: what lies between gives way."""
    return label if len(label) <= SIZES[0] else f"{label[: SIZES[0] - 7]}…{label[-5:]} "


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else "…" + text[-(WIDTH - 1) :]
