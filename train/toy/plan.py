"""How much of everything a toy training takes. Needs no torch, so that command lines can name it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

World = Literal["toy", "laboratory"]
"""toy: taught as the demo's model is. laboratory: taught so that masks can be told apart (`training/laboratory.py`)."""


@dataclass(frozen=True, kw_only=True)
class ToyPlan:
    """How much of everything."""

    num_images: int = 6000
    num_captions: int = 6000
    vision_steps: int = 500
    caption_steps: int = 300
    sft_steps: int = 2600
    world: World = "toy"

    @property
    def key(self) -> str:
        """Names the training data that this plan needs."""
        name = "training" if self.world == "toy" else self.world
        return f"{name}-{self.num_images}-{self.num_captions}"


LABORATORY = ToyPlan(
    num_images=12_000, num_captions=16_000, vision_steps=500, caption_steps=1200, sft_steps=4000, world="laboratory"
)
"""What `aki-train ablation --data toy` trains."""
