"""`aki-eval run`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.console import PlainConsole
from benchmarks.data.root import OFFICIAL, is_toy
from benchmarks.errors import UserError
from benchmarks.files import out_folder
from benchmarks.probes import PROBES
from benchmarks.records import PromptStyle

from ..judges import JudgeOptions
from ..predictors import Predictor, make_predictor
from ..predictors.endpoint import EndpointPredictor
from ..run.distributed import find_world
from ..run.dry_run import show_plan
from ..run.inputs import find_tasks
from ..run.loop import TooManyFailures
from ..run.probing import SETS, find_probes, with_probes
from ..run.progress import Progress
from ..run.run import RunOptions, RunResult
from ..run.run import run as run_all
from ..run.specification import command
from ..run.subset import parse
from ..run.summary import count_samples, explain_incomplete, show_results
from .options import Attention, AttentionLayers, Dtype, ImageOrder, takes_judge


@takes_judge
def run(
    bench: Annotated[
        str,
        typer.Option(
            help="Names separated by commas: of aki-eval list, all, installed, vlmevalkit:TABLE, FILE.py[:TASK]."
        ),
    ],
    model: Annotated[str, typer.Option(help="Checkpoint folder, Hub id, vlmevalkit:NAME or openai:NAME.")],
    data: Annotated[str, typer.Option(help="official, toy, or a folder of tables.")] = OFFICIAL,
    out: Annotated[
        Path | None, typer.Option(parser=out_folder, metavar="PATH", help="Run folder. Default: runs/<model>[-toy].")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="About N samples a task (whole clusters, nested), or ci.")] = None,
    prompts: Annotated[PromptStyle, typer.Option(help="Wording of the prompts.")] = "aki",
    batch_size: Annotated[str, typer.Option(help="auto or a number.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[Dtype, typer.Option(help="auto: as the checkpoint's.")] = "auto",
    attention: Attention = None,
    attention_layers: AttentionLayers = None,
    image_order: Annotated[
        ImageOrder | None, typer.Option(help="Of image and text in prompts. Default: the checkpoint's processor's.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible server, for openai:NAME.")] = None,
    concurrency: Annotated[int, typer.Option(help="Requests at once, for openai:NAME.", min=1, max=4096)] = 16,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Instead of each benchmark's own limit.", min=1, max=1_000_000)
    ] = None,
    check_batching: Annotated[
        int, typer.Option(help="Compare K samples alone and in batches first.", min=0, max=100_000)
    ] = 0,
    max_failure_rate: Annotated[float, typer.Option(help="Stop when more than this share of samples fails.")] = 0.1,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Exit with 0 though samples are unscored.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what the run folder holds.")] = False,
    join: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Work with the others at this run folder, now or later. Under torchrun, Slurm arrays, srun and "
            "Kubernetes' indexed jobs it always does.",
        ),
    ] = False,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"Ask the same in another way too, a run of its own below probes/: {', '.join((*PROBES, *SETS))}.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked, with an example a task.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network, for data or models.")] = False,
    *,
    judge: JudgeOptions,
) -> int:
    """Ask a model every question of the benchmarks, then score its answers. Run again to resume."""
    tasks = find_tasks(bench)
    predictor = make_predictor(
        model,
        device=device,
        dtype=dtype,
        base_url=base_url,
        concurrency=concurrency,
        offline=offline,
        attention=attention,
        image_order=image_order,
        attention_layers=attention_layers,
    )
    if offline:
        _forbid_network(model, predictor, judge)
    options = RunOptions(
        tasks=tasks,
        data=data,
        out=out or Path("runs") / (predictor.name + ("-toy" if is_toy(data) else "")),
        prompts=prompts,
        subset=parse(subset),
        batch_size=_batch_size(batch_size),
        judge=judge,
        max_new_tokens=max_new_tokens,
        max_failure_rate=max_failure_rate,
        check_batching=check_batching,
        fresh=fresh,
        join=join,
    )
    probes = find_probes(probe or [])
    if dry_run:
        for each in with_probes(options, probes):
            show_plan(each, predictor, PlainConsole())
        return 0
    return _work_all(list(with_probes(options, probes)), predictor, allow_partial)


def _forbid_network(model: str, predictor: Predictor, judge: JudgeOptions) -> None:
    """Refuses what needs a network. A server under a base URL is taken to be near.

    Raises:
        UserError: the model or the judge is asked over the internet.
    """
    if isinstance(predictor, EndpointPredictor) and predictor.server.address.is_openai:
        raise UserError(f"--offline: {model} is asked over the internet; give a server of yours as --base-url")
    if judge.is_served and judge.served.server.address.is_openai:
        raise UserError(
            f"--offline: the judge {judge.name} is asked over the internet; use --judge offline, replay or none"
        )
    os.environ["HF_HUB_OFFLINE"] = "1"


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UserError(f"--batch-size: {text!r}, expected auto or a positive number")
    return int(text)


def _work_all(runs: Sequence[RunOptions], predictor: Any, allow_partial: bool) -> int:
    """One after the other, with the same predictor; the exit code of the first that was stopped, else the worst."""
    worst = 0
    for options in runs:
        if options.probe is not None and find_world().is_main:
            print(f"\nprobe {options.probe.name}: {options.probe.does}", file=sys.stderr)
            for task in options.tasks:
                if reason := options.probe.why_not(task):
                    print(f"  {task.name} is not asked: {reason}", file=sys.stderr)
        if options.probe is not None and all(options.probe.why_not(task) for task in options.tasks):
            continue
        code, stopped = _work(options, predictor, allow_partial)
        if stopped:
            return code
        worst = max(worst, code)
    if len(runs) > 1 and find_world().is_main:
        print(f"\nwhat the probes say: aki-eval probes {runs[0].out}", file=sys.stderr)
    return worst


def _work(options: RunOptions, predictor: Any, allow_partial: bool) -> tuple[int, bool]:
    """The exit code, and whether the work was stopped."""
    progress = Progress(quiet=not find_world().is_main)
    try:
        result = run_all(options, predictor, progress)
    except KeyboardInterrupt:
        progress.say(
            f"stopped; every answer up to the last batch is in {options.out}. To go on:\n  {_resume_command()}"
        )
        return 130, True
    except TooManyFailures as error:
        progress.say(f"stopped: {error}\nTo ask the failed samples again, repeat the command:\n  {_resume_command()}")
        return 1, True
    return _conclude(options, result, progress, allow_partial), False


def _conclude(options: RunOptions, result: RunResult, progress: Progress, allow_partial: bool) -> int:
    if result.num_predicted:
        outside = 1 - result.seconds_in_model / max(result.seconds, 1e-9)
        progress.say(
            f"{count_samples(result.num_predicted)} in {result.seconds:.1f} s "
            f"({result.num_predicted / max(result.seconds, 1e-9):.1f}/s, {outside:.0%} of it outside the model)"
        )
    if not result.scored:
        return 0
    code = explain_incomplete(options.out, result.results, allow_partial, left_out=result.left_out)
    show_results(PlainConsole(), options.out, result.results)
    return code


def _resume_command() -> str:
    return shlex.join(argument for argument in command() if argument != "--fresh")
