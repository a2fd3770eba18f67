"""`aki-train pretrain`: one kind of a recipe's stages."""

from __future__ import annotations

from ..machine import Machine
from .options import Data, Out, RecipeName, takes_machine
from .run import run_stages


@takes_machine
def pretrain(recipe: RecipeName, data: Data, out: Out, *, machine: Machine) -> None:
    """Run the pretraining stages only."""
    run_stages(recipe, data, out, machine, only="pretrain")
