"""Tables 1 and 2: totals against the per-subtask tables, gains, their mean, and who is best."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from .. import paper
from .arithmetic import APPENDIX, Finding, Verdict, column_label, main_cell, near


def headline_and_appendix() -> Iterator[Finding]:
    """Table 1 or 2 against the total of the per-subtask table."""
    for number in paper.NUMBERS[2:]:
        for model in APPENDIX:
            for (task, metric), total in paper.by_metric(number, model).items():
                head = main_cell(model, task, metric) if _is_headline(task, metric) else None
                if head is None:
                    continue
                rounding = 0.5 if "." not in total.printed and task == "mmmu" else 0.0
                yield Finding(
                    number,
                    model,
                    f"total against Table {head.table}",
                    head.printed,
                    total.printed,
                    near(float(head.printed), float(total.printed), rounding),
                )


def _is_headline(task: str, metric: str) -> bool:
    columns = {(entry.task, entry.metric) for entry in paper.entries("main")} | {("mmmu", "dev")}
    return (task, metric) in columns


def relative_gains(*, headline: bool = False) -> dict[tuple[str, str], float]:
    """MMA's gain in percent of CCA's number by column; with `headline` from the numbers as Table 1 prints them."""
    gains = {}
    for entry in paper.entries("main"):
        base, own = (main_cell(model, entry.task, entry.metric) for model in ("cca", "mma"))
        if base and own and base.value is not None and own.value is not None:
            first, second = (float(base.printed), float(own.printed)) if headline else (base.value, own.value)
            gains[entry.task, entry.metric] = 100 * (second - first) / first
    return gains


def improvements() -> Iterator[Finding]:
    """Table 1's last row: MMA relative to CCA, from the values that Table 1 prints."""
    gains, shown = relative_gains(headline=True), relative_gains()
    for cell in paper.improvements():
        key = (cell.task, cell.metric)
        text = f"{gains[key]:+.2f}%"
        if abs(gains[key] - shown[key]) > 0.05:
            text += f" ({shown[key]:+.2f}% from the value shown as reference)"
        if cell.printed == "-":
            verdict: Verdict = "agrees" if gains[key] <= 0 else "contradicts"
        else:
            digits = len(cell.printed.rstrip("%").partition(".")[2])
            verdict = near(gains[key], float(cell.printed.rstrip("%")), 0.5 * 10**-digits)
        check = f"gain of MMA over CCA, {column_label(key)}"
        yield Finding("1", "mma", check, cell.printed, text, verdict)
    val, dev = (main_cell(model, "mmmu", "val") for model in ("cca", "mma"))
    if val and dev:
        check = "splits behind the MMMU gain"
        recomputed = f"CCA {val.split}, MMA {dev.split}"
        yield Finding("1", "mma", check, "7.8%", recomputed, "unlike")


def average_gain() -> Iterator[Finding]:
    """The abstract's +7.2 % is the mean of the printed gains, which leave out RealWorldQA's loss."""
    given = [float(cell.printed.rstrip("%")) for cell in paper.improvements() if cell.printed != "-"]
    gains = list(relative_gains().values())
    mean = sum(given) / len(given)
    verdict: Verdict = "agrees" if len(given) == len(gains) else "contradicts"
    text = f"{sum(gains) / len(gains):.2f}% over all {len(gains)}; {mean:.2f}% over the {len(given)} gains only"
    yield Finding("1", "mma", "mean gain over 12 benchmarks", "7.2%", text, verdict)


def wins() -> Iterator[Finding]:
    """Section 4.2: MMA is said to be ahead of all others on 11 of 12 benchmarks."""
    strict: list[str] = []
    ties: list[str] = []
    for entry in paper.entries("main"):
        own = main_cell("mma", entry.task, entry.metric)
        others = [main_cell(each.model, entry.task, entry.metric) for each in paper.models("1") if each.model != "mma"]
        best = max(cell.value for cell in others if cell and cell.value is not None)
        if own and own.value is not None and own.value >= best:
            (strict if own.value > best else ties).append(entry.label)
    yield Finding(
        "1",
        "mma",
        "benchmarks on which MMA is ahead",
        "11 of 12",
        f"{len(strict)} of 12, and a tie on {', '.join(ties)}",
        near(len(strict), 11, 0),
    )


def peers_with_equal_cells() -> Iterator[Finding]:
    """Neighbours in Table 2 that print the very same MME number: one is probably copied."""
    models = [model.model for model in paper.models("2")]
    for first, second in pairwise(models):
        for key in (("mme", "perception"), ("mme", "cognition")):
            one, other = paper.by_metric("2", first).get(key), paper.by_metric("2", second).get(key)
            if one and other and one.printed == other.printed:
                check = f"{column_label(key)} equals the row above"
                yield Finding("2", second, check, other.printed, one.printed, "unlike")
