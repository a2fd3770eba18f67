"""Does the attention that is configured really happen? Asked of the model itself, before any number of it is trusted.

A back end that drops a mask, or a wrong question-end token, makes a mutual model causal without a word: answers stay
fluent and only get worse. So the test looks at what reaches the logits, not at the mask that was asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .kinds import find_kind, kinds_by_layer

QUESTION = "What is in the picture?"


@torch.no_grad()
def self_test(model: Any, processor: Any) -> dict[str, Any]:
    """One picture, one question, a few passes.

    Returns a record for `run.json`; `passed` says whether all is as the kind of attention declares it
    (`model.kinds.KINDS`), and `failures` what is not.

    - `question_reaches_image`: largest change of the image rows' logits when one word of the question changes.
    - `question_reaches_earlier_text`: the same for the rows before the picture.
    - `later_latents_reach_earlier`: largest change of the picture's earlier rows behind the first layer when its last
      latent changes.
    - `rows_unlike_causal`: first and last row whose logits differ from a plainly causal pass; None when none does.

    - `layer_reached_by_question`: of a model whose layers have several kinds, the first that changes the image's rows
      when a word of the question changes.

    "Nothing" is what two identical passes differ by (`noise`), zero on most devices.
    """
    inputs = _inputs(model, processor)
    ids = inputs["input_ids"]
    image_rows = (ids[0] == model.config.image_token_id).nonzero().flatten()
    first, last = int(image_rows[0]), int(image_rows[-1])
    vectors = model.get_image_features(inputs.pop("pixel_values")).pooler_output
    plain = _pass(model, inputs, vectors)
    again = _pass(model, inputs, vectors)
    other_word = _pass(model, inputs | {"input_ids": _other_word(ids, last, processor)}, vectors)
    other_latent = _pass(model, inputs, _other_last_latent(vectors))
    with attention_set_to(model, "causal"):
        causal = _pass(model, inputs, vectors)
    noise = float(_row_change(plain.logits, again.logits).max())
    by_word = _row_change(plain.logits, other_word.logits)
    by_latent = _row_change(plain.first_layer, other_latent.first_layer)
    unlike = (_row_change(plain.logits, causal.logits) > noise).nonzero().flatten().tolist()
    record = {
        "attention": model.config.attention,
        "backend": model.config.text_config._attn_implementation,
        "question_end_token_id": model.config.question_end_token_id,
        "image_rows": [first, last],
        "num_rows": ids.shape[1],
        "question_reaches_image": float(by_word[first : last + 1].max()),
        "question_reaches_earlier_text": float(by_word[:first].max()) if first else 0.0,
        "later_latents_reach_earlier": float(by_latent[first:last].max()) if last > first else 0.0,
        "rows_unlike_causal": [unlike[0], unlike[-1]] if unlike else None,
        "noise": max(noise, float(_row_change(plain.first_layer, again.first_layer).max())),
    }
    if model.config.attention_layers:
        record["attention_layers"] = dict(model.config.attention_layers)
        record["num_layers"] = len(plain.layers)
        record["layer_reached_by_question"] = _first_reached(
            plain.layers, other_word.layers, first, last, record["noise"]
        )
    return record | {"passed": not failures(record)}


def _first_reached(one: list[Tensor], other: list[Tensor], first: int, last: int, noise: float) -> int | None:
    """The first layer behind which the picture's rows differ; None where none does."""
    changes = (float(_row_change(*both)[first : last + 1].max()) for both in zip(one, other, strict=True))
    return next((layer for layer, change in enumerate(changes) if change > noise), None)


