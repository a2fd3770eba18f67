"""The command `aki-train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.errors import UserError
from model.kinds import KINDS

from .commands.convert import convert
from .commands.data import app as data_app

if TYPE_CHECKING:
    from .cost import Cost
    from .recipe import Recipe
    from .run_recipe import Parts
    from .run_stage import Machine

USAGE_ERROR: Any = typer.BadParameter.__base__
"""Typer's name for every misuse of options, wherever it keeps it."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(data_app, name="data")
app.command()(convert)

RecipeName = Annotated[str, typer.Argument(help="A recipe's name (mma, dot, aki_4b, ...) or a TOML file.")]
Data = Annotated[Path, typer.Option(help="Data root: captions, vqav2, coco, ... lie below it.")]
Out = Annotated[Path, typer.Option(help="Folder of the run; a run that was cut off goes on from there.")]
MicroBatch = Annotated[int, typer.Option(help="Samples a process takes at once; the rest is accumulation.", min=1)]
Workers = Annotated[int, typer.Option(help="Data loader processes for each process.", min=0)]
SaveSteps = Annotated[int, typer.Option(help="Optimizer steps between checkpoints.", min=1)]
Keep = Annotated[int, typer.Option(help="Checkpoints that are kept.", min=1)]
Fsdp = Annotated[bool, typer.Option(help="Shard weights, gradients and optimizer over the processes (FSDP2).")]
Log = Annotated[str, typer.Option(help="Where else to log: tensorboard, wandb, or both with a comma between.")]
Peak = Annotated[
    float, typer.Option(help="Peak of one device in teraflops a second, dense bf16 (A100: 312, H100: 989).", min=1)
]


@app.callback()
def aki_train() -> None:
    """Train AKI: a toy in minutes, or the paper's recipes. Under torchrun: `torchrun --no-python aki-train run ...`."""


@app.command()
def toy(
    out: Annotated[Path, typer.Option(help="Folder of the model; training logs go to its `training` folder.")],
    full: Annotated[bool, typer.Option("--full", help="The long schedule.")] = False,
    attention: Annotated[str, typer.Option(help="Attention of fine-tuning, a kind of model/kinds.py.")] = "mma",
    seed: Annotated[int, typer.Option(help="Of weights, data order and pictures of the vision stage.")] = 0,
) -> None:
    """Train a tiny AKI on coloured shapes: vision tower, captions, instructions."""
    if attention not in KINDS:
        raise UserError(f"--attention {attention}: expected one of {', '.join(KINDS)}")
    _writable(out)
    from .toy.arithmetic import choose_kernels

    choose_kernels()  # before anything imports torch
    from .toy.build import FULL, QUICK, train_toy

    seconds = train_toy(out, FULL if full else QUICK, attention=attention, seed=seed)
    parts = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    typer.echo(f"{out}: model and processor saved; loss curves in {out / 'training'} ({parts})")


@app.command()
def plan(
    recipe: RecipeName,
    data: Annotated[Path | None, typer.Option(help="Data root to check.")] = None,
    devices: Annotated[int, typer.Option(help="Number of GPUs.", min=1)] = 8,
    peak: Peak = 312.0,
    mfu: Annotated[float, typer.Option(help="Share of the peak that training reaches.", min=0.01, max=1)] = 0.4,
) -> None:
    """Show stages, samples, tokens, memory and time of a recipe, and what is missing. Exit code 1 if something is."""
    from .plan import missing_parts, model_cost, plan_stages
    from .recipe import load_recipe

    chosen = load_recipe(recipe)
    cost = model_cost(chosen.model)
    stages = plan_stages(chosen, cost, num_devices=devices, peak_flops=peak * 1e12, mfu=mfu)
    _show_plan(chosen, cost, stages, devices)
    missing = list(missing_parts(chosen, data))
    for line in missing:
        typer.echo(f"missing: {line}")
    raise typer.Exit(1 if missing else 0)


@app.command()
def run(
    recipe: RecipeName,
    data: Data,
    out: Out,
    micro_batch: MicroBatch = 8,
    workers: Workers = 4,
    save_steps: SaveSteps = 500,
    keep: Keep = 2,
    fsdp: Fsdp = False,
    log: Log = "",
    peak: Peak = 312.0,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU.")] = False,
) -> None:
    """Run all stages of a recipe that are not done yet."""
    _run(recipe, data, out, _machine(micro_batch, workers, save_steps, keep, fsdp, log, peak, cpu), only=None)


