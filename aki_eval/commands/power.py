"""`aki-eval power`: how many seeds and questions a difference needs, from a pilot or from guesses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.arms import Variances, assumed_variances, needed, same_again, variances_of
from benchmarks.errors import UserError
from benchmarks.results.arms import Arm
from benchmarks.results.comparison import arm_estimates, compare
from benchmarks.results.pairing import align
from benchmarks.tasks import COLUMNS
from reports.formats import print_tables, write
from reports.render import markdown
from reports.sides import SidesCommand, groups_of, open_arms
from reports.tables import DASH, Cell, Column, Row, Table

from .options import TableFormat, TablesOut

SEEDS = (1, 2, 3, 5, 10)
QUESTIONS = (2, 4)


@dataclass(frozen=True)
class Planned:
    """What is known of one metric before the experiment."""

    label: str
    variances: Variances | None


def command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN_A... [-- RUN_B...]]",
            help="A pilot: two arms, two runs, or the seeds of one recipe. Without: from the guesses below.",
        ),
    ] = None,
    difference: Annotated[float, typer.Option(help="The true difference to be found, in points.", min=1e-6)] = 2.0,
    questions: Annotated[int | None, typer.Option(help="Guess: independent questions.", min=2)] = None,
    seeds: Annotated[int, typer.Option(help="Guess: trainings of each recipe.", min=1)] = 3,
    flip: Annotated[
        float,
        typer.Option(help="Guess: share of questions that a run of each answer to different worth.", min=0, max=1),
    ] = 0.2,
    seed_flip: Annotated[
        float, typer.Option(help="Guess: the same of two runs of one recipe; at most --flip.", min=0, max=1)
    ] = 0.1,
    seed_sd: Annotated[
        float, typer.Option(help="Guess: standard deviation of seeds beyond their questions, in points.", min=0)
    ] = 1.0,
    format: Annotated[TableFormat, typer.Option(help="Tables for the terminal, Markdown, or JSON.")] = "term",
    out: TablesOut = None,
) -> None:
    """How many seeds and questions a difference needs, with 80 % power at the two-sided 5 % level."""
    if runs:
        if questions is not None:
            raise UserError("--questions is a guess, and runs are given: leave one of them out")
        plans = list(_from_pilot(groups_of(runs)))
        basis = "From the pilot's own variances."
    else:
        if questions is None:
            raise UserError("give a pilot's run folders, or say how many questions there are with --questions N")
        plans = [Planned("as guessed", _guessed(questions, seeds, flip, seed_flip, seed_sd))]
        basis = (
            f"From guesses: {questions} questions, {seeds} seeds an arm; {flip:.0%} of questions differ between "
            f"recipes, {seed_flip:.0%} between seeds of one; seeds differ by {seed_sd:g} points (standard deviation) "
            "besides."
        )
    if format == "json":
        write(out, "power.json", json.dumps([_json(plan, difference) for plan in plans], indent=1) + "\n")
        return
    table = power_table(plans, difference, basis)
    if format == "term":
        print_tables([table])
    else:
        write(out, "power.md", markdown.render(table))


command.command_class = SidesCommand  # type: ignore[attr-defined]


def _guessed(questions: int, seeds: int, flip: float, seed_flip: float, seed_sd: float) -> Variances:
    if seed_flip > flip:
        raise UserError(f"--seed-flip {seed_flip:g} is above --flip {flip:g}: seeds cannot differ more than recipes do")
    return assumed_variances(num_questions=questions, num_seeds=seeds, flip=flip, seed_flip=seed_flip, seed_sd=seed_sd)


def _from_pilot(groups: list[list[Path]]) -> Iterator[Planned]:
    arms = open_arms(groups)
    if len(arms) == 2:
        for metric in compare(*arms).columns:
            known = metric.paired is not None and metric.reason is None
            yield Planned(metric.label, variances_of(metric.paired) if known and metric.paired else None)
    elif len(arms) == 1 and len(arms[0].runs) > 1:
        yield from _from_one_arm(arms[0])
    else:
        raise UserError(
            f"{len(arms)} groups of runs: a pilot is two arms with -- between them, or several seeds of one recipe"
        )


def _from_one_arm(arm: Arm) -> Iterator[Planned]:
    for column in COLUMNS:
        if column.task in arm.tasks:
            protocol = arm.runs[0].results[column.task].headline
            own = arm_estimates(arm, column.task, protocol, align(column.task, protocol, arm)).get(column.metric)
            yield Planned(column.label, same_again(own.variances) if own and own.variances else None)


def power_table(plans: list[Planned], difference: float, basis: str) -> Table:
    """What can be detected with how many seeds and questions, and what `difference` needs."""
    names = (
        "clusters",
        "seeds",
        "detectable",
        *(f"{num} seed{'s' if num > 1 else ''}" for num in SEEDS),
        *(f"x{times} questions" for times in QUESTIONS),
        "needs seeds",
        "needs clusters",
    )
    return Table(
        key="power",
        title=f"The true difference found with 80 % power, and what a difference of {difference:g} needs",
        corner="metric",
        columns=tuple(Column(label=name, kind="run") for name in names),
        rows=tuple(_row(plan, difference) for plan in plans),
        remarks=(
            basis,
            "needs seeds: trainings of each recipe with these questions; needs clusters: independent questions "
            f"(pictures, circular groups) with these seeds. {DASH}: not known, or no number is enough: more questions "
            "do not make up for seeds, nor seeds for questions.",
            "1 seed: training-seed variance not included.",
        ),
    )


def _row(plan: Planned, difference: float) -> Row:
    found = plan.variances
    if found is None:
        return Row(label=plan.label, cells=(Cell(),) * (5 + len(SEEDS) + len(QUESTIONS)))
    now = max(found.num_seeds)
    wanted = needed(found, difference)
    return Row(
        label=plan.label,
        cells=(
            Cell(text=str(found.num_clusters)),
            Cell(text=" + ".join(map(str, found.num_seeds))),
            Cell(value=found.detectable),
            *(Cell(value=with_seeds(found, num / now)) for num in SEEDS),
            *(Cell(value=found.planned(questions=times).detectable) for times in QUESTIONS),
            Cell(text=str(wanted.seeds or DASH)),
            Cell(text=str(wanted.questions or DASH)),
        ),
    )


def with_seeds(variances: Variances, times: float) -> float | None:
    """The detectable difference with another number of seeds; of one, that of its questions alone."""
    if variances.seed_degrees is None:
        return variances.detectable if times == 1 else None
    if round(max(variances.num_seeds) * times) == 1:
        return variances.planned(seeds=times).without_seeds().detectable
    return variances.planned(seeds=times).detectable


def _json(plan: Planned, difference: float) -> dict[str, object]:
    found = plan.variances
    if found is None:
        return {"metric": plan.label, "detectable": None}
    now, wanted = max(found.num_seeds), needed(found, difference)
    return {
        "metric": plan.label,
        "num_clusters": found.num_clusters,
        "num_seeds": found.num_seeds,
        "detectable": found.detectable,
        "detectable_with_seeds": {num: with_seeds(found, num / now) for num in SEEDS},
        "detectable_with_questions": {times: found.planned(questions=times).detectable for times in QUESTIONS},
        "difference": difference,
        "needs_seeds": wanted.seeds,
        "needs_clusters": wanted.questions,
    }
