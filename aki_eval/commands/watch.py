"""`aki-eval watch DIR`: a training's checkpoints, each evaluated as it comes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UserError
from benchmarks.files import folder_with_room

from ..run.checkpoints import checkpoints, evaluate_checkpoint, is_evaluated, run_folder


def command(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(parser=folder_with_room, metavar="DIR", help="Where a training writes checkpoint-N folders."),
    ],
    out: Annotated[
        Path, typer.Option(parser=folder_with_room, metavar="PATH", help="Runs go to OUT/[STAGE/]step-N.")
    ] = Path("runs/steps"),
    every: Annotated[float, typer.Option(help="Seconds between looks.", min=0.1)] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Evaluate what is there and end.")] = False,
) -> int:
    """Evaluate a training's checkpoints as they come, until Ctrl-C; a second machine needs only to see the folder.

    All further options are aki-eval run's and go to it, such as --bench, --data, --subset ci and --judge. A checkpoint
    that has metrics already is not asked again; one that fails is said and tried again at the next start.

    aki-eval report runs/steps/step-* then shows the score over the steps.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}; name the one in which the training writes its checkpoints")
    if "--bench" not in context.args:
        raise UserError("--bench is missing: which benchmarks shall each checkpoint be asked?")
    failed: dict[Path, int] = {}
    while True:
        for step, checkpoint in checkpoints(folder):
            place = run_folder(checkpoint, folder, out)
            if checkpoint in failed or is_evaluated(place):
                continue
            typer.echo(f"step {step}: {checkpoint} -> {place}")
            code = evaluate_checkpoint(checkpoint, place, context.args)
            if code:
                failed[checkpoint] = code
                typer.echo(f"step {step}: aki-eval run ended with {code}", err=True)
        if once:
            return max(failed.values(), default=0)
        try:
            time.sleep(every)
        except KeyboardInterrupt:
            return 130


command.context_settings = {"allow_extra_args": True, "ignore_unknown_options": True}  # type: ignore[attr-defined]
