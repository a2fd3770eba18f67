"""The command `aki-train`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from benchmarks.errors import UserError
from benchmarks.printable import printable
from benchmarks.redaction import redact

from .commands.ablation import ablation
from .commands.convert import convert
from .commands.data import app as data_app
from .commands.plan import plan
from .commands.pretrain import pretrain
from .commands.run import run
from .commands.sft import sft
from .commands.toy import toy

USAGE_ERROR: Any = typer.BadParameter.__base__
"""Typer's name for every misuse of options, wherever it keeps it."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
for command in (toy, ablation, plan, run, pretrain, sft, convert):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aki-train {version('aki-toolkit')}")
        raise typer.Exit


@app.callback()
def aki_train(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train AKI: a toy in minutes, or the paper's recipes. Under torchrun: `torchrun --no-python aki-train run ...`."""


def main() -> None:
    """Entry point: what a user can fix is one line and exit code 2; 130 after Ctrl-C."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        _complain(str(error))
        code = 2
    except USAGE_ERROR as error:
        if error.format_message():  # empty when the help was shown for want of a command
            _complain(f"{error.format_message().replace('Value error, ', '')} (see --help)")
        code = 2
    except typer.Abort:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _complain(text: str) -> None:
    print("aki-train:", printable(" ".join(redact(text).split())), file=sys.stderr)
