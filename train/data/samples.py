"""What travels from the data sets to the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A record that could not be used: where it is and why. Skips are counted, listed and capped, never silent."""

    source: str
    record: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """One training sample before tokenisation.

    `prompt` is the user's turn, None for captions. `picture` holds what the model takes for the image, without batch
    dimension: `pixel_values` (3, height, width), or `vision_hidden_states` (patches, width) where the frozen tower's
    output has been computed before. `position` says where a stream stands after this item.
    """

    prompt: str | None
    answer: str
    picture: Mapping[str, torch.Tensor] | None
    source: str
    skipped: tuple[Skip, ...] = ()
    position: tuple[int, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What a batch tells the trainer beside its tensors."""

    skipped: tuple[Skip, ...]
    positions: Mapping[int, Any]
    num_samples: int
    num_images: int
    num_tokens: int
    """Positions with content, padding excluded."""
    num_positions: int
    """All positions of the batch, padding included."""
