"""Keys and values of a picture and all before it, kept for the next question about it. For causal models only.

Under causal attention what stands before a question does not depend on it: 18 questions of POPE about a picture need
its prefix once. Under any kind that lets a question reach the picture it does, and nothing is kept. Few pictures are
enough, for tables ask about a picture in a row.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Layers = list[tuple["Tensor", "Tensor"]]
"""(1, H, P, D) keys and values of every layer."""


class PrefixCache:
    """Prefixes by picture and beginning, the longest unused dropped first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._size = 0
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], Layers] = OrderedDict()

    def get(self, picture: str, beginning: tuple[int, ...]) -> Layers | None:
        key = (picture, beginning)
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, picture: str, beginning: tuple[int, ...], layers: Layers) -> None:
        size = _size(layers)
        if size > self.capacity or (picture, beginning) in self._kept:
            return
        self._kept[picture, beginning] = layers
        self._size += size
        while self._size > self.capacity:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _size(dropped)


def _size(layers: Layers) -> int:
    return sum(part.numel() * part.element_size() for pair in layers for part in pair)


def common_beginning(ids: Tensor, padding: Tensor, image_token_id: int) -> tuple[int, ...] | None:
    """The tokens up to each row's last latent, if all rows of a left-padded batch (B, L) begin alike and go on."""
    beginnings = set()
    for row, real in zip(ids.tolist(), padding.tolist(), strict=True):
        own = [token for token, is_real in zip(row, real, strict=True) if is_real]
        if image_token_id not in own or own[-1] == image_token_id:
            return None
        beginnings.add(tuple(own[: len(own) - own[::-1].index(image_token_id)]))
    return beginnings.pop() if len(beginnings) == 1 else None


def may_reuse(config: Any, length: int) -> bool:
    """Whether a prefix is the same for all questions, in a sequence of this length.

    It is where all layers are causal, no window ends within it, and no rotary frequency depends on its length.
    """
    text = config.text_config
    rope = getattr(text, "rope_parameters", None) or {}
    window = getattr(text, "sliding_window", None)
    switches = rope.get("rope_type") == "longrope" and length > rope["original_max_position_embeddings"]
    dynamic = rope.get("rope_type") == "dynamic"
    fits = window is None or window >= length
    return set(config.layer_kinds) == {"causal"} and fits and not switches and not dynamic


def with_prefix(ids: Tensor, padding: Tensor, num_prefix: int) -> tuple[Tensor, Tensor]:
    """(B, L) left-padded -> (B, P + T): every row begins with its prefix, and its padding stands behind that."""
    import torch

    moved_ids, moved_padding = ids.clone(), padding.clone()
    for row in range(len(ids)):
        pads = int((padding[row] == 0).sum())
        moved_ids[row] = torch.cat([ids[row, pads : pads + num_prefix], ids[row, :pads], ids[row, pads + num_prefix :]])
        moved_padding[row, :num_prefix] = 1
        moved_padding[row, num_prefix : num_prefix + pads] = 0
        moved_padding[row, num_prefix + pads :] = 1
    return moved_ids, moved_padding


def stacked(prefixes: list[Layers], text_config: Any) -> Any:
    """A cache for a batch of rows with these prefixes."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache(config=text_config)
    for layer in range(len(prefixes[0])):
        keys, values = (torch.cat([prefix[layer][part] for prefix in prefixes]) for part in (0, 1))
        cache.update(keys, values, layer)
    return cache


def filled(model: Any, beginning: tuple[int, ...], vectors: Tensor) -> list[Layers]:
    """Prefills the beginning with each of the pictures' vectors (M, N, T); returns each picture's keys and values."""
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    ids = torch.tensor([beginning], device=vectors.device).expand(len(vectors), -1)
    images = {"image": BaseModelOutputWithPooling(pooler_output=vectors)}
    cache = model.model(input_ids=ids, mm_encoder_outputs=images, use_cache=True).cache
    return [
        [(layer.keys[row : row + 1].clone(), layer.values[row : row + 1].clone()) for layer in cache.layers]
        for row in range(len(vectors))
    ]
