"""What must be read before any number: one sentence each, on top of every table, page and figure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder, other_data
from benchmarks.tasks import TASKS

TOY = (
    "Toy world: {labels} answered generated miniature benchmarks. These numbers are not comparable with the paper's "
    "or with any run on the real benchmarks."
)


def notices(runs: Sequence[RunFolder], *, cuts_shown: Collection[str] = ()) -> tuple[str, ...]:
    """Toy data, failed self-tests, tasks answered but not scored, runs on different data.

    What more than `MOST_ALONE` runs have alike is said once, its numbers from the least to the most.
    `cuts_shown`: labels of runs whose cut off answers stand elsewhere.
    """
    toy = [run.label for run in runs if run.toy]
    lines = [TOY.format(labels=_who(toy, len(runs)))] if toy else []
    said: dict[tuple[str, str], dict[str, str]] = {}
    for run in runs:
        for text, about in _of_one(run, with_cuts=run.label not in cuts_shown):
            said.setdefault((about, re.sub(r"\d+", "0", text)), {})[run.label] = text
    for (about, _), by_run in said.items():
        lines += _together(about, by_run, len(runs))
    return tuple(lines + list(_of_several(runs)))


class Notice(NamedTuple):
    """Of one run. Those of one `about` and, but for its numbers, one `text` are said together."""

    text: str
    about: str = ""


MOST_ALONE = 3
"""Runs up to which each has its own line, or is named."""


def _together(about: str, by_run: Mapping[str, str], num_runs: int) -> Iterator[str]:
    about = f"{about}: " if about else ""
    if len(by_run) <= MOST_ALONE:
        yield from (f"{run}: {about}{text}." for run, text in by_run.items())
        return
    numbers = zip(*(map(int, re.findall(r"\d+", text)) for text in by_run.values()), strict=True)
    ranges = iter([f"{min(each)} to {max(each)}" if len(set(each)) > 1 else str(each[0]) for each in numbers])
    text = re.sub(r"\d+", lambda _: next(ranges), next(iter(by_run.values())))
    yield f"{_who(list(by_run), num_runs)}: {about}{text}."


def _who(labels: Sequence[str], num_runs: int) -> str:
    if len(labels) <= MOST_ALONE:
        return ", ".join(labels)
    return (
        f"all {num_runs} runs"
        if len(labels) == num_runs
        else f"{len(labels)} of {num_runs} runs, {labels[0]} the first"
    )


MOST_IN_FIGURES = 4
SHOWN_CUT = 0.01
"""The share of a task's answers beyond which it is said that they were cut off."""
MOST_CUT = 2
"""Benchmarks named for it; of more only the worst."""


def for_figure(runs: Sequence[RunFolder]) -> tuple[str, ...]:
    """As many as leave room for the figure; how many more there are is said."""
    found = notices(runs)
    if len(found) <= MOST_IN_FIGURES:
        return found
    left_out = len(found) - MOST_IN_FIGURES + 1
    return (*found[: MOST_IN_FIGURES - 1], f"{left_out} more to know before any number: on top of every table.")


def _of_one(run: RunFolder, *, with_cuts: bool) -> Iterator[Notice]:
    if run.record and run.record.mask_self_test and not run.record.mask_self_test.passed:
        yield Notice("the attention self-test failed, so its numbers are not those of the attention it names")
    if run.record and run.record.model.is_served:
        yield Notice("a server answered; its attention mask was not verified, as no request shows it")
    if run.record and run.record.model.trained_attention not in (None, run.record.model.attention):
        model = run.record.model
        yield Notice(f"trained with {model.trained_attention} attention, measured with {model.attention}")
    for result in run.results.values():
        metrics = result.protocols[result.headline]
        for name in result.about.headline_metrics:
            if why := result.why_not_comparable(metrics.get(name)):
                yield Notice(why, f"{result.about.title}, {name}")
    if with_cuts and (cut := cut_off(run)):
        yield Notice(cut)
    if run.record and run.record.probe:
        probe = run.record.probe
        yield Notice(f"asked under the probe {probe.name} ({probe.does}); no measurement of the benchmarks")
    if run.unscored:
        names = ", ".join(run.unscored)
        yield Notice(f"{names} answered but not scored; `aki-eval score {run.path}` does it")


def cut_tasks(run: RunFolder) -> dict[str, tuple[int, int]]:
    """Tasks of which more than `SHOWN_CUT` of the answers were cut off at the limit on tokens: how many, of how many.

    Raises:
        UserError: nobody knows; the answers are not those of the run.
    """
    return {task: (number, of) for task, (number, of) in run.cut.items() if number > SHOWN_CUT * of}


def cut_off(run: RunFolder) -> str | None:
    """Where more than `SHOWN_CUT` of a task's answers were cut off at the limit on tokens: the worst tasks first."""
    try:
        cut = cut_tasks(run)
    except UserError as error:
        return f"whether answers were cut off is not known: {error}"
    worst = sorted(cut, key=lambda task: -cut[task][0] / cut[task][1])
    named = [f"{run.results[task].about.title} {cut[task][0]} of {cut[task][1]}" for task in worst]
    where = ", ".join(named) if len(named) <= MOST_CUT else f"{len(named)} benchmarks, most in {named[0]}"
    return f"answers cut off at the token limit: {where}" if named else None


def missing_tasks(runs: Sequence[RunFolder]) -> Iterator[str]:
    """What a run says nothing about, one sentence a run: the reason for its dashes."""
    for run in runs:
        missing = [task for task in TASKS if task not in run.results and task not in run.unscored]
        if missing:
            yield f"{run.label}: nothing measured on {', '.join(missing)}."


def _of_several(runs: Sequence[RunFolder]) -> Iterator[str]:
    for run in runs[1:]:
        other = [task for task in run.results if task in runs[0].results and other_data(run, runs[0], task)]
        if other:
            pair = f"{run.label} and {runs[0].label}"
            yield f"{pair} were measured on different data and are not compared on {', '.join(other)}."
