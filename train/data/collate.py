"""Samples into batches: chat frame, token ids, labels, padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from benchmarks.errors import UserError
from model.attention import IGNORED, QUESTION_END, token_types
from model.chat_template import as_plain_text

from . import templates
from .samples import Item, Notes, Skip

ImageOrder = Literal["image_first", "text_first"]
Truncation = Literal["open", "original"]
"""open: a sequence that is cut ends without end tokens, so that nobody learns to stop there. original: it keeps its
last one."""

_MARK = "\x00"
MOST_KNOWN = 4096


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Token ids with one id for each image vector, and what is learned of them."""

    input_ids: list[int]
    labels: list[int]


class Encoder:
    """Items to token ids.

    Args:
        processor: its chat template frames the prompt, its tokenizer makes the ids.
        num_image_tokens: image vectors that stand for one `<image>`.
        question_end_id: the token that ends the question; everything up to and including the first one is not learned.
        max_length: counted as in the paper, with one token for the whole image.

    Raises:
        UserError: the tokenizer lacks the token that ends an example, or the chat template the question's end.
    """

    def __init__(
        self,
        processor: Any,
        *,
        image_token_id: int,
        num_image_tokens: int,
        question_end_id: int,
        max_length: int,
        image_order: ImageOrder = "image_first",
        truncation: Truncation = "open",
    ) -> None:
        self.tokenizer = processor.tokenizer
        self.end_of_chunk_id = self.tokenizer.get_vocab().get(templates.END_OF_CHUNK)
        if self.end_of_chunk_id is None:
            raise UserError(f"the tokenizer has no token {templates.END_OF_CHUNK!r}; add it with add_special_tokens")
        self.image_token_id = image_token_id
        self.num_image_tokens = num_image_tokens
        self.question_end_id = question_end_id
        self.max_length = max_length
        self.image_order = image_order
        self.truncation = truncation
        self._known: dict[str, list[int]] = {}
        self.image_token = self.tokenizer.convert_ids_to_tokens(image_token_id)
        self._frames = {with_image: self._frame(processor, with_image) for with_image in (False, True)}
        self._question_ends = {
            with_image: self.tokenizer("".join(frame), add_special_tokens=False)["input_ids"].count(question_end_id)
            for with_image, frame in self._frames.items()
        }
        if not all(self._question_ends.values()):
            raise UserError(
                f"the chat template never sends token {question_end_id}, the end of a question: no image would see its "
                "question and no answer would be learned; set the processor's question end to one that it sends"
            )

    def text(self, item: Item) -> str:
        """The sample as text, beginning and end of sequence left out."""
        if item.prompt is None:
            return self._caption(self._plain(item.answer).strip())
        before, after = self._frames[item.picture is not None]
        return before + self._plain(item.prompt) + after + self._plain(item.answer)

    def __call__(self, items: Sequence[Item]) -> list[Encoded]:
        ids = self._ids([self.text(item) for item in items])
        return [self._encode(one, item) for one, item in zip(ids, items, strict=True)]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's ids. The latest are kept: samples are measured before they are dealt, and encoded afterwards."""
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.tokenizer(new, add_special_tokens=False)["input_ids"], strict=True))
        return [self._known[text] for text in texts]

    def _plain(self, text: str) -> str:
        """Data may speak of "<image>" or "<|end|>"; only the frame may place one."""
        plain: str = as_plain_text(text.replace(self.image_token, "image"))
        return plain

    def _caption(self, caption: str) -> str:
        first_image = self.image_order == "image_first"
        parts = (self.image_token, caption) if first_image else (caption, self.image_token)
        return "".join(parts)

    def _encode(self, ids: list[int], item: Item) -> Encoded:
        if self.tokenizer.bos_token_id is not None and ids[:1] != [self.tokenizer.bos_token_id]:
            ids = [self.tokenizer.bos_token_id, *ids]
        ends = [self.tokenizer.eos_token_id]
        if item.prompt is None:
            ends = [self.end_of_chunk_id, *ends]
        ids = self._truncate(ids, ends)
        learned_from = 1 if item.prompt is None else self._question_end(ids, item.picture is not None)
        labels = [IGNORED] * learned_from + ids[learned_from:]
        return self._expand(ids, labels)

    def _truncate(self, ids: list[int], ends: list[int]) -> list[int]:
        if len(ids) + len(ends) <= self.max_length:
            return ids + ends
        if self.truncation == "open":
            return ids[: self.max_length]
        return ids[: self.max_length - 1] + ends[-1:]

    def _question_end(self, ids: list[int], with_image: bool) -> int:
        """Index after the frame's last question end; the whole length when it was cut off (then nothing is learned).

        Where the token opens every turn (ChatML, Llama 3) the frame holds several, the system's first.
        """
        places = [place for place, token in enumerate(ids) if token == self.question_end_id]
        last = self._question_ends[with_image] - 1
        return places[last] + 1 if last < len(places) else len(ids)

    def _expand(self, ids: list[int], labels: list[int]) -> Encoded:
        if self.image_token_id not in ids:
            return Encoded(input_ids=ids, labels=labels)
        at, many = ids.index(self.image_token_id), self.num_image_tokens
        return Encoded(
            input_ids=ids[:at] + [self.image_token_id] * many + ids[at + 1 :],
            labels=labels[:at] + [IGNORED] * many + labels[at + 1 :],
        )

    def _frame(self, processor: Any, with_image: bool) -> tuple[str, str]:
        """What the chat template puts before and after the prompt, up to and including the assistant's cue."""
        parts: list[dict[str, str]] = [{"type": "text", "text": _MARK}]
        if with_image:
            parts.insert(0 if self.image_order == "image_first" else 1, {"type": "image"})
        conversation = [{"role": "user", "content": parts}]
        as_given = "image_first"  # whatever order the processor asks in; ours is made by hand
        rendered = processor.apply_chat_template(
            conversation, image_order=as_given, add_generation_prompt=True, tokenize=False
        )
        before, after = rendered.split(_MARK)
        return before, after


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Items to a batch: `input_ids`, `attention_mask`, `labels` (batch, length), the pictures stacked, and `notes`.

    Padding is on the right, to the longest sample of the batch; `pad_to` pads further (the original padded
    everything to its maximum). Pictures are stacked in the order of the samples that have one: text-only samples
    cost no vision.
    """

    encoder: Encoder
    pad_to: int | None = None
    blank: Mapping[str, torch.Tensor] | None = None
    """Picture of a row without labels, added to batches that have none. Several processes need it: all must go through
    all layers, or they wait for each other's shards and gradients for ever."""

    captions_as_questions: bool = False
    """Lets image tokens see the caption (mutual attention in pretraining, which leaks what is to be learned)."""

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        encoded = self.encoder(items)
        notes = _notes(items, encoded)
        if self.blank is not None and all(item.picture is None for item in items):
            items = [*items, Item(prompt=None, answer="", picture=self.blank, source="blank")]
            row = self.encoder(items[-1:])[0].input_ids
            encoded = [*encoded, Encoded(input_ids=row, labels=[IGNORED] * len(row))]
        length = max(self.pad_to or 0, *(len(one.input_ids) for one in encoded))
        pad = self.encoder.tokenizer.pad_token_id
        batch: dict[str, Any] = {
            "input_ids": _padded([one.input_ids for one in encoded], length, pad),
            "attention_mask": _padded([[1] * len(one.input_ids) for one in encoded], length, 0),
            "labels": _padded([one.labels for one in encoded], length, IGNORED),
        }
        batch.update(_stacked(items))
        if self.captions_as_questions:
            batch["mm_token_type_ids"] = self._question_types(batch["input_ids"], batch["attention_mask"])
        batch["notes"] = replace(notes, num_positions=len(items) * length)
        return batch

    def _question_types(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(B, L) types in which the whole caption is a question: its last token ends it."""
        types: torch.Tensor = token_types(input_ids, self.encoder.image_token_id, None)
        return types.scatter(1, attention_mask.sum(1, keepdim=True) - 1, QUESTION_END)


def _padded(rows: Sequence[Sequence[int]], length: int, value: int) -> torch.Tensor:
    return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])


def _stacked(items: Sequence[Item]) -> dict[str, torch.Tensor]:
    pictures = [item.picture for item in items if item.picture is not None]
    names = pictures[0] if pictures else ()
    return {name: torch.stack([picture[name] for picture in pictures]) for name in names}


def _notes(items: Sequence[Item], encoded: Sequence[Encoded]) -> Notes:
    skipped = [skip for item in items for skip in item.skipped]
    for item, one in zip(items, encoded, strict=True):
        if all(label == IGNORED for label in one.labels):
            skipped.append(
                Skip(source=item.source, record=item.answer[:80], reason="nothing left to learn after truncation")
            )
    return Notes(
        skipped=tuple(skipped),
        positions=dict(item.position for item in items if item.position is not None),
        num_samples=len(items),
        num_images=sum(item.picture is not None for item in items),
        num_tokens=sum(len(one.input_ids) for one in encoded),
        num_positions=0,
    )
