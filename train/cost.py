"""What training costs: parameters, floating-point operations, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BYTES_A_PARAMETER = 4 + 4 + 8
"""fp32 weight, gradient, and AdamW's two moments."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters by part. Counting rule: 2 operations a parameter and position forward, twice that backward.

    Attention's own products are left out: below 700 positions they are 2 % of a 3072-wide layer's.
    """

    vision: int
    resampler: int
    language: int
    """Without the embedding table, which is only looked up."""
    embedding: int
    num_patches: int
    num_latents: int

    @classmethod
    def of(cls, model: Any) -> Cost:
        """Of an AKI model, also one on the meta device."""
        embedding = model.get_input_embeddings().weight.numel()
        vision, resampler = _count(model.model.vision_tower), _count(model.model.resampler)
        total = sum(parameter.numel() for parameter in model.parameters())
        config = model.config.vision_config
        return cls(
            vision=vision,
            resampler=resampler,
            language=total - vision - resampler - embedding,
            embedding=embedding,
            num_patches=(config.image_size // config.patch_size) ** 2,
            num_latents=model.config.num_latents,
        )

    @property
    def trained(self) -> int:
        return self.resampler + self.language + self.embedding

    def training_flops(self, num_tokens: int, num_images: int) -> float:
        """Of a step over so many positions (image vectors included) and pictures; the tower runs forward only."""
        return num_images * self._image_flops() + 6.0 * self.language * num_tokens

    @property
    def image_cost(self) -> float:
        """What a picture costs, in positions of the text backbone."""
        return self._image_flops() / (6.0 * self.language)

    def _image_flops(self) -> float:
        """The resampler's keys and values, about a quarter of it, are made of all patches; the rest runs on latents."""
        resampler_positions = self.num_patches / 4 + self.num_latents
        return 2 * self.vision * self.num_patches + 6 * self.resampler * resampler_positions

    def bytes_a_device(self, num_devices: int) -> float:
        """Weights, gradients and optimizer of fully sharded training; activations come on top."""
        return (BYTES_A_PARAMETER * self.trained + 4 * self.vision) / num_devices

    @property
    def checkpoint_bytes(self) -> int:
        """Weights and the optimizer's moments."""
        return 4 * (self.trained + self.vision) + 8 * self.trained


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
