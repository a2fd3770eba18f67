"""`aki-train ablation`: does this mask help, how sure is that, and where?"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.asked_about import read_questions
from benchmarks.cores import cores
from benchmarks.data.root import TOY_TEST
from benchmarks.errors import UserError
from benchmarks.files import out_folder

from ..toy.plan import LABORATORY, ToyPlan
from .options import OFFICIAL, alone_in, check_evaluation, check_writable

TOY = "toy"


def ablation(
    out: Annotated[
        Path,
        typer.Option(parser=out_folder, metavar="PATH", help="Folder of the experiment; a second start goes on there."),
    ],
    data: Annotated[str, typer.Option(help="toy, or the folder that aki-train run trains on.")] = TOY,
    rows: Annotated[
        str,
        typer.Option(
            help="all, table1, and names: causal, cca, mma, v2v, future, prefix, mma_late, dot, ...; dot:2 has two "
            "seeds of its own."
        ),
    ] = "all",
    seeds: Annotated[int, typer.Option(help="Trainings of each row.", min=1, max=1000)] = 3,
    budget: Annotated[float | None, typer.Option(help="Minutes; rows that do not fit are left out.", min=0.01)] = None,
    num_jobs: Annotated[int, typer.Option("--jobs", help="Trainings side by side.", min=1, max=1024)] = 1,
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N]",
            help="Of fine-tuning; several are several training budgets, also over several starts. The toy's captions "
            "shrink with it.",
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(help="Scores along the way, for learning curves. Default: 3 on the toy.", min=0, max=1000),
    ] = None,
    bench: Annotated[
        str | None, typer.Option(help="As aki-eval run takes it. Default: all, on the toy also toy_skills.")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option(help="Data of aki-eval run. Default: toy-test for the toy, else official.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="As aki-eval run takes it: N, or ci. Default: everything.")] = None,
    judge: Annotated[str | None, typer.Option(help="As aki-eval run takes it.")] = None,
    launch: Annotated[
        str, typer.Option(help="Before aki-train run on real data: 'torchrun --nproc-per-node 8 --no-python'.")
    ] = "",
    cross: Annotated[
        str | None,
        typer.Option(metavar="KIND,KIND", help="Measure models trained with one of these masks under the others too."),
    ] = None,
    inside: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Look inside every finished model: data of aki-eval inspect, such as toy."),
    ] = None,
) -> None:
    """Train and measure every row of Table 1 and the masks beside it, from the same start, and compare them."""
    from ..toy.arithmetic import choose_kernels

    choose_kernels()  # before anything imports torch
    from ..ablation.carry_out import carry_out
    from ..ablation.cross import cross_kinds
    from ..ablation.plan import AblationPlan, check_plans
    from ..ablation.rows import choose_rows
    from ..ablation.work import TOY_LAYERS, evaluation_options, layers_of_recipes

    is_toy = data == TOY
    if not is_toy and not (data.strip() and Path(data).is_dir()):
        raise UserError(f"--data {data}: no such folder; expected {TOY!r}, or a folder of training data")
    chosen = choose_rows(rows, TOY_LAYERS if is_toy else layers_of_recipes())
    kinds = () if cross is None else cross_kinds(cross, chosen)
    check_jobs(num_jobs, is_toy=is_toy)
    check_launch(launch, is_toy=is_toy)
    if inside is not None:
        read_questions(inside, option="--inside")
    plans = [
        AblationPlan(
            data=data if is_toy else str(Path(data).resolve()),
            toy=toy_plan(each),
            bench=(f"all,{SKILLS}" if is_toy else "all") if bench is None else bench,
            evaluation=(TOY_TEST if is_toy else OFFICIAL) if evaluation is None else evaluation,
            subset=subset,
            points=(3 if is_toy else 0) if points is None else points,
            curve_bench=SKILLS if is_toy and bench is None else None,
            curve_subset=CURVE_QUESTIONS if is_toy and bench is None else "ci",
            judge=judge,
            steps=None if is_toy else each,
            launch=launch,
        )
        for each in ([None] if steps is None else parse_steps(steps))
    ]
    check_writable(out)
    check_plans(out, plans)
    check_evaluation(evaluation_options(plans[0], subset))
    with alone_in(out):
        summary = carry_out(
            plans,
            rows=chosen,
            num_seeds=seeds,
            budget=budget,
            num_jobs=num_jobs,
            out=out,
            cross=kinds,
            inside=inside,
        )
    typer.echo(f"{summary}: done")


SKILLS = "toy_skills"
CURVE_QUESTIONS = "600"
"""Of the table of skills, for every point of a learning curve."""
MOST_STEPS = 10_000_000
SHORTEST = 2000
"""Fine-tuning steps from which on all captions come before them: longer budgets then differ in fine-tuning alone."""


def parse_steps(text: str) -> list[int]:
    """Numbers of fine-tuning steps, each once.

    Raises:
        UserError: something that is none.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) < 9 and 0 < int(part) <= MOST_STEPS for part in parts):
        raise UserError(f"--steps {text!r}: expected numbers from 1 to {MOST_STEPS:,}, such as 1000,2600")
    return list(dict.fromkeys(map(int, parts)))


def check_jobs(num_jobs: int, *, is_toy: bool) -> None:
    """Raises UserError for more trainings at once than there are cores; on real data GPUs may be anywhere."""
    if is_toy and num_jobs > (free := cores()):
        raise UserError(
            f"--jobs {num_jobs}: there are {free} cores for this process, and every training on the toy takes one"
        )


def check_launch(launch: str, *, is_toy: bool) -> None:
    """Raises UserError for a launcher that is no command, or where nothing is launched."""
    try:
        words = shlex.split(launch)
    except ValueError as error:
        raise UserError(f"--launch {launch!r}: cannot be read ({error})") from error
    if words and is_toy:
        raise UserError(f"--launch {launch!r}: the toy trains on this machine's processor; it is for --data DIR")
    if words and shutil.which(words[0]) is None:
        raise UserError(f"--launch {launch!r}: no command {words[0]}")


def toy_plan(steps: int | None) -> ToyPlan:
    """The laboratory's plan with another number of fine-tuning steps; few of them come with fewer of captions, too."""
    usual = LABORATORY
    if steps is None:
        return usual
    captions = max(1, round(usual.caption_steps * steps / SHORTEST))
    return replace(usual, sft_steps=steps, caption_steps=min(usual.caption_steps, captions))
