"""What must be read before any number: one sentence each, on top of every table, page and figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder, other_data
from benchmarks.tasks import TASKS

TOY = (
    "Toy world: {labels} answered generated miniature benchmarks. These numbers are not comparable with the paper's "
    "or with any run on the real benchmarks."
)


def notices(runs: Sequence[RunFolder]) -> tuple[str, ...]:
    """Toy data, failed self-tests, tasks answered but not scored, runs on different data."""
    toy = [run.label for run in runs if run.toy]
    lines = [TOY.format(labels=", ".join(toy))] if toy else []
    for run in runs:
        lines += _of_one(run)
    return tuple(lines + list(_of_several(runs)))


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


def _of_one(run: RunFolder) -> Iterator[str]:
    if run.record and run.record.mask_self_test and not run.record.mask_self_test.passed:
        yield f"{run.label}: the attention self-test failed, so its numbers are not those of the attention it names."
    if run.record and run.record.model.is_served:
        yield f"{run.label}: a server answered; its attention mask was not verified, as no request shows it."
    if run.record and run.record.model.trained_attention not in (None, run.record.model.attention):
        model = run.record.model
        yield f"{run.label}: trained with {model.trained_attention} attention, measured with {model.attention}."
    for result in run.results.values():
        metrics = result.protocols[result.headline]
        for name in result.about.headline_metrics:
            if why := result.why_not_comparable(metrics.get(name)):
                yield f"{run.label}: {result.about.title}, {name}: {why}."
    if cut := cut_notice(run):
        yield cut
    if run.record and run.record.probe:
        probe = run.record.probe
        yield f"{run.label}: asked under the probe {probe.name} ({probe.does}); no measurement of the benchmarks."
    if run.unscored:
        names = ", ".join(run.unscored)
        yield f"{run.label}: {names} answered but not scored; `aki-eval score {run.path}` does it."


def cut_notice(run: RunFolder) -> str | None:
    """The run's line about answers that were cut off."""
    cut = cut_off(run)
    return f"{run.label}: {cut}." if cut else None


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
