"""`aki-train run`: a recipe's stages; `pretrain` and `sft` run one kind of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import UserError

from ..machine import Machine
from .options import Data, Out, RecipeName, alone_in, check_writable, say, takes_machine

if TYPE_CHECKING:
    from ..recipe import Kind, Recipe
    from ..run_recipe import Parts


@takes_machine
def run(recipe: RecipeName, data: Data, out: Out, *, machine: Machine) -> None:
    """Run all stages of a recipe that are not done yet."""
    run_stages(recipe, data, out, machine)


def run_stages(recipe: str, data: Path, out: Path, machine: Machine, only: Kind | None = None) -> None:
    """What the three commands do.

    Raises:
        UserError: something that the recipe needs is missing.
    """
    from ..plan import check_machine, missing_parts
    from ..recipe import load_recipe
    from ..run_recipe import run_recipe
    from ..stopping import Stopped

    chosen = load_recipe(recipe)
    check_writable(out)
    missing = list(missing_parts(chosen, data))
    if missing:
        more = f" (and {len(missing) - 1} more; `aki-train plan {recipe} --data {data}` lists them)"
        raise UserError(missing[0] + (more if len(missing) > 1 else ""))
    check_machine(chosen, machine, data)
    with alone_in(out):
        try:
            model = run_recipe(chosen, lambda: _assembled(chosen), data_root=data, out=out, machine=machine, only=only)
        except Stopped as stopped:
            say(f"{out}: {stopped}; the same command goes on from there")
            return
    say(f"{model}: done")


def _assembled(recipe: Recipe) -> Parts:
    import torch

    from model.assemble import assemble

    from ..run_recipe import Parts

    torch.manual_seed(recipe.stages[0].seed)  # what is new in the model is random, and a seed is to be a model
    choice = recipe.model
    made = assemble(choice.vision, choice.text, num_latents=choice.num_image_tokens, **choice.resampler.settings())
    return Parts(made.model, made.processor)
