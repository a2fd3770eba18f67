"""`aki-eval score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.errors import UserError
from benchmarks.records import PromptStyle
from benchmarks.results.store import RunStore
from benchmarks.tasks import TASKS

from ..run.inputs import find_tasks, load
from ..run.score import JudgeOptions, score_inputs
from ..run.subset import from_record
from ..run.summary import explain_incomplete, how_to_ask, show_results


def score(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder.")],
    bench: Annotated[str, typer.Option(help="all, or names separated by commas.")] = "all",
    data: Annotated[str | None, typer.Option(help="Where the tables are now, if not where the run found them.")] = None,
    judge: Annotated[
        str, typer.Option(help="A model's name, offline, replay, none; auto: offline for toy data.")
    ] = "auto",
    judge_base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible server for the judge.")] = None,
    judge_budget: Annotated[float | None, typer.Option(help="Dollars the judge may cost.")] = None,
    judge_price: Annotated[str | None, typer.Option(help="IN/OUT in dollars per million tokens.")] = None,
    judge_repeats: Annotated[int, typer.Option(help="Verdicts a sample.", min=1)] = 1,
    judge_concurrency: Annotated[int, typer.Option(help="Judge requests at once.", min=1)] = 16,
    protocols: Annotated[str, typer.Option(help="More protocols than the usual, such as official.")] = "",
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Exit with 0 though samples are unscored.")
    ] = False,
) -> int:
    """Score stored predictions again; no model is loaded."""
    folder = RunStore(run_dir)
    run = folder.read_run()
    if run is None:
        raise UserError(f"{run_dir} is no run folder: it holds no run.json")
    names = [name for name in run["tasks"] if name in TASKS]
    tasks = [task for task in find_tasks(bench) if task.name in names]
    if not tasks:
        raise UserError(f"--bench {bench}: {run_dir} holds predictions for {', '.join(names) or 'nothing'}")
    options = JudgeOptions(
        name=judge,
        base_url=judge_base_url,
        budget=judge_budget,
        price=judge_price,
        repeats=judge_repeats,
        concurrency=judge_concurrency,
        protocols=tuple(name.strip() for name in protocols.split(",") if name.strip()),
    )
    with folder.locked():
        # Of imported answers nobody knows the prompts; scoring needs none.
        style: PromptStyle = "vlmevalkit" if run["prompts"] == "vlmevalkit" else "aki"
        inputs = load(tasks, data or run["data"]["source"], style, from_record(run["subset"]))
        results = score_inputs(folder, run, inputs, options)
    show_results(Console(), run_dir, results)
    return explain_incomplete(run_dir, results, allow_partial, how_to_ask(run))
