"""Masks and positions, made of the kinds in `model.kinds`: dense for eager and sdpa, a predicate for flex_attention.

Nothing of the text backbone is patched: it gets a finished mask.

Letters: B rows of a batch, Q queries, K keys, N latents of a picture, L tokens.

Token types: 0 text, 1 image, 2, 3, ... further modalities, -1 the text token that ends a question. Generated tokens are
0, so they are plainly causal and end nobody's question (paper section 3.3: only the given input is unlocked).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .kinds import Tokens, find_kind

TEXT = 0
IMAGE = 1
QUESTION_END = -1
IGNORED = -100
"""The label of a token that is not learned, as torch's cross entropy takes it."""


def token_types(input_ids: Tensor, image_token_id: int, question_end_token_id: int | None) -> Tensor:
    """(B, L) ids -> (B, L) types."""
    types = torch.where(input_ids == image_token_id, IMAGE, TEXT)
    if question_end_token_id is None:
        return types
    return types.masked_fill(input_ids == question_end_token_id, QUESTION_END)


def layout(types: Tensor, num_latents: int, offset: int | Tensor = 0) -> Tokens:
    """(B, L) types of tokens that begin at place `offset` -> what the predicates need of them."""
    place = torch.arange(types.shape[-1], device=types.device).expand_as(types) + offset
    is_image = types == IMAGE
    running = is_image.cumsum(-1) - 1
    return Tokens(
        place=place,
        modality=types.clamp(min=TEXT),
        image=torch.where(is_image, running // num_latents, -1),
        ring=rings(num_latents, types.device)[running % num_latents],
        last_visible=last_visible(types, place),
        prompt_end=prompt_end(types, place),
    )


def last_visible(types: Tensor, place: Tensor) -> Tensor:
    """(B, L) types and places -> last place each token may see.

    For text its own, for other modalities the next question end, if there is one.

    This is the one reading of "the question" for several pictures and turns: a picture sees the prompt up to and
    including the first question end behind it, so each picture of one question sees all of that question, and a picture
    never sees the answer to its question nor the questions of later turns. A picture without a question end behind it
    (captions) is causal.
    """
    beyond = torch.iinfo(place.dtype).max
    ends = torch.where(types == QUESTION_END, place, beyond)
    next_end = ends.flip(-1).cummin(-1).values.flip(-1)
    return torch.where((types > TEXT) & (next_end < beyond), next_end, place)


def prompt_end(types: Tensor, place: Tensor) -> Tensor:
    """(B, L) types and places -> for each token the first question end behind the first picture, -1 without one.

    Templates may end the system's turn with the same token as a question, so ends before the picture do not count.
    Tokens behind a filled cache belong to no first prompt: it is answered, or was cut in two, which `generate` refuses.
    """
    is_end = (types == QUESTION_END) & ((types > TEXT).cumsum(-1) > 0)
    first = torch.where(is_end.any(-1), is_end.int().argmax(-1), -1)[:, None].expand_as(place)
    begins_here = place - torch.arange(types.shape[-1], device=types.device) == 0
    return torch.where(begins_here, first, -1)


def rings(num_latents: int, device: torch.device | str = "cpu") -> Tensor:
    """(N,) distance of each latent, in raster order, from the border of their square: min(r, c, W-1-r, W-1-c)."""
    side = max(1, round(num_latents**0.5))
    place = torch.arange(num_latents, device=device)
    row, column = place // side, place % side
    return torch.stack([row, column, side - 1 - row, side - 1 - column]).amin(0)


def mask_function(kind: str, queries: Tokens, keys: Tokens, query_offset: int | Tensor = 0) -> Callable[..., Tensor]:
    """The predicate as flex_attention wants it: f(batch, head, query, key) over absolute places.

    `queries` begins at place `query_offset`, `keys` at place 0.

    Raises:
        ValueError: an unknown kind.
    """
    sees = find_kind(kind).sees

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        query = Tokens(*(values[b, q - query_offset] for values in queries))
        return sees(query, Tokens(*(values[b, k] for values in keys)))

    return visible


def build_mask(
    kind: str,
    types: Tensor,
    *,
    num_latents: int,
    query_offset: int | Tensor = 0,
    key_offset: int = 0,
    key_length: int | None = None,
    padding: Tensor | None = None,
    window: int | None = None,
) -> Tensor:
    """(B, Q) types of the queries -> (B, 1, Q, K) bool, True = may see.

    query_offset: number of tokens already in the cache. key_offset, key_length: the part of the sequence that the
    layer's keys cover (the whole of it unless the cache is static or slides). padding: (B, anything) 1 = real, of the
    whole sequence; keys beyond its end are masked. window: keys at `query - window` and before are out of reach.

    Raises:
        ValueError: an unknown kind.
    """
    sees = find_kind(kind).sees
    key_length = types.shape[-1] if key_length is None else key_length
    tokens = layout(types, num_latents, query_offset)
    places = torch.arange(key_length, device=types.device)[None, None, :] + key_offset
    query, key = pairs(tokens, places, query_offset)
    visible = sees(query, key)
    if window is not None:
        visible = visible & (places > query.place - window)
    if padding is not None:
        visible = visible & _at(padding.bool(), places, False)
    return visible[:, None]


def pairs(tokens: Tokens, places: Tensor, query_offset: int | Tensor) -> tuple[Tokens, Tokens]:
    """What a predicate is asked about: all (B, L) tokens as queries, (B, L, 1), and the keys at (1, 1, K) places.

    Keys, (B, 1, K), are the queries themselves, and plain text where these are not.
    """
    within = places - query_offset
    return Tokens(*(values[:, :, None] for values in tokens)), Tokens(
        place=places,
        modality=_at(tokens.modality, within, TEXT),
        image=_at(tokens.image, within, -1),
        ring=_at(tokens.ring, within, -1),
        last_visible=places,  # these two are asked of who looks, never of who is seen
        prompt_end=places,
    )


def _at(values: Tensor, places: Tensor, default: int | bool) -> Tensor:
    """(B, L) values, (1, 1, K) places -> (B, 1, K) values at these places, `default` outside."""
    inside = (places >= 0) & (places < values.shape[-1])
    picked = values[:, places.clamp(0, values.shape[-1] - 1).flatten()][:, None]
    return torch.where(inside, picked, default)


def to_additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Bool -> 0 where visible, the dtype's minimum elsewhere: what eager and sdpa attention add to their scores."""
    zero = torch.zeros((), dtype=dtype, device=visible.device)
    return torch.where(visible, zero, torch.finfo(dtype).min)


def positions(kind: str, types: Tensor, padding: Tensor | None, num_latents: int) -> Tensor:
    """(B, L) places for rotary embeddings, padding not counted (its own place is 0).

    All kinds but cca: 0, 1, 2, ... cca: a latent stands at its picture's start + its ring, and a picture is half a side
    long, so that text behind it goes on at start + side / 2.
    """
    find_kind(kind)
    real = torch.ones_like(types) if padding is None else padding.to(types.dtype)
    if kind != "cca":
        return (real.cumsum(-1) - 1).clamp(min=0)
    is_image = types == IMAGE
    latent = (is_image.cumsum(-1) - 1) % num_latents
    half_side = round(num_latents**0.5) // 2
    step = torch.where(is_image, torch.where(latent == num_latents - 1, half_side, 0), 1) * real
    start = step.cumsum(-1) - step
    ring = rings(num_latents, types.device)[latent]
    return torch.where(is_image, start + ring, start) * real


def self_test(model: Any, processor: Any) -> dict[str, Any]:
    """Checks on the model itself that its attention is what its configuration says. See `model.self_test`."""
    from .self_test import self_test as run

    return run(model, processor)
