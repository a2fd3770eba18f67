"""What training costs: parameters, floating-point operations, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .recipe import Stage

WEIGHT, GRADIENT, MOMENTS = 4, 4, 8
"""Bytes of a parameter in fp32: itself, its gradient, AdamW's two moments. An average of it is another weight."""


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
    linear: Mapping[str, int] = field(default_factory=dict)
    """Inputs plus outputs of the backbone's linear layers, by the last part of their names: what an adapter's rank is
    multiplied with."""

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
            linear=_sides(model.model.language_model),
        )

    @property
    def trained(self) -> int:
        return self.resampler + self.language + self.embedding

    def trained_by(self, stage: Stage) -> int:
        """Parameters that a stage trains: everything but the tower, or adapters and resampler."""
        if stage.lora is None:
            return self.trained
        return self.resampler + stage.lora.rank * sum(self.linear.get(n, 0) for n in stage.lora.layers or self.linear)

    def training_flops(self, num_tokens: int, num_images: int, *, adapters: bool = False) -> float:
        """Of a step over so many positions (image vectors included) and pictures; the tower runs forward only.

        adapters: the backbone passes gradients on and makes none of its own.
        """
        return num_images * self._image_flops() + (4.0 if adapters else 6.0) * self.language * num_tokens

    @property
    def image_cost(self) -> float:
        """What a picture costs, in positions of the text backbone."""
        return self._image_flops() / (6.0 * self.language)

    def _image_flops(self) -> float:
        """The resampler's keys and values, about a quarter of it, are made of all patches; the rest runs on latents."""
        resampler_positions = self.num_patches / 4 + self.num_latents
        return 2 * self.vision * self.num_patches + 6 * self.resampler * resampler_positions

    def bytes_a_device(self, stage: Stage, num_devices: int) -> float:
        """Weights, gradients, optimizer and averages of fully sharded training; activations come on top."""
        each = GRADIENT + MOMENTS + (WEIGHT if stage.ema else 0)
        return (WEIGHT * (self.trained + self.vision) + each * self.trained_by(stage)) / num_devices

    def checkpoint_bytes(self, stage: Stage) -> int:
        """Weights, the optimizer's moments, and what adapters and averages are."""
        each = MOMENTS + (WEIGHT if stage.ema else 0) + (WEIGHT if stage.lora else 0)
        return WEIGHT * (self.trained + self.vision) + each * self.trained_by(stage)


def _sides(language_model: Any) -> dict[str, int]:
    sides: Counter[str] = Counter()
    for name, module in language_model.named_modules():
        if name.startswith("layers.") and hasattr(module, "in_features"):
            sides[name.rpartition(".")[2]] += module.in_features + module.out_features
    return dict(sides)


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
