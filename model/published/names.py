"""Between published AKI checkpoints (or training checkpoints) and ours: one table of names, both directions exact.

The published state dict has names of its own; a text embedding and a head of 32064 rows of which the first 32012 are in
use, with `<image>` and `<|endofchunk|>` in two small tensors beside them; a bias on the head; and SigLIP's pooling
head, which is never looked at. Ours has one embedding and one head of 32014 rows. What we have no place for - unused
rows, the pooling head - is the `Rest`: kept beside converted weights so that the way back loses not one bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, SiglipVisionConfig, SiglipVisionModel

Get = Callable[[str], Tensor]
Shapes = Mapping[str, tuple[int, ...]]

_NAMES = (
    # ours, the published one
    (r"model\.vision_tower\.", "vision_encoder."),
    (r"model\.resampler\.layers\.(\d+)\.attention\.", r"vision_tokenizer.layers.\1.0."),
    (r"model\.resampler\.layers\.(\d+)\.norm\.", r"vision_tokenizer.layers.\1.1.0."),
    (r"model\.resampler\.layers\.(\d+)\.up\.", r"vision_tokenizer.layers.\1.1.1."),
    (r"model\.resampler\.layers\.(\d+)\.down\.", r"vision_tokenizer.layers.\1.1.3."),
    (r"model\.resampler\.", "vision_tokenizer."),
    (r"model\.language_model\.", "lang_model.model."),
    (r"lm_head\.", "lang_model.lm_head."),
)

EMBEDDING = "lang_model.model.embed_tokens.weight"
_ADDITIONAL = {
    EMBEDDING: "lang_model.model.embed_tokens.additional_embedding.weight",
    "lang_model.lm_head.weight": "lang_model.lm_head.additional_fc.weight",
    "lang_model.lm_head.bias": "lang_model.lm_head.additional_fc.bias",
}
"""Tensors that come in two parts: the backbone's rows, and those of the tokens AKI added."""

POOLING_HEAD = "vision_encoder.head."


@dataclass(frozen=True)
class ShapePlan:
    """Both sides' shapes. `base`: rows in use of the tensors in two parts; `rows`: rows they have in all."""

    ours: Shapes
    published: Shapes
    base: int
    rows: int


def published_name(name: str) -> str:
    """Our name of a tensor -> its published name (that of the first part, where there are two).

    Raises:
        ValueError: it is no tensor of an AKI model.
    """
    for pattern, replacement in _NAMES:
        renamed, count = re.subn("^" + pattern, replacement, name)
        if count:
            return renamed
    raise ValueError(f"{name!r} is no tensor of an AKI model")


def plan_shapes(model_class: Any, config: PreTrainedConfig, rows: int, num_added: int = 2) -> ShapePlan:
    """Shapes of every tensor on both sides, from a model of ours on the meta device (no memory).

    Raises:
        ValueError: the embedding has fewer rows than the original tokenizer has words.
    """
    with torch.device("meta"):
        model = model_class(config)
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    base = config.text_config.vocab_size - num_added
    if rows < base:
        raise ValueError(f"{EMBEDDING} has {rows} rows, expected at least {base}, the length of the original tokenizer")
    published: dict[str, tuple[int, ...]] = {}
    for name, shape in ours.items():
        theirs = published_name(name)
        published[theirs] = (rows, *shape[1:]) if theirs in _ADDITIONAL else shape
        if theirs in _ADDITIONAL:
            published[_ADDITIONAL[theirs]] = (num_added, *shape[1:])
    return ShapePlan(ours, published | _pooling_head_shapes(config), base, rows)


def _pooling_head_shapes(config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        tower = SiglipVisionModel(SiglipVisionConfig(**config.vision_config.to_dict() | {"vision_use_head": True}))
    return {POOLING_HEAD + name: tuple(value.shape) for name, value in tower.head.state_dict().items()}


def to_ours(plan: ShapePlan, get: Get) -> Iterator[tuple[str, Tensor]]:
    """Our tensors one by one; `get` reads a published one by name."""
    for name in plan.ours:
        theirs = published_name(name)
        if theirs in _ADDITIONAL:
            yield name, torch.cat([get(theirs)[: plan.base], get(_ADDITIONAL[theirs])])
        else:
            yield name, get(theirs)


def rest_of(plan: ShapePlan, get: Get, names: set[str]) -> dict[str, Tensor]:
    """What our side has no place for, by published names: unused rows, and the pooling head if it is in `names`."""
    unused = {name: get(name)[plan.base :].clone() for name in _ADDITIONAL if name in plan.published}
    return unused | {name: get(name) for name in plan.published if name.startswith(POOLING_HEAD) and name in names}


def to_published(plan: ShapePlan, get: Get, rest: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Published tensors one by one; `get` reads ours by name. Without `rest`: zero unused rows, no pooling head."""
    for name in plan.ours:
        theirs = published_name(name)
        tensor = get(name)
        if theirs in _ADDITIONAL:
            unused = rest.get(theirs, tensor.new_zeros((plan.rows - plan.base, *tensor.shape[1:])))
            yield theirs, torch.cat([tensor[: plan.base], unused.to(tensor.dtype)])
            yield _ADDITIONAL[theirs], tensor[plan.base :].clone()
        else:
            yield theirs, tensor
    yield from ((name, tensor) for name, tensor in rest.items() if name.startswith(POOLING_HEAD))


def check_shapes(found: Shapes, expected: Shapes, what: str, optional: str | None = None) -> None:
    """Compares tensors' shapes with those of a configuration. `optional`: a prefix that may be absent.

    Raises:
        ValueError: one is missing, unexpected or misshapen; every such one is named.
    """
    missing = [name for name in expected if name not in found and not (optional and name.startswith(optional))]
    unexpected = [name for name in found if name not in expected]
    misshapen = [
        f"{name} {list(found[name])} instead of {list(expected[name])}"
        for name in found
        if name in expected and tuple(found[name]) != tuple(expected[name])
    ]
    faults = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    if any(faults.values()):
        listed = "; ".join(f"{len(names)} {kind}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise ValueError(f"{what} is no AKI checkpoint of the configured size: {listed}")
