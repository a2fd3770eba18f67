"""`aki-train sft`: one kind of a recipe's stages."""

from __future__ import annotations

from ..machine import Machine
from .options import Data, Out, RecipeName, takes_machine
from .run import run_stages


@takes_machine
def sft(recipe: RecipeName, data: Data, out: Out, *, machine: Machine) -> None:
    """Run the fine-tuning stages; pretraining must be done in the same folder."""
    run_stages(recipe, data, out, machine, only="sft")
