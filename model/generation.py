"""How AKI takes part in `generate`: the prompt's token types travel along; what would break the mask is refused."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig
from transformers.cache_utils import Cache

from . import attention
from .backends import create_masks


class AkiGeneration:
    """Mix-in for the model class, placed before the library's `GenerationMixin`."""

    @staticmethod
    def create_masks_for_generate(
        config: PreTrainedConfig,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None,
        past_key_values: Cache | None,
        position_ids: Tensor | None = None,
        mm_token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The library calls this for static caches, so that compiled steps get finished masks."""
        if mm_token_type_ids is None:
            mm_token_type_ids = torch.zeros(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        return create_masks(config, inputs_embeds, attention_mask, past_key_values, mm_token_type_ids=mm_token_type_ids)

    def _prepare_model_inputs(
        self, inputs: Tensor | None, bos_token_id: Any, model_kwargs: dict[str, Any]
    ) -> tuple[Tensor, str | None, dict[str, Any]]:
        """Adds the prompt's token types. Later tokens are appended to them as plain text (type 0) by the library."""
        inputs, name, model_kwargs = super()._prepare_model_inputs(inputs, bos_token_id, model_kwargs)
        if name == "input_ids":
            self._check_prompt(inputs)
            if model_kwargs.get("mm_token_type_ids") is None:
                model_kwargs["mm_token_type_ids"] = self.model.token_types(inputs)
        if (vision := model_kwargs.pop("vision_hidden_states", None)) is not None:
            image = self.get_image_features(vision_hidden_states=vision)
            model_kwargs["mm_encoder_outputs"] = {"image": image}
        return inputs, name, model_kwargs

    def _check_prompt(self, input_ids: Tensor) -> None:
        limit = getattr(self.config.text_config, "max_position_embeddings", None)
        if input_ids.shape[1] == 0:
            raise ValueError("the prompt is empty; generation needs at least one token to go on from")
        if limit is not None and input_ids.shape[1] >= limit:
            raise ValueError(
                f"the prompt is {input_ids.shape[1]} tokens long (each picture counts {self.config.num_latents}) and "
                f"leaves no room to answer in the context of {limit}; shorten the prompt or use fewer pictures"
            )

    def _prepare_position_ids_for_generation(self, inputs_tensor: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
        types = model_kwargs.get("mm_token_type_ids")
        if self.config.attention != "cca" or types is None:
            return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        return attention.positions("cca", types, model_kwargs.get("attention_mask"), self.config.num_latents)

    def _validate_generation_mode(
        self, generation_mode: Any, generation_config: GenerationConfig, generation_mode_kwargs: dict[str, Any]
    ) -> None:
        if generation_config.prefill_chunk_size is not None:
            raise ValueError(
                "prefill_chunk_size parts a picture from the question behind it and changes the answer; leave it unset"
            )
        super()._validate_generation_mode(generation_mode, generation_config, generation_mode_kwargs)

    def generate_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: paged attention builds its own, causal masks."""
        raise ValueError("continuous batching drops AKI's attention mask and leaves the model causal; use generate()")