@app.command()
def pretrain(
    recipe: RecipeName,
    data: Data,
    out: Out,
    micro_batch: MicroBatch = 8,
    workers: Workers = 4,
    save_steps: SaveSteps = 500,
    keep: Keep = 2,
    fsdp: Fsdp = False,
    log: Log = "",
    peak: Peak = 312.0,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU.")] = False,
) -> None:
    """Run the pretraining stages only."""
    _run(recipe, data, out, _machine(micro_batch, workers, save_steps, keep, fsdp, log, peak, cpu), only="pretrain")


@app.command()
def sft(
    recipe: RecipeName,
    data: Data,
    out: Out,
    micro_batch: MicroBatch = 8,
    workers: Workers = 4,
    save_steps: SaveSteps = 500,
    keep: Keep = 2,
    fsdp: Fsdp = False,
    log: Log = "",
    peak: Peak = 312.0,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the CPU.")] = False,
) -> None:
    """Run the fine-tuning stages; pretraining must be done in the same folder."""
    _run(recipe, data, out, _machine(micro_batch, workers, save_steps, keep, fsdp, log, peak, cpu), only="sft")


def _run(recipe: str, data: Path, out: Path, machine: Machine, only: str | None) -> None:
    from .plan import missing_parts
    from .recipe import load_recipe
    from .run_recipe import run_recipe

    chosen = load_recipe(recipe)
    _writable(out)
    missing = list(missing_parts(chosen, data))
    if missing:
        more = f" (and {len(missing) - 1} more; `aki-train plan {recipe} --data {data}` lists them)"
        raise UserError(missing[0] + (more if len(missing) > 1 else ""))
    model = run_recipe(chosen, lambda: _assembled(chosen), data_root=data, out=out, machine=machine, only=only)
    typer.echo(f"{model}: done")


def _assembled(recipe: Recipe) -> Parts:
    from model.assemble import assemble

    from .run_recipe import Parts

    choice = recipe.model
    made = assemble(choice.vision, choice.text, num_latents=choice.num_image_tokens, **choice.resampler)
    return Parts(made.model, made.processor)


def _machine(
    micro_batch: int, workers: int, save_steps: int, keep: int, fsdp: bool, log: str, peak: float, cpu: bool
) -> Machine:
    from .run_stage import Machine

    return Machine(
        micro_batch=micro_batch,
        workers=workers,
        save_steps=save_steps,
        keep_checkpoints=keep,
        fsdp=fsdp,
        gradient_checkpointing=not cpu,
        report_to=tuple(filter(None, log.split(","))),
        peak_flops=peak * 1e12,
        cpu=cpu,
    )


def _show_plan(recipe: Recipe, cost: Cost, stages: list[Any], devices: int) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=SIMPLE,
        title=f"{recipe.title}: {cost.trained / 1e9:.2f} B trained, {cost.vision / 1e9:.2f} B frozen parameters",
    )
    for heading in ("stage", "attention", "order", "data", "steps", "batch", "samples", "tokens", "days"):
        justify: Any = "left" if heading in ("stage", "attention", "order", "data") else "right"
        table.add_column(heading, justify=justify)
    for one in stages:
        stage = one.stage
        names = ", ".join(stage.data) if len(stage.data) < 3 else f"{len(stage.data)} sets"
        sizes = [f"{stage.steps:,}", str(stage.batch_size), f"{one.samples / 1e6:.2f}M", f"{one.tokens / 1e9:.2f}B"]
        order = "I&T" if stage.image_order == "image_first" else "T&I"
        table.add_row(stage.name, stage.attention, order, names, *sizes, f"{one.seconds / 86400:.2f}")
    Console().print(table)
    typer.echo("tokens: every sample at its stage's maximum, image vectors included; days: at the given peak and MFU")
    gigabytes = cost.bytes_a_device(devices) / 1e9
    typer.echo(f"each of {devices} GPUs holds {gigabytes:.1f} GB of weights, gradients and optimizer, plus activations")
    typer.echo(f"a checkpoint takes {cost.checkpoint_bytes / 1e9:.0f} GB")


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None


def main() -> None:
    """Entry point: what a user can fix is one line and exit code 2; 130 after Ctrl-C."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        _complain(str(error))
        code = 2
    except USAGE_ERROR as error:
        if error.format_message():  # empty when the help was shown for want of a command
            _complain(f"{error.format_message()} (see --help)")
        code = 2
    except typer.Abort:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _complain(text: str) -> None:
    print("aki-train:", " ".join(text.split()), file=sys.stderr)
