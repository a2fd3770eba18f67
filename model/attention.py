"""Who may see whom: modality-mutual attention (Eq. 5 and 6), causal attention (Eq. 2), concentric causal attention.

One predicate per kind, token types in, visibility out. `build_mask` broadcasts it into a dense mask; `mask_function`
gives the same predicate for flex_attention. Nothing of the text backbone is patched: it gets a finished mask.

Letters: B rows of a batch, Q queries, K keys, N latents of a picture, L tokens.

Token types: 0 text, 1 image, 2, 3, ... further modalities, -1 the text token that ends a question. Generated tokens are
0, so they are plainly causal and end nobody's question (paper section 3.3: only the given input is unlocked).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

TEXT = 0
IMAGE = 1
QUESTION_END = -1

KINDS = ("mma", "causal", "cca")


def check_kind(kind: str) -> None:
    """ValueError for anything but the three kinds: an unknown one must not turn out causal without a word."""
    if kind not in KINDS:
        raise ValueError(f"attention={kind!r}, expected one of {', '.join(map(repr, KINDS))}")


def token_types(input_ids: Tensor, image_token_id: int, question_end_token_id: int | None) -> Tensor:
    """(B, L) ids -> (B, L) types."""
    types = torch.where(input_ids == image_token_id, IMAGE, TEXT)
    if question_end_token_id is None:
        return types
    return types.masked_fill(input_ids == question_end_token_id, QUESTION_END)


class Layout(NamedTuple):
    """What the predicates ask of each token, all (B, L).

    modality: type with the question end counted as text. horizon: the last place the token may see. image: the running
    number of the picture it belongs to, -1 for others. ring: distance of a latent from the border of its square (CCA).
    """

    modality: Tensor
    horizon: Tensor
    image: Tensor
    ring: Tensor


def layout(types: Tensor, num_latents: int) -> Layout:
    """(B, L) types -> what the predicates need."""
    is_image = types == IMAGE
    running = is_image.cumsum(-1) - 1
    image = torch.where(is_image, running // num_latents, -1)
    ring = rings(num_latents, types.device)[running % num_latents]
    return Layout(types.clamp(min=TEXT), horizon(types), image, ring)


def horizon(types: Tensor) -> Tensor:
    """(B, L) -> last place each token may see: for text itself, for other modalities the next question end, if there is
    one.

    This is the one reading of "the question" for several pictures and turns: a picture sees the prompt up to and
    including the first question end behind it, so each picture of one question sees all of that question, and a picture
    never sees the answer to its question nor the questions of later turns. A picture without a question end behind it
    (captions) is causal.
    """
    length = types.shape[-1]
    place = torch.arange(length, device=types.device).expand_as(types)
    ends = torch.where(types == QUESTION_END, place, length)
    next_end = ends.flip(-1).cummin(-1).values.flip(-1)
    return torch.where((types > TEXT) & (next_end < length), next_end, place)


def rings(num_latents: int, device: torch.device | str = "cpu") -> Tensor:
    """(N,) distance of each latent, in raster order, from the border of their square: min(r, c, W-1-r, W-1-c)."""
    side = max(1, round(num_latents**0.5))
    place = torch.arange(num_latents, device=device)
    row, column = place // side, place % side
    return torch.stack([row, column, side - 1 - row, side - 1 - column]).amin(0)


def mma(query: Tensor, key: Tensor, horizon_q: Tensor, modality_q: Tensor, modality_k: Tensor) -> Tensor:
    """Eq. 6, of which Eq. 5 is the case of one picture before one text.

    M(i, j) = 0 where j <= i, or where m(i) != m(j) and j belongs to the question that i precedes; -inf elsewhere.
    Tokens of one picture, and of several pictures, see each other causally: they share a modality.
    """
    return (key <= query) | ((key <= horizon_q) & (modality_q != modality_k))


def cca(query: Tensor, key: Tensor, image_q: Tensor, image_k: Tensor, ring_q: Tensor, ring_k: Tensor) -> Tensor:
    """Concentric causal attention: in a picture a latent sees its ring and all rings around it; elsewhere causal."""
    same_image = (image_q == image_k) & (image_q >= 0)
    return torch.where(same_image, ring_k <= ring_q, key <= query)


def mask_function(kind: str, queries: Layout, keys: Layout, query_offset: int | Tensor = 0) -> Callable[..., Tensor]:
    """The predicate as flex_attention wants it: f(batch, head, query, key) over absolute places.

    `queries` begins at place `query_offset`, `keys` at place 0.
    """
    check_kind(kind)
    horizon_abs = queries.horizon + query_offset

    def visible(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        i = q - query_offset
        if kind == "mma":
            return mma(q, k, horizon_abs[b, i], queries.modality[b, i], keys.modality[b, k])
        if kind == "cca":
            return cca(q, k, queries.image[b, i], keys.image[b, k], queries.ring[b, i], keys.ring[b, k])
        return k <= q

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

    Raises ValueError for an unknown kind.
    """
    check_kind(kind)
    key_length = types.shape[-1] if key_length is None else key_length
    query = torch.arange(types.shape[-1], device=types.device)[None, :, None] + query_offset
    key = torch.arange(key_length, device=types.device)[None, None, :] + key_offset
    mine = layout(types, num_latents)
    if kind == "mma":
        theirs = _at(mine.modality, key - query_offset, TEXT)
        visible = mma(query, key, (mine.horizon + query_offset)[:, :, None], mine.modality[:, :, None], theirs)
    elif kind == "cca":
        image, ring = (_at(part, key - query_offset, -1) for part in (mine.image, mine.ring))
        visible = cca(query, key, mine.image[:, :, None], image, mine.ring[:, :, None], ring)
    else:
        visible = (key <= query).expand(types.shape[0], -1, -1)
    if window is not None:
        visible = visible & (key > query - window)
    if padding is not None:
        visible = visible & _at(padding.bool(), key, False)
    return visible[:, None]


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

    mma, causal: 0, 1, 2, ... cca: a latent stands at its picture's start + its ring, and a picture is half a side long,
    so that text behind it goes on at start + side / 2.
    """
    check_kind(kind)
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
