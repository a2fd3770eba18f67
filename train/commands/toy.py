"""`aki-train toy`: a tiny AKI from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cores import cores
from benchmarks.files import out_folder

from .options import Attention, check_writable, say


def toy(
    out: Annotated[
        Path,
        typer.Option(
            parser=out_folder, metavar="PATH", help="Folder of the model; training logs go to its `training` folder."
        ),
    ],
    full: Annotated[bool, typer.Option("--full", help="The long schedule.")] = False,
    attention: Attention = "mma",
    seed: Annotated[
        int, typer.Option(help="Of weights, data order and pictures of the vision stage.", min=0, max=2**32 - 1)
    ] = 0,
) -> None:
    """Train a tiny AKI on coloured shapes: vision tower, captions, instructions."""
    check_writable(out)
    from ..toy.arithmetic import choose_kernels

    choose_kernels()  # before anything imports torch
    from ..toy.build import FULL, QUICK, train_toy

    seconds = train_toy(out, FULL if full else QUICK, attention=attention, seed=seed, processes=min(2, cores()))
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    say(f"{out}: model and processor saved; loss curves in {out / 'training'} ({parts})")
