"""How much of everything a toy training takes. Needs no torch, so that command lines can name it at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ToyPlan:
    """How much of everything."""

    num_images: int = 6000
    num_captions: int = 6000
    vision_steps: int = 500
    caption_steps: int = 300
    sft_steps: int = 2600

    @property
    def key(self) -> str:
        """Names the training data that this plan needs."""
        return f"training-{self.num_images}-{self.num_captions}"
