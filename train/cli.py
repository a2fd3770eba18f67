"""The command `aki-train`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from benchmarks.command_line import CONTEXT, exit_code, version_option

from .commands.ablation import ablation
from .commands.convert import convert
from .commands.data import app as data_app
from .commands.plan import plan
from .commands.pretrain import pretrain
from .commands.run import run
from .commands.sft import sft
from .commands.toy import toy

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
app.add_typer(data_app, name="data")
for command in (toy, ablation, plan, run, pretrain, sft, convert):
    app.command()(command)


@app.callback()
def aki_train(
    version: Annotated[bool, version_option("aki-train")] = False,
) -> None:
    """Train AKI: a toy in minutes, or the paper's recipes. Under torchrun: `torchrun --no-python aki-train run ...`."""


def main() -> None:
    """Entry point: what a user can fix is one line and exit code 2; 130 after Ctrl-C."""
    sys.exit(exit_code("aki-train", lambda: app(standalone_mode=False), "see --help"))
