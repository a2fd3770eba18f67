"""Conversations with AKI: turns, answers that come token by token with their probabilities, under any kind of mask.

What is asked and how it is answered is what an evaluation does: the same template, the same greedy decoding, the same
vectors of a picture. Only the mask may be another one, for as long as an answer takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

from benchmarks.errors import UserError
from benchmarks.records import ImageRef
from model.kinds import KINDS

from ..attention_maps import Attended, attend
from ..predictors.aki import AkiPredictor, Prepared
from .turns import Step, StreamedAnswer, Turn

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST_VOCABULARY = 1000
"""Tokens: less is a toy's. The toy world's models know 170, text backbones 32,000 and more."""


class Talker:
    """One model and those who ask it, one after the other."""

    def __init__(self, predictor: AkiPredictor, max_new_tokens: int = 256) -> None:
        self.predictor = predictor
        self.max_new_tokens = max_new_tokens
        self.own = _own_kind(predictor)
        self.kinds = _kinds(predictor, self.own)
        self._tested: set[str] = set()
        self._worker = ThreadPoolExecutor(1, "aki-demo")
        self._closing = Event()

    def load(self) -> None:
        """The weights, and whether the model's own mask does what it says.

        Raises:
            UserError: the checkpoint cannot be loaded, or fails that test.
        """
        with self._mask(self.own):
            pass

    @property
    def is_toy(self) -> bool:
        """Whether the model knows the toy world's words and no others."""
        return len(self.predictor.processor.tokenizer) < SMALLEST_VOCABULARY

    def close(self) -> None:
        """Ends the answer that is on its way after one more token."""
        self._closing.set()
        self._worker.shutdown(cancel_futures=True)

    def answer(self, turns: Sequence[Turn], kind: str, stop: Event) -> Iterator[StreamedAnswer]:
        """The answer to the last turn, as it grows.

        Made in a thread of its own, so that a page that is closed leaves the model free after one more token.

        Raises:
            UserError: no room for an answer, or the mask does not do what it says.
        """
        arrived: SimpleQueue[Step | Future[str]] = SimpleQueue()
        done = self._worker.submit(self._generate, list(turns), kind, stop, arrived)
        done.add_done_callback(arrived.put)
        steps: tuple[Step, ...] = ()
        try:
            while isinstance(found := arrived.get(), Step):
                steps = (*steps, found)
                yield StreamedAnswer(_said(steps), steps)
            yield StreamedAnswer(_said(steps), steps, found.result())
        except GeneratorExit:  # nobody listens any more
            stop.set()
            raise

    def _generate(self, turns: list[Turn], kind: str, stop: Event, arrived: SimpleQueue[Step | Future[str]]) -> str:
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        from .streaming import Ear, Until

        predictor = self.predictor
        with torch.inference_mode(), self._mask(kind):
            ids, pictures = self._ids(turns, kind)
            inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            if pictures:
                vectors = predictor.vectors(Prepared(ids, inputs["attention_mask"], pictures, {}))
                inputs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=vectors)}
            stops = list(predictor.processor.stop_token_ids)
            ear = Ear(predictor.processor.tokenizer, stops, arrived.put)
            predictor.model.generate(
                **inputs,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                num_beams=1,
                eos_token_id=stops,
                pad_token_id=predictor.processor.tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([ear.listen]),
                stopping_criteria=StoppingCriteriaList([Until(stop, self._closing)]),
                streamer=ear,
            )
        if ear.heard_end or stop.is_set() or self._closing.is_set():
            return "stop" if ear.heard_end else "ended"
        return "length" if ear.num_tokens >= self.max_new_tokens else "context"

    def look(self, turns: Sequence[Turn], kind: str) -> Attended | None:
        """Attention between the last question and the last picture; None without a picture.

        Raises:
            UserError: the conversation is too long, or the mask does not do what it says.
        """
        if not any(turn.picture for turn in turns) or not self.predictor.processor.tokenizer.is_fast:
            return None
        return self._worker.submit(self._look, turns, kind).result()

    def _look(self, turns: Sequence[Turn], kind: str) -> Attended:
        predictor = self.predictor
        with self._mask(kind):
            text, pictures = self.render(turns, kind)
            pixels = [picture.decode() for picture in pictures]
            return attend(predictor.model, predictor.processor, text, _plain(turns[-1].question), pixels)[0]

    def render(self, turns: Sequence[Turn], kind: str) -> tuple[str, list[ImageRef]]:
        """The prompt of the last turn, behind the earlier ones with their answers under this kind; and its pictures."""
        messages = []
        for turn in turns:
            image = [{"type": "image"}] if turn.picture else []
            messages.append({"role": "user", "content": [*image, {"type": "text", "text": _plain(turn.question)}]})
            if turn is not turns[-1]:
                said = [{"type": "text", "text": _plain(turn.answers[kind].text)}]
                messages.append({"role": "assistant", "content": said})
        text: str = self.predictor.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return text, [turn.picture for turn in turns if turn.picture]

    def _ids(self, turns: list[Turn], kind: str) -> tuple[Tensor, list[ImageRef]]:
        """(1, L) and the pictures."""
        processor, model = self.predictor.processor, self.predictor.model
        text, pictures = self.render(turns, kind)
        expanded = text.replace(processor.image_token, processor.image_token * processor.num_latents)
        ids = processor.tokenizer(expanded, add_special_tokens=False, return_tensors="pt")["input_ids"]
        limit = getattr(model.config.text_config, "max_position_embeddings", None)
        if limit is not None and ids.shape[1] >= limit:
            raise UserError(
                f"the conversation is {ids.shape[1]} tokens long, {processor.num_latents} for each picture, and the "
                f"model's context {limit}; begin a new one, or ask something shorter"
            )
        return ids.to(self.predictor.device), pictures

    @contextmanager
    def _mask(self, kind: str) -> Iterator[None]:
        """The model under a kind of mask, once it was seen to do what it says."""
        from model.self_test import attention_set_to, self_test

        model = self.predictor.model
        with nullcontext() if kind == self.own else attention_set_to(model, kind):
            if kind not in self._tested:
                record = self_test(model, self.predictor.processor)
                if not record["passed"]:
                    raise UserError(f"{KINDS[kind].title}: this mask does not reach the model's logits as it should")
                self._tested.add(kind)
            yield


def _own_kind(predictor: AkiPredictor) -> str:
    return str(predictor.attention or predictor.config.get("attention") or "mma")


def _kinds(predictor: AkiPredictor, own: str) -> tuple[str, ...]:
    """The model's own kind, then all that it can be asked under. cca needs its latents to lie in a square."""
    latents = int(predictor.config.get("num_latents") or 0)
    side = round(latents**0.5)
    squared = latents > 0 and side * side == latents and side % 2 == 0
    return (own, *(kind for kind in KINDS if kind != own and (kind != "cca" or squared)))


def _plain(text: str) -> str:
    from model.chat_template import as_plain_text

    return as_plain_text(text)


def _said(steps: Sequence[Step]) -> str:
    return "".join(step.text for step in steps).strip()
