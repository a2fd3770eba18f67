"""`aki-train ablation`: does this mask help, how sure is that, and where?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UserError
from benchmarks.files import out_folder

from ..toy.plan import ToyPlan
from .options import alone_in, check_writable

TOY = "toy"


def ablation(
    out: Annotated[
        Path,
        typer.Option(parser=out_folder, metavar="PATH", help="Folder of the experiment; a second start goes on there."),
    ],
    data: Annotated[str, typer.Option(help="toy, or the folder that aki-train run trains on.")] = TOY,
    rows: Annotated[
        str, typer.Option(help="all, table1, or names: causal, cca, mma, v2v, future, prefix, mma_late, dot, ...")
    ] = "all",
    seeds: Annotated[int, typer.Option(help="Trainings of each row.", min=1, max=1000)] = 3,
    budget: Annotated[float | None, typer.Option(help="Minutes; rows that do not fit are left out.", min=0.01)] = None,
    num_jobs: Annotated[int, typer.Option("--jobs", help="Trainings side by side.", min=1, max=1024)] = 1,
    steps: Annotated[
        int | None,
        typer.Option(help="Of fine-tuning; the toy's captions shrink or grow with it.", min=1, max=10_000_000),
    ] = None,
    points: Annotated[int, typer.Option(help="Scores along the way, for learning curves.", min=0, max=1000)] = 3,
    bench: Annotated[str, typer.Option(help="As aki-eval run takes it.")] = "all",
    evaluation: Annotated[
        str | None, typer.Option(help="Data of aki-eval run. Default: toy for the toy, else official.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="As aki-eval run takes it: N, or ci. Default: everything.")] = None,
    judge: Annotated[str | None, typer.Option(help="As aki-eval run takes it.")] = None,
    launch: Annotated[
        str, typer.Option(help="Before aki-train run on real data: 'torchrun --nproc-per-node 8 --no-python'.")
    ] = "",
) -> None:
    """Train and measure every row of Table 1 and the masks beside it, from the same start, and compare them."""
    from ..toy.arithmetic import choose_kernels

    choose_kernels()  # before anything imports torch
    from ..ablation.carry_out import carry_out
    from ..ablation.plan import AblationPlan, write_plan
    from ..ablation.rows import choose_rows
    from ..ablation.work import TOY_LAYERS, layers_of_recipes

    is_toy = data == TOY
    if not is_toy and not (data.strip() and Path(data).is_dir()):
        raise UserError(f"--data {data}: no such folder; expected {TOY!r}, or a folder of training data")
    chosen = choose_rows(rows, TOY_LAYERS if is_toy else layers_of_recipes())
    plan = AblationPlan(
        data=data if is_toy else str(Path(data).resolve()),
        toy=toy_plan(steps),
        bench=bench,
        evaluation=evaluation or (TOY if is_toy else "official"),
        subset=subset,
        points=points if is_toy else 0,
        judge=judge,
        steps=None if is_toy else steps,
        launch=launch,
    )
    check_writable(out)
    with alone_in(out):
        write_plan(out, plan)
        summary = carry_out(plan, rows=chosen, num_seeds=seeds, budget=budget, num_jobs=num_jobs, out=out)
    typer.echo(f"{summary}: done")


def toy_plan(steps: int | None) -> ToyPlan:
    """The quick plan with another number of fine-tuning steps, and captions in proportion."""
    usual = ToyPlan()
    if steps is None:
        return usual
    captions = max(1, round(usual.caption_steps * steps / usual.sft_steps))
    return ToyPlan(sft_steps=steps, caption_steps=min(usual.caption_steps, captions))
