"""What the library needs to know about every AKI module: how it is initialised, split, and which back ends it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .backends import refuse_backend
from .configuration_aki import AkiConfig
from .resampler import Resampler, ResamplerLayer, near_identity


class AkiPreTrainedModel(PreTrainedModel):  # type: ignore[misc]  # to mypy the library's classes are Any
    """What the library needs to know about every AKI module."""

    if TYPE_CHECKING:  # when it runs, the library's business
        config: AkiConfig

    config_class = AkiConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ["ResamplerLayer"]  # noqa: RUF012 (the library's form)
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _supports_flash_attn = False  # it would drop the mask without a word
    _can_compile_fullgraph = True

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if not isinstance(module, Resampler):
            return
        init.normal_(module.latents, std=1.0)
        if self.config.resampler_init == "identity":
            std = 0.02
            for layer in cast(Iterable[ResamplerLayer], module.layers):
                for linear in (layer.attention.to_q, layer.attention.to_out):
                    init.copy_(linear.weight, near_identity(linear.weight, std))
                halves = [near_identity(half, std) for half in layer.attention.to_kv.weight.chunk(2)]
                init.copy_(layer.attention.to_kv.weight, torch.cat(halves))
            init.copy_(module.projection.weight, near_identity(module.projection.weight, std))

    def _check_and_adjust_attn_implementation(self, attn_implementation: str | None, *args: Any, **kwargs: Any) -> str:
        if isinstance(attn_implementation, str):
            refuse_backend(attn_implementation)
        chosen: str = super()._check_and_adjust_attn_implementation(attn_implementation, *args, **kwargs)
        return chosen
