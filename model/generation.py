"""How AKI takes part in `generate`: the prompt's token types travel along; what would break the mask is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, PreTrainedConfig
from transformers.cache_utils import Cache
from transformers.utils import logging

from . import attention
from .backends import create_masks

if TYPE_CHECKING:  # what the mix-in is mixed into
    from .modeling_base import AkiPreTrainedModel as _Mixed
else:
    _Mixed = object

logger = logging.get_logger(__name__)


class AkiGeneration(_Mixed):
    """Mix-in for the model class, placed before the library's `GenerationMixin`."""

    @staticmethod
    def create_masks_for_generate(
        config: PreTrainedConfig,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None,
        cache: Cache | None,
        position_ids: Tensor | None = None,
        mm_token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The library calls this for static caches, so that compiled steps get finished masks.

        Raises:
            ValueError: the cache is static and attention is flex, or a prompt comes without mm_token_type_ids.
        """
        if config.get_text_config()._attn_implementation == "flex_attention":
            raise ValueError("static caches need dense masks, flex_attention takes none; use sdpa with a static cache")
        if mm_token_type_ids is None:
            if inputs_embeds.shape[1] > 1 and set(config.layer_kinds) != {"causal"}:
                raise ValueError("a prompt's mask needs mm_token_type_ids; without them it would be causal")
            mm_token_type_ids = torch.zeros(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        return create_masks(config, inputs_embeds, attention_mask, cache, mm_token_type_ids=mm_token_type_ids)

    def _prepare_model_inputs(
        self, inputs: Tensor | None, bos_token_id: Any, model_kwargs: dict[str, Any]
    ) -> tuple[Tensor, str | None, dict[str, Any]]:
        """Adds the prompt's token types. Later tokens are appended to them as plain text (type 0) by the library."""
        inputs, name, model_kwargs = super()._prepare_model_inputs(inputs, bos_token_id, model_kwargs)
        if name == "input_ids":
            self.check_prompt(inputs)
            if model_kwargs.get("mm_token_type_ids") is None:
                model_kwargs["mm_token_type_ids"] = self.model.token_types(inputs)
        if (vision := model_kwargs.pop("vision_hidden_states", None)) is not None:
            if model_kwargs.get("pixel_values") is not None or model_kwargs.get("mm_encoder_outputs"):
                raise ValueError("pass only one of pixel_values, vision_hidden_states and mm_encoder_outputs['image']")
            image = self.get_image_features(vision_hidden_states=vision)
            model_kwargs["mm_encoder_outputs"] = {"image": image}
        return inputs, name, model_kwargs

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As the library's; where long rope changes its frequencies the cache is worthless and all is computed anew."""
        if not is_first_iteration and self._rope_changes(cache, input_ids, kwargs.get("position_ids")):
            cache, next_sequence_length, is_first_iteration = None, None, True
        if (types := kwargs.get("mm_token_type_ids")) is not None:  # assisted decoding does not extend them
            kwargs["mm_token_type_ids"] = functional.pad(types, (0, max(0, input_ids.shape[1] - types.shape[1])))
        prepared: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=next_sequence_length,
            cache=cache,
            inputs_embeds=inputs_embeds,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        return prepared

    def _rope_changes(self, cache: Cache | None, input_ids: Tensor, position_ids: Tensor | None) -> bool:
        """Whether this step is the first beyond the length at which long rope changes its factors (Phi-3.5: 4096)."""
        rope = getattr(self.config.text_config, "rope_parameters", None) or {}
        if cache is None or rope.get("rope_type") != "longrope" or position_ids is None:
            return False
        limit: int = rope["original_max_position_embeddings"]
        if input_ids.shape[1] <= limit:
            return False
        if int(position_ids.max()) >= limit > int(position_ids.max(-1).values.min()):
            logger.warning_once(
                f"one row of the batch is beyond {limit} tokens, where long rope changes its factors, and another is "
                "not: all get the long ones, and the shorter may be answered otherwise than alone"
            )
        past = int(cache.get_seq_length())
        return int(position_ids.max()) >= limit > int(position_ids[:, :past].max())

    def _prepare_generated_length(self, generation_config: GenerationConfig, *args: Any, **kwargs: Any) -> Any:
        """As the library's, but an answer ends where the context does: nothing was ever trained beyond."""
        prepared = super()._prepare_generated_length(generation_config, *args, **kwargs)
        limit = getattr(self.config.text_config, "max_position_embeddings", None)
        if limit is not None and prepared.max_length > limit:
            prepared.max_length = limit
            prepared.min_length = min(prepared.min_length or 0, limit)
        return prepared

    def check_prompt(self, input_ids: Tensor) -> None:
        """Refuses (B, L) prompts that leave nothing to generate.

        Raises:
            ValueError: they are empty, or as long as the backbone's context.
        """
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
            usual: Tensor = super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
            return usual
        return attention.positions("cca", types, model_kwargs.get("attention_mask"), self.config.num_latents)

    def _validate_generation_mode(
        self, generation_mode: Any, generation_config: GenerationConfig, generation_mode_kwargs: dict[str, Any]
    ) -> None:
        if generation_config.prefill_chunk_size is not None:
            raise ValueError(
                "prefill_chunk_size parts a picture from the question behind it and changes the answer; leave it unset"
            )
        super()._validate_generation_mode(generation_mode, generation_config, generation_mode_kwargs)

    def _get_candidate_generator(self, *args: Any, model_kwargs: dict[str, Any], **kwargs: Any) -> Any:
        """An assistant is a plain text model: it sees placeholders for pictures, and none of what is AKI's alone."""
        assistant = kwargs.get("assistant_model")
        if isinstance(assistant, AkiGeneration):
            raise ValueError("an AKI model cannot assist: the pictures are not passed on to it; use a text model")
        if assistant is not None:
            ours = ("mm_token_type_ids", "mm_encoder_outputs", "position_ids")
            model_kwargs = {name: value for name, value in model_kwargs.items() if name not in ours}
        return super()._get_candidate_generator(*args, model_kwargs=model_kwargs, **kwargs)

    def generate_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: the library's own way in builds causal masks. `model.continuous` is ours.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "the library's continuous batching drops AKI's attention mask and leaves the model causal; use generate(), "
            "or model.continuous"
        )
