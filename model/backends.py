"""Finished masks for the text backbone, in the form its attention back end wants.

eager and sdpa take an additive (B, 1, Q, K) mask, flex_attention a block mask. Any other back end is refused: it would
drop the mask and the model would be causal without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, and_masks, sliding_window_overlay

from . import attention
from .configuration_aki import AkiConfig
from .kinds import KINDS

SUPPORTED = ("eager", "sdpa", "flex_attention")


def refuse_backend(name: str) -> None:
    """Refuses back ends that would drop the mask.

    Raises:
        ValueError: the back end does not take an arbitrary mask.
    """
    if name not in SUPPORTED:
        raise ValueError(
            f"attn_implementation={name!r} would drop AKI's attention mask and leave the model causal; "
            f"use one of {', '.join(SUPPORTED)}"
        )


def create_masks(
    config: AkiConfig,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None,
    cache: Cache | None,
    *,
    mm_token_type_ids: Tensor,
) -> Any:
    """The mask, or a dict of masks by layer type for backbones that mix them (Qwen2).

    Of a model whose layers have several kinds of attention, all that by kind (`is_layered`).

    inputs_embeds (B, Q, anything) gives dtype and device; attention_mask (B, past + Q), 1 = real, None = no padding;
    mm_token_type_ids (B, Q).

    Raises:
        ValueError: the backbone has layers of a type for which no mask is known.
    """
    refuse_backend(config.get_text_config()._attn_implementation)
    kinds = dict.fromkeys(config.layer_kinds) if config.attention_layers else {config.attention: None}
    masks = {kind: _masks(config, kind, inputs_embeds, attention_mask, cache, mm_token_type_ids) for kind in kinds}
    return masks if config.attention_layers else masks[config.attention]


def is_layered(attention_mask: Any) -> bool:
    """Whether this is one mask (or dict of masks by layer type) for each kind of attention."""
    return isinstance(attention_mask, dict) and bool(attention_mask) and set(attention_mask) <= set(KINDS)


BY_LAYER = "masks_by_layer"
"""The keyword under which a mask for every layer travels through the backbone, which hands on what it does not know."""


def choose_mask(place: int, layer: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A forward pre-hook of the decoder layer at `place`: where each layer has a mask, it takes its own."""
    masks = kwargs.pop(BY_LAYER, None)
    return args, kwargs if masks is None else kwargs | {"attention_mask": masks[place]}


def _masks(
    config: AkiConfig,
    kind: str,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None,
    cache: Cache | None,
    mm_token_type_ids: Tensor,
) -> Any:
    """One kind's mask, or masks by layer type."""
    text = config.get_text_config()
    window = getattr(text, "sliding_window", None)
    layer_types = getattr(text, "layer_types", None)
    if layer_types is None:
        return _mask(config, kind, inputs_embeds, attention_mask, cache, mm_token_type_ids, 0, window)
    windows = {"full_attention": None, "sliding_attention": window}
    if unknown := set(layer_types) - set(windows):
        raise ValueError(f"no mask is known for layers of type {sorted(unknown)}; AKI supports {sorted(windows)}")
    return {
        each: _mask(
            config,
            kind,
            inputs_embeds,
            attention_mask,
            cache,
            mm_token_type_ids,
            layer_types.index(each),
            windows[each],
        )
        for each in dict.fromkeys(layer_types)
    }


def _mask(
    config: AkiConfig,
    kind: str,
    inputs_embeds: Tensor,
    attention_mask: Tensor | None,
    cache: Cache | None,
    types: Tensor,
    layer: int,
    window: int | None,
) -> Any:
    num_queries = inputs_embeds.shape[1]
    query_offset: int | Tensor = 0
    key_length, key_offset = num_queries, 0
    if cache is not None:
        query_offset = cache.get_query_offset(layer)
        key_length, key_offset = cache.get_mask_sizes(num_queries, layer)
    if config.get_text_config()._attn_implementation == "flex_attention":
        return _block_mask(config, kind, types, attention_mask, query_offset, key_length, key_offset, window)
    visible = attention.build_mask(
        kind,
        types,
        num_latents=config.num_latents,
        query_offset=query_offset,
        key_offset=key_offset,
        key_length=key_length,
        padding=attention_mask,
        window=window,
    )
    return attention.to_additive(visible, _dtype(inputs_embeds))


def _dtype(inputs_embeds: Tensor) -> torch.dtype:
    """The type attention computes in.

    Under autocast it is a narrower one, in which the wider one's minimum is -inf;
    rows of padding, where nothing is visible, must not depend on how a kernel treats that.
    """
    kind = inputs_embeds.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs_embeds.dtype


def _block_mask(
    config: AkiConfig,
    kind: str,
    types: Tensor,
    attention_mask: Tensor | None,
    query_offset: int | Tensor,
    key_length: int,
    key_offset: int,
    window: int | None,
) -> Any:
    """flex_attention's compressed mask, from the same predicate."""
    past = int(query_offset)
    queries = attention.layout(types, config.num_latents, past)
    num_keys = key_offset + key_length
    before = types.new_zeros((types.shape[0], past))
    after = types.new_zeros((types.shape[0], max(0, num_keys - past - types.shape[1])))
    keys = attention.layout(torch.cat([before, types, after], dim=1), config.num_latents)
    function = attention.mask_function(kind, queries, keys, past)
    if window is not None:
        function = and_masks(function, sliding_window_overlay(window))
    return ALL_MASK_ATTENTION_FUNCTIONS["flex_attention"](
        batch_size=types.shape[0],
        q_length=types.shape[1],
        kv_length=key_length,
        q_offset=past,
        kv_offset=key_offset,
        mask_function=function,
        attention_mask=None if attention_mask is None else attention_mask.bool(),
        device=types.device,
    )
