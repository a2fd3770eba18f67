"""`aki-eval export RUN`: the run in the formats of other tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UserError
from benchmarks.files import folder_with_room
from benchmarks.printable import printable
from benchmarks.results.folder import RunFolder, open_run
from reports.cli import parse_formats
from reports.task_option import TaskFiles

from ..exports import every_eval_ever, inspect_log, lm_eval, parquet, trackers

Writer = Callable[[RunFolder, Path], list[Path]]
FILES: Mapping[str, Writer] = {
    "inspect": inspect_log.write,
    "every-eval-ever": every_eval_ever.write,
    "lm-eval": lm_eval.write,
    "lmms-eval": lm_eval.write,
    "parquet": parquet.write,
}
TRACKERS = ("tensorboard", "wandb", "trackio")
FORMATS = (*FILES, *TRACKERS)


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A scored run.")],
    formats: Annotated[str, typer.Option("--format", help=f"Comma-separated: {', '.join(FORMATS)}.")],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=folder_with_room, metavar="PATH", help="Folder to write into; a folder for each of several formats."
        ),
    ] = None,
    step: Annotated[int, typer.Option(help="Of training, for trackers.", min=0, max=2**62)] = 0,
    task: TaskFiles = None,
) -> None:
    """Write a run for other tools: inspect view, Every Eval Ever, lm-eval's readers, Parquet, trackers.

    inspect: a log a task (.eval where inspect_ai is installed, else its JSON). every-eval-ever: schema 0.3.0.
    lm-eval, lmms-eval: results_*.json and samples_*.jsonl. parquet: samples.parquet, a row a sample and protocol.
    tensorboard: event files. wandb, trackio: scalars and a table of samples, where they are installed.
    """
    names = parse_formats(formats, FORMATS)
    run = open_run(run_dir)
    for name in names:
        if name in ("wandb", "trackio"):
            typer.echo(trackers.write_tracker(run, name, step))
            continue
        if out is None:
            raise UserError(f"--format {name} writes files: say where with --out")
        folder = out if len(names) == 1 else out / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = trackers.write_tensorboard(run, folder, step) if name == "tensorboard" else FILES[name](run, folder)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
        for path in paths:
            typer.echo(printable(str(path)))
