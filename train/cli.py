"""The command `aki-train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def aki_train() -> None:
    """Train AKI: a toy in minutes, or the paper's recipes."""


@app.command()
def toy(
    out: Annotated[Path, typer.Option(help="Folder of the model; training logs go to its `training` folder.")],
    full: Annotated[bool, typer.Option("--full", help="The long schedule.")] = False,
    attention: Annotated[str, typer.Option(help="Attention of fine-tuning: mma, causal or cca.")] = "mma",
    seed: Annotated[int, typer.Option(help="Of weights, data order and pictures of the vision stage.")] = 0,
) -> None:
    """Train a tiny AKI on coloured shapes: vision tower, captions, instructions."""
    from .toy import FULL, QUICK, train_toy

    if attention not in ("mma", "causal", "cca"):
        raise UserError(f"--attention {attention}: expected mma, causal or cca")
    seconds = train_toy(out, FULL if full else QUICK, attention=attention, seed=seed)  # type: ignore[arg-type]
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    typer.echo(f"{out}: model and processor saved; loss curves in {out / 'training'} ({parts})")


def main() -> None:
    """Entry point: errors a user can fix are one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"aki-train: {error}", file=sys.stderr)
        sys.exit(2)