def failures(record: dict[str, Any]) -> list[str]:
    """What the kind declares and the model does not do, or the other way round, as far as this prompt can show it.

    Args:
        record: as `self_test` makes it. Of one without evidence nothing can be said.

    Raises:
        ValueError: the record's kind is not known.
    """
    if "attention" not in record:
        return []
    names = kinds_by_layer(record["attention"], record.get("attention_layers"), record.get("num_layers", 1))
    kinds = [find_kind(name) for name in names]
    first, last = record["image_rows"]
    noise = record["noise"]
    reached = next((layer for layer, kind in enumerate(kinds) if kind.question_reaches_image), None)
    asked = (
        ("question_reaches_image", True, reached is not None),
        ("question_reaches_earlier_text", first > 0, any(kind.question_reaches_earlier_text for kind in kinds)),
        ("later_latents_reach_earlier", last > first, kinds[0].later_latents_reach_earlier),
    )
    found = [
        f"{name}: declared {'yes' if declared else 'no'}, measured a change of {record[name]:.3g} where nothing is "
        f"{noise:.3g}"
        for name, can_show, declared in asked
        if can_show and (record[name] > noise) != declared
    ]
    layer = record.get("layer_reached_by_question", reached)
    if layer != reached:
        found.append(f"first layer that the question reaches: declared {reached}, measured {layer}")
    rows = [{"prompt": 0, "image": first}[kind.first_row] for kind in kinds if kind.first_row]
    wanted = min(rows, default=None)
    unlike = record["rows_unlike_causal"]
    measured = unlike[0] if unlike else None
    if measured != wanted:
        said = ("none" if row is None else f"row {row}" for row in (wanted, measured))
        found.append("first row unlike causal attention: declared {}, measured {}".format(*said))
    return found


class _Pass(NamedTuple):
    """logits: (L, V). layers: (L, T) each, the hidden states behind the backbone's layers."""

    logits: Tensor
    layers: list[Tensor]

    @property
    def first_layer(self) -> Tensor:
        return self.layers[0]


def _pass(model: Any, inputs: dict[str, Tensor], vectors: Tensor) -> _Pass:
    images = {"image": BaseModelOutputWithPooling(pooler_output=vectors)}
    output = model(**inputs, mm_encoder_outputs=images, output_hidden_states=True)
    return _Pass(output.logits[0].float(), [states[0].float() for states in output.hidden_states[1:]])


def _other_last_latent(vectors: Tensor) -> Tensor:
    """(1, N, T) with the last latent's numbers in another order."""
    changed = vectors.clone()
    changed[:, -1] = vectors[:, -1].roll(1, dims=-1)
    return changed


def _inputs(model: Any, processor: Any) -> dict[str, Tensor]:
    """A prompt with one picture of fixed noise."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    parts = [{"type": "image", "image": Image.fromarray(noise)}, {"type": "text", "text": QUESTION}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        image_order="image_first",
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    return {name: values.to(model.device) for name, values in inputs.items() if name != "token_type_ids"}


def _other_word(ids: Tensor, last_image_row: int, processor: Any) -> Tensor:
    """(1, L) with the first ordinary token behind the picture replaced by another ordinary one."""
    special = set(processor.tokenizer.all_special_ids) | set(processor.tokenizer.added_tokens_decoder)
    places = range(last_image_row + 1, ids.shape[1])
    place = next((place for place in places if int(ids[0, place]) not in special), None)
    if place is None:
        raise ValueError(f"the tokenizer makes nothing but special tokens of {QUESTION!r}; the self-test needs a word")
    word = next(token for token in range(len(processor.tokenizer)) if token not in special | {int(ids[0, place])})
    changed = ids.clone()
    changed[0, place] = word
    return changed


def _row_change(one: Tensor, other: Tensor) -> Tensor:
    """(L, V), (L, V) -> (L,) largest difference in each row."""
    return (one - other).abs().amax(-1)


@contextmanager
def attention_set_to(model: Any, kind: str) -> Any:
    """The model with another kind of attention in all layers, for the length of a `with` block."""
    before = model.config.attention, model.config.attention_layers
    model.config.attention, model.config.attention_layers = kind, None
    try:
        yield
    finally:
        model.config.attention, model.config.attention_layers = before
