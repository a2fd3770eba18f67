"""`aki-train plan`: what a recipe takes, and what is missing for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.console import PlainConsole

from .options import Peak, RecipeName, data_folder, say

if TYPE_CHECKING:
    from ..cost import Cost
    from ..plan import StagePlan
    from ..recipe import Recipe


def plan(
    recipe: RecipeName,
    data: Annotated[Path | None, typer.Option(parser=data_folder, metavar="PATH", help="Data root to check.")] = None,
    devices: Annotated[int, typer.Option(help="Number of GPUs.", min=1, max=1_000_000)] = 8,
    peak: Peak = 312.0,
    micro_batch: Annotated[int, typer.Option(help="Samples a GPU takes at once, on average.", min=1, max=65536)] = 8,
    mfu: Annotated[float, typer.Option(help="Share of the peak that training reaches.", min=0.01, max=1)] = 0.4,
) -> None:
    """Show stages, samples, tokens, memory and time of a recipe, and what is missing. Exit code 1 if something is."""
    from ..plan import missing_parts, model_cost, plan_stages
    from ..recipe import load_recipe

    chosen = load_recipe(recipe)
    cost = model_cost(chosen.model)
    stages = plan_stages(chosen, cost, num_devices=devices, peak_flops=peak * 1e12, mfu=mfu, micro_batch=micro_batch)
    _show_plan(chosen, cost, stages, devices)
    missing = [one.trouble for one in stages if one.trouble] + list(missing_parts(chosen, data))
    for line in missing:
        say(f"missing: {line}")
    raise typer.Exit(1 if missing else 0)


def _show_plan(recipe: Recipe, cost: Cost, stages: list[StagePlan], devices: int) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from ..plan import special

    table = Table(
        box=SIMPLE,
        title=f"{recipe.title}: {cost.trained / 1e9:.2f} B trained, {cost.vision / 1e9:.2f} B frozen parameters",
    )
    texts = ("stage", "attention", "order", "data")
    for heading in (*texts, "steps", "batch", "GPU's step", "idle", "samples", "tokens", "days"):
        justify: Any = "left" if heading in texts else "right"
        table.add_column(heading, justify=justify)
    for one in stages:
        stage = one.stage
        names = ", ".join(stage.data) if len(stage.data) < 3 else f"{len(stage.data)} sets"
        share = [f"{one.slots} x {one.rows}", f"{one.idle:.0%}"]
        totals = [f"{one.samples / 1e6:.2f}M", f"{one.tokens / 1e9:.2f}B"]
        sizes = [f"{stage.steps:,}", str(stage.batch_size), *share, *totals]
        order = "I&T" if stage.image_order == "image_first" else "T&I"
        table.add_row(stage.name, stage.attention, order, names, *sizes, f"{one.seconds / 86400:.2f}")
    PlainConsole().print(table)
    for one in stages:
        if words := special(one.stage):
            say(f"{one.stage.name}: {words}")
    say("GPU's step: micro-batches x samples on the fullest GPU; idle: where the batch cannot be divided evenly")
    say("tokens: every sample at its stage's maximum, image vectors included; days: at the given peak and MFU")
    sizes_of: dict[tuple[float, float], list[str]] = {}
    for one in stages:
        both = (cost.bytes_a_device(one.stage, devices) / 1e9, cost.checkpoint_bytes(one.stage) / 1e9)
        sizes_of.setdefault(both, []).append(one.stage.name)
    for (held, saved), names_of in sizes_of.items():
        where = "" if len(sizes_of) == 1 else f"{', '.join(names_of)}: "
        say(f"{where}each of {devices} GPUs holds {held:.1f} GB of weights, gradients and optimizer, plus activations")
        say(f"{where}a checkpoint takes {saved:.0f} GB")
