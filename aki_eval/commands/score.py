"""`aki-eval score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.catalogue import find_task, in_order
from benchmarks.console import PlainConsole
from benchmarks.errors import UserError
from benchmarks.records import PromptStyle
from benchmarks.results.record import RunRecord
from benchmarks.results.store import RunStore

from ..judges import JudgeOptions
from ..run.inputs import ALL, find_tasks, load, with_tables
from ..run.probing import probe_of
from ..run.score import score_inputs
from ..run.subset import from_record
from ..run.summary import explain_incomplete, how_to_ask, show_results
from .options import takes_judge


@takes_judge
def score(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.")],
    bench: Annotated[str, typer.Option(help="all, or names separated by commas.")] = "all",
    data: Annotated[str | None, typer.Option(help="Where the tables are now, if not where the run found them.")] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Exit with 0 though samples are unscored.")
    ] = False,
    *,
    judge: JudgeOptions,
) -> int:
    """Score stored predictions again; no model is loaded."""
    folder = RunStore(run_dir)
    run = folder.read_run()
    if run is None:
        raise UserError(f"{run_dir} is no run folder: it holds no run.json")
    names = list(run.tasks)
    tasks = [task for task in find_tasks(_named(run, bench)) if task.name in names]
    if not tasks:
        raise UserError(f"--bench {bench}: {run_dir} holds predictions for {', '.join(names) or 'nothing'}")
    with folder.alone("score"):
        # Of imported answers nobody knows the prompts; scoring needs none.
        style: PromptStyle = "vlmevalkit" if run.prompts == "vlmevalkit" else "aki"
        tasks, left_out = with_tables(tasks, data or run.data.source)
        inputs = load(tasks, data or run.data.source, style, from_record(run.subset), probe=probe_of(run))
        results = score_inputs(folder, run, inputs, judge)
    code = explain_incomplete(run_dir, results, allow_partial, how_to_ask(run), left_out)
    show_results(PlainConsole(), run_dir, results)
    return code


def _named(run: RunRecord, bench: str) -> str:
    """`all` is every task of the run; what is known by no name is said, and left alone."""
    if bench != ALL:
        return bench
    known = [name for name in in_order(run.tasks) if _is_known(name)]
    for name in run.tasks:
        if name not in known:
            print(f"aki-eval: {name} is left alone: name the file of its benchmark as --bench FILE.py", file=sys.stderr)
    return ",".join(known) or bench


def _is_known(name: str) -> bool:
    try:
        return find_task(name) is not None
    except UserError as error:
        print(f"aki-eval: {error}", file=sys.stderr)
        return False
