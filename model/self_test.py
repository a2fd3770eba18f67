"""Does the attention that is configured really happen? Asked of the model itself, before any number of it is trusted.

A back end that drops a mask, or a wrong question-end token, makes a mutual model causal without a word: answers stay
fluent and only get worse. So the test looks at what reaches the logits, not at the mask that was asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

QUESTION = "What is in the picture?"


@torch.no_grad()
def self_test(model: Any, processor: Any) -> dict[str, Any]:
    """One picture, one question, four passes. Returns a record for `run.json`; `passed` says whether all is as
    configured.

    - `question_reaches_image`: largest change of the image rows' logits when one word of the question changes. Must be
    positive
      for "mma", and nothing for "causal" and "cca".
    - `question_reaches_earlier_text`: the same for the rows before the picture. Must be nothing.
    - `rows_unlike_causal`: first and last row that differ from a plainly causal pass. Must begin with the picture's
      first row for "mma" and "cca", and be none for "causal".

    "Nothing" is what two identical passes differ by (`noise`), zero on most devices.
    """
    inputs = _inputs(model, processor)
    ids = inputs["input_ids"]
    image_rows = (ids[0] == model.config.image_token_id).nonzero().flatten()
    first, last = int(image_rows[0]), int(image_rows[-1])
    kind = model.config.attention
    logits = model(**inputs).logits[0].float()
    changed = model(**inputs | {"input_ids": _other_word(ids, last, processor)}).logits[0].float()
    with attention_set_to(model, "causal"):
        causal = model(**inputs).logits[0].float()
    noise = float(_row_change(logits, model(**inputs).logits[0].float()).max())
    by_word, by_mask = _row_change(logits, changed), _row_change(logits, causal)
    unlike = (by_mask > noise).nonzero().flatten().tolist()
    record = {
        "attention": kind,
        "backend": model.config.text_config._attn_implementation,
        "question_end_token_id": model.config.question_end_token_id,
        "image_rows": [first, last],
        "num_rows": ids.shape[1],
        "question_reaches_image": float(by_word[first : last + 1].max()),
        "question_reaches_earlier_text": float(by_word[:first].max()) if first else 0.0,
        "rows_unlike_causal": [unlike[0], unlike[-1]] if unlike else None,
        "noise": noise,
    }
    return record | {"passed": _passed(record)}


def _passed(record: dict[str, Any]) -> bool:
    reaches = record["question_reaches_image"] > record["noise"]
    quiet = record["question_reaches_earlier_text"] <= record["noise"]
    unlike = record["rows_unlike_causal"]
    wanted = None if record["attention"] == "causal" else record["image_rows"][0]
    return quiet and (unlike and unlike[0]) == wanted and reaches == (record["attention"] == "mma")


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
    """The model with another kind of attention, for the length of a `with` block."""
    before = model.config.attention
    model.config.attention = kind
    try:
        yield
    finally:
        model.config.attention = before
