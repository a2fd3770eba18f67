"""Tokens as `generate` makes them, each with its probability. Imports torch and transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any

from torch import Tensor, full
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from .turns import Step

MOST_ALTERNATIVES = 5
INCOMPLETE = "\ufffd"
"""What a tokenizer says for the first bytes of a character whose last ones are in the next token."""


class Ear(BaseStreamer):  # type: ignore[misc]  # transformers is untyped here
    """Hears each token as it is chosen, and tells it on with the likeliest ones at its place."""

    def __init__(self, tokenizer: Any, stops: Sequence[int], tell: Callable[[Step], None]) -> None:
        self.tokenizer, self.stops, self.tell = tokenizer, stops, tell
        self.listen = Listener()
        self.heard_end = False
        self._ids: list[int] = []
        self._told = ""
        self._prompt_passed = False

    @property
    def num_tokens(self) -> int:
        return len(self._ids)

    def put(self, value: Tensor) -> None:
        """The prompt, (1, L), then a token at a time, (1)."""
        if not self._prompt_passed:
            self._prompt_passed = True
            return
        token = int(value.flatten()[0])
        if token in self.stops:
            self.heard_end = True
        if self.heard_end:
            return
        self._ids.append(token)
        said = self.tokenizer.decode(self._ids, skip_special_tokens=True)
        piece = "" if said.endswith(INCOMPLETE) else said[len(self._told) :]
        self._told = said if piece else self._told
        chances = self.listen.chances
        likeliest = tuple((self.tokenizer.decode([each]), chance) for each, chance in chances.likeliest)
        self.tell(Step(piece, float(chances.all[token]), likeliest))

    def end(self) -> None:
        """A character that was never finished is left out, as in a decoded answer it would be."""


class Chances:
    """Probabilities (V) of one place, and the largest of them with their tokens."""

    def __init__(self, logits: Tensor) -> None:
        self.all = logits.float().softmax(-1).cpu()
        largest = self.all.topk(min(MOST_ALTERNATIVES, len(self.all)))
        self.likeliest = list(zip(largest.indices.tolist(), largest.values.tolist(), strict=True))


class Listener(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Changes nothing; keeps what the next token is chosen from."""

    chances: Chances

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.chances = Chances(scores[0])
        return scores


class Until(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped here
    """Ends an answer that nobody waits for any more."""

    def __init__(self, *stops: Event) -> None:
        self.stops = stops

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        import torch

        return full(
            (len(input_ids),), any(stop.is_set() for stop in self.stops), device=input_ids.device, dtype=torch.bool
        )
