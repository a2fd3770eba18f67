"""One model's numbers as something a table can ask: a row of the paper, or a run under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

from benchmarks.arms import ArmEstimate
from benchmarks.data.root import OFFICIAL, is_toy
from benchmarks.printable import in_words
from benchmarks.records import Metric
from benchmarks.results.arms import Arm
from benchmarks.results.comparison import arm_estimates
from benchmarks.results.folder import RunFolder, TaskResult
from benchmarks.results.pairing import align
from benchmarks.scoring import worth_saying

from . import paper
from .paper import PaperLine, PaperModel, PaperValue
from .tables import Cell, RowKind

PAPER_JUDGE = "GPT-4-0613"
NOT_COMPARABLE = " n.c."
"""Behind a number that is to be compared with nothing; a footnote says why."""
PROTOCOLS = {
    "kit": "VLMEvalKit's own reading",
    "official": "the benchmark's published rule",
    "cambrian": "Cambrian's normalised letter",
    "strict": "our own reading and counting of the answers, without a judge",
}

BARS = (
    "Rows of several seeds are means over trainings, on the questions that all of them scored: ±q is half the width of "
    "the 95 % interval for other questions (n of them), ±s for other training seeds, or (x to y) where the "
    "mean is not in its middle. The two are never added here; differences between arms have both."
)

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Series:
    """`cell` answers for any line of a table; a line the model has no number for is a dash."""

    key: str
    label: str
    kind: RowKind
    cell: Callable[[PaperLine], Cell]
    section: str = ""
    notes: tuple[str, ...] = ()
    seeds: int = 1
    """Trainings behind it."""
    comparator: str = ""
    """Of a difference: what is taken off, `paper` or `run`."""


def same_metric(first: str, second: str) -> bool:
    """Whether two metric names mean the same: capitals, underscores, a plural s do not count (`Instances Counting`)."""
    return _plain(first) == _plain(second)


def _plain(name: str) -> str:
    words = name.casefold().replace("_", " ").replace("&", " and ").replace("/", " / ").split()
    return " ".join(word.rstrip("s") for word in words)


def paper_series(table: str, model: PaperModel, section: str | None = None) -> Series:
    """A model of the paper as it stands in one of its tables."""
    found = paper.by_metric(table, model.model)

    def cell(entry: PaperLine) -> Cell:
        value = paper_value(found, entry)
        return Cell() if value is None else paper_cell(value)

    place = model.section if section is None else section
    return Series(key=model.model, label=model.label, kind="paper", cell=cell, section=place)


def paper_value(found: dict[tuple[str, str], PaperValue], entry: PaperLine) -> PaperValue | None:
    """The cell for a line. MMMU stands under the split that it was measured on, which differs from row to row."""
    return next((found[entry.task, name] for name in metric_names(entry) if (entry.task, name) in found), None)


def metric_names(entry: PaperLine) -> tuple[str, ...]:
    """Names a line's metric may go by. Table 11's lines name no split; the twelve columns say `val`."""
    if entry.task != "mmmu":
        return (entry.metric,)
    name = "" if entry.metric in {"val", ""} else f"/{entry.metric}"
    return (f"val{name}", f"dev{name}")


def paper_cell(value: PaperValue) -> Cell:
    shown = value.printed
    if value.value is None:
        shown = "-"
    elif _number(value.printed) != value.value:
        shown = f"{value.value:g}"
    return Cell(
        value=value.value,
        text=shown if value.value is None else None,
        printed=shown,
        suffix=value.mark,
        task=value.task,
        metric=value.metric,
        protocol=value.protocol,
        notes=(value.note,) if value.note else (),
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def run_series(run: RunFolder, *, split: str = "val", protocol: str | None = None, suffix: str = "") -> Series:
    """A run. `protocol` None means each task's headline; `split` is MMMU's; `suffix` tells its series apart."""

    def cell(entry: PaperLine) -> Cell:
        result = run.results.get(entry.task)
        if result is None:
            return Cell()
        return replace(run_cell(result, run_metric(entry, split), protocol), run=run.label)

    kind: RowKind = "run" if protocol is None else "reading"
    return Series(key=str(run.path) + suffix, label=run.label + suffix, kind=kind, cell=cell)


def arm_series(arm: Arm, *, split: str = "val", suffix: str = "") -> Series:
    """An arm's means over its training seeds, by each task's headline protocol, with two error bars."""
    if len(arm.runs) == 1:
        return run_series(arm.runs[0], split=split, suffix=suffix)

    @cache
    def estimates(task: str) -> dict[str, ArmEstimate]:
        protocol = arm.runs[0].results[task].headline
        return arm_estimates(arm, task, protocol, align(task, protocol, arm))

    def cell(entry: PaperLine) -> Cell:
        return _arm_cell(arm, entry.task, run_metric(entry, split), estimates) if entry.task in arm.tasks else Cell()

    return Series(
        key=f"{arm.runs[0].path} and others{suffix}",
        label=arm.label + suffix,
        kind="run",
        cell=cell,
        seeds=len(arm.runs),
    )


def _arm_cell(arm: Arm, task: str, name: str, estimates: Callable[[str], dict[str, ArmEstimate]]) -> Cell:
    found = find_metric(estimates(task), name)
    if found is None:
        return Cell()
    results = [run.results[task] for run in arm.runs]
    notes = [note for result in results for note in run_cell(result, name).notes]
    reasons = [result.why_not_comparable(find_metric(result.protocols[result.headline], name)) for result in results]
    return Cell(
        value=found.mean.value,
        ci95=found.question_interval,
        seed_ci95=found.seed_interval,
        num_samples=found.mean.num_samples,
        num_scored=found.mean.num_scored,
        num_unread=found.mean.num_unread,
        suffix=NOT_COMPARABLE if any(reasons) else "",
        task=task,
        metric=name,
        protocol=results[0].headline,
        notes=tuple(dict.fromkeys(notes)),
    )


def other_readings(
    run: RunFolder, entries: Iterable[PaperLine], *, split: str = "val", suffix: str = ""
) -> list[Series]:
    """The run under every other protocol that gives one of the lines another number; the same numbers stay blank."""
    headline = run_series(run, split=split)
    protocols = dict.fromkeys(name for result in run.results.values() for name in result.protocols)
    found = []
    for protocol in protocols:
        series = run_series(run, split=split, protocol=protocol, suffix=f"{suffix} · {protocol}")
        cells = {entry: _if_other(series.cell(entry), headline.cell(entry)) for entry in entries}
        if any(cell.value is not None for cell in cells.values()):
            found.append(replace(series, cell=cells.__getitem__))
    return found


def _if_other(cell: Cell, headline: Cell) -> Cell:
    return cell if cell.value is not None and cell.value != headline.value else Cell(text="")


def run_metric(entry: PaperLine, split: str) -> str:
    return metric_names(entry)[0 if split == "val" else 1] if entry.task == "mmmu" else entry.metric


def run_cell(result: TaskResult, name: str, protocol: str | None = None) -> Cell:
    """A metric of a run with everything that has to be known about it in its notes."""
    protocol = protocol or result.headline
    found = find_metric(result.protocols.get(protocol, {}), name)
    if found is None:
        return Cell()
    return Cell(
        value=found.value,
        ci95=found.ci95,
        num_samples=found.num_samples,
        num_scored=found.num_scored,
        num_unread=found.num_unread,
        num_units=found.num_units,
        suffix=NOT_COMPARABLE if result.why_not_comparable(found, protocol) else "",
        task=result.task,
        metric=name,
        protocol=protocol,
        notes=tuple(caveats(result, found, protocol)),
    )


def find_metric(metrics: Mapping[str, Found], name: str) -> Found | None:
    """A metric by name, forgiving the spellings that tables and papers differ in."""
    if name in metrics:
        return metrics[name]
    return next((metric for each, metric in metrics.items() if same_metric(each, name)), None)


def caveats(result: TaskResult, metric: Metric, protocol: str) -> Iterable[str]:
    """What a reader must know before comparing a number, one sentence each."""
    if metric.num_unscored:
        yield f"{metric.num_unscored} of {metric.num_samples} samples are unscored: left out, not counted as wrong."
    why = result.why_not_comparable(metric, protocol)
    if why or worth_saying(metric):
        yield _unread(metric, why)
    if not result.complete and not metric.num_unscored:
        yield "Partial: not every sample of this task was answered and scored."
    if result.subset is not None:
        yield f"Subset: {in_words(result.subset)}."
    if result.data.get("source") != OFFICIAL and not is_toy(result.data.get("source")):
        yield "Measured on local tables, which may differ from the official ones."
    if result.judge is not None:
        yield judge_caveat(result)
    if result.prompts != "aki":
        yield f"Asked with {result.prompts} prompts."
    if protocol != "kit":
        yield f"Protocol {protocol}: {PROTOCOLS.get(protocol, 'see the benchmark')}."


def _unread(metric: Metric, why: str | None) -> str:
    """How many answers could not be read, and what the number would be had they been."""
    start = f"N.c.: {why}. " if why else ""
    bounds = ""
    if metric.unread_bounds:
        wrong, right = metric.unread_bounds
        bounds = f"; {wrong:.1f} if all were wrong, {right:.1f} if all were right"
    return f"{start}{metric.num_unread} of {metric.num_scored} answers unread, counted as the protocol does{bounds}."


def why_unread(result: TaskResult, protocol: str) -> str:
    """Why a protocol's rule leaves an answer unread, in words for a reader of that answer."""
    if nothing_extracts(result, protocol):
        return "the rule recognises only plain answers, and no judge was there to extract this one"
    return "the rule finds no answer in the text"


def nothing_extracts(result: TaskResult, protocol: str) -> bool:
    """Whether a judge would extract what the rule does not recognise, and none did; a rubric extracts nothing."""
    rule = result.about.protocols.get(protocol)
    return rule is not None and rule.extractor != "none" and (result.judge is None or not result.comparable_judge)


def judge_caveat(result: TaskResult) -> str:
    name = str((result.judge or {}).get("name", "unknown"))
    if not result.comparable_judge:
        return f"Judged by {name}." if "not comparable" in name else f"Judged by {name}: not comparable to GPT-4."
    return f"Judged by {name}; the paper says {PAPER_JUDGE}."
