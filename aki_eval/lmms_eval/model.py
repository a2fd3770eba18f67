"""The class that lmms-eval asks: AKI with its own mask, batching and cache of pictures, under lmms-eval's loop.

What it cannot do it refuses; a failure ends the run and is never an empty answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from tqdm import tqdm

from benchmarks.records import Prompt

from ..predictors import Predictor, make_predictor
from .messages import to_prompt

MOST_TOKENS = 512
"""Where a task says nothing."""


class AkiForLmmsEval(lmms):  # type: ignore[misc]
    """`--model aki --model_args pretrained=CKPT[,attention=KIND,image_order=ORDER,dtype=NAME]`."""

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        attention: str | None = None,
        attention_layers: str | None = None,
        image_order: str | None = None,
    ) -> None:
        """Finds the checkpoint (folder or Hub id), tests its mask, and says what it found.

        Raises:
            UserError: no checkpoint of AKI, or no such attention, order, device or type.
            ValueError: the mask does not do what the configuration says.
        """
        super().__init__()
        place = device or "auto"
        if place in ("auto", "cuda") and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            place = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        self.predictor: Predictor = make_predictor(
            pretrained,
            device=place,
            dtype=dtype,
            attention=attention,
            attention_layers=attention_layers,
            image_order=image_order,
        )
        record = self.predictor.self_test()
        if record is not None and not record["passed"]:
            raise ValueError(f"the attention mask of {pretrained} does not do what its configuration says: {record}")
        self.size = self.predictor.batch_size if batch_size in (None, "auto") else int(str(batch_size))

    @property
    def device(self) -> Any:
        """As torch knows it."""
        import torch

        return torch.device(self.predictor.device)

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """One greedy answer a request, in their order.

        Raises:
            ValueError: a task asks for what AKI does not do: sampling, beams, other media than pictures.
        """
        found: dict[int, GenerationResult] = {}
        order = sorted(range(len(requests)), key=lambda place: _limit(requests[place].args[2]))
        bar = tqdm(total=len(requests), disable=self._rank != 0, desc="AKI")
        for limit, places in groupby(order, key=lambda place: _limit(requests[place].args[2])):
            for batch in _batches(list(places), self.size):
                own = [requests[place] for place in batch]
                answers = self.predictor.predict([self._prompt(each) for each in own], limit)
                for place, request, answer in zip(batch, own, answers, strict=True):
                    if answer.text is None:
                        raise RuntimeError(f"no answer to {request.task_name} {request.doc_id}: {answer.error}")
                    context, _, settings, *_ = request.args
                    text = _cut(answer.text, settings.get("until"))
                    found[place] = GenerationResult(
                        text=text, token_counts=TokenCounts(output_tokens=answer.num_tokens)
                    )
                    self.cache_hook.add_partial("generate_until", (context, settings), text)
                bar.update(len(batch))
        bar.close()
        return [found[place] for place in range(len(requests))]

    def _prompt(self, request: Instance) -> Prompt:
        _, doc_to_messages, _, doc_id, task, split = request.args
        return to_prompt(doc_to_messages(self.task_dict[task][split][doc_id]), str(doc_id))

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Chats have none in lmms-eval; `aki-eval run --protocols likelihood` has."""
        raise NotImplementedError(
            "AKI answers chats (generate_until); aki-eval run --protocols likelihood has the other"
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """AKI was trained on single turns."""
        raise NotImplementedError("AKI answers one turn of the user, not several rounds")


def _limit(settings: Mapping[str, Any]) -> int:
    """The most new tokens; refuses what is not greedy."""
    if settings.get("do_sample") or (settings.get("temperature") or 0) > 0 or (settings.get("num_beams") or 1) > 1:
        asked = {name: settings.get(name) for name in ("do_sample", "temperature", "num_beams")}
        raise ValueError(f"AKI answers greedily; the task asks for {asked} (--gen_kwargs temperature=0,num_beams=1)")
    return int(settings.get("max_new_tokens") or settings.get("max_gen_toks") or MOST_TOKENS)


def _cut(text: str, until: str | Sequence[str] | None) -> str:
    """Up to the first of the strings at which the task ends an answer."""
    for end in [until] if isinstance(until, str) else until or ():
        if end:
            text = text.partition(end)[0]
    return text


def _batches(places: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    yield from (places[start : start + size] for start in range(0, len(places), size))
