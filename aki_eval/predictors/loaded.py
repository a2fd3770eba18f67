"""Models that their caller has loaded already: AKI, or any image-text-to-text model of transformers.

They are asked as they are: on their device, in their dtype, with their generation config's stop tokens; greedily.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import Prompt

from .aki import CACHE_MEGABYTES, AkiPredictor, FeatureCache
from .base import Generation, Logprobs, Predictor
from .prefixes import PrefixCache
from .template_check import try_template


def from_loaded(model: Any, processor: Any) -> Predictor:
    """A predictor for a model and its processor.

    Raises:
        UserError: the two are none, or the processor has no chat template.
    """
    if not callable(getattr(model, "generate", None)):
        raise UserError(f"model: the first of the pair is a {type(model).__name__}, which has no generate()")
    if not (callable(getattr(processor, "apply_chat_template", None)) and hasattr(processor, "tokenizer")):
        raise UserError(
            f"model: the second of the pair is a {type(processor).__name__}; expected the processor, which turns "
            "pictures and text into the model's inputs (AutoProcessor.from_pretrained)"
        )
    if getattr(model.config, "model_type", None) == "aki":
        return LoadedAkiPredictor(model, processor)
    return LoadedPredictor(model, processor)


@contextmanager
def in_eval_mode(model: Any) -> Iterator[None]:
    """Without dropout while the block runs; a model in training goes on training after it."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def state_checksum(model: Any) -> str:
    """sha256 over names, types, shapes and values of all weights and buffers."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _settings_checksum(model: Any, processor: Any) -> str:
    """sha256 over what else decides the answers: configuration, chat template, vocabulary and picture settings."""
    tokenizer = processor.tokenizer
    pictures = getattr(processor, "image_processor", None)
    settings = {
        "config": model.config.to_dict(),
        "generation": model.generation_config.to_dict() if getattr(model, "generation_config", None) else None,
        "template": getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None),
        "vocabulary": tokenizer.get_vocab(),
        "pictures": pictures.to_dict() if pictures is not None else None,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def _name(model: Any) -> str:
    """Of the folder or repository it came from, else of its class."""
    return Path(str(getattr(model.config, "_name_or_path", ""))).name or type(model).__name__


def _described(model: Any, processor: Any) -> dict[str, Any]:
    return {
        "path": getattr(model.config, "_name_or_path", None) or None,
        "weights_sha256": state_checksum(model),
        "settings_sha256": _settings_checksum(model, processor),
        "dtype": str(model.dtype).removeprefix("torch."),
    }


class LoadedAkiPredictor(AkiPredictor):
    """AKI as its caller has it, with the mask's self-test and the cache of pictures of a checkpoint's predictor."""

    def __init__(self, model: Any, processor: Any, cache_megabytes: int = CACHE_MEGABYTES) -> None:
        self.name = _name(model)
        self.device = str(model.device)
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.features = FeatureCache(cache_megabytes * 2**20)
        self.prefixes = PrefixCache(cache_megabytes * 2**20)
        self._lock = Lock()
        self._model = model
        self._processor = processor
        self._threads = None
        self._rendered = lru_cache(maxsize=4096)(self._render)
        self._behind = lru_cache(maxsize=65536)(self._tokens_behind)
        self._stop_ids = cache(lambda: list(processor.stop_token_ids))

    def describe(self) -> dict[str, Any]:
        made_by = {"attention": self._model.config.attention, "image_order": self._processor.image_order}
        if self._model.config.attention_layers:
            made_by["attention_layers"] = dict(self._model.config.attention_layers)
        return {"kind": "aki", **_described(self._model, self._processor), **made_by}

    def self_test(self) -> dict[str, Any]:
        """Every time anew: its caller may have trained it meanwhile."""
        with in_eval_mode(self._model):
            return self._test()

    def generate(self, prepared: Any, max_new_tokens: int) -> list[Generation]:
        with in_eval_mode(self._model):
            return super().generate(prepared, max_new_tokens)

    def continuation_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[Logprobs]:
        with in_eval_mode(self._model):
            return super().continuation_logprobs(prompts, continuations)


class LoadedPredictor:
    """Any model that its processor's chat template and `generate` are enough for."""

    batch_size = 8

    def __init__(self, model: Any, processor: Any) -> None:
        """Takes them as they are.

        Raises:
            UserError: the processor has no chat template.
        """
        self.name = _name(model)
        self.device = str(model.device)
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        if not (getattr(processor, "chat_template", None) or getattr(self.tokenizer, "chat_template", None)):
            raise UserError(f"model: the {type(processor).__name__} of {self.name} has no chat template to ask with")
        try_template(processor, f"model: {self.name}")
        self._special = sorted(self.tokenizer.all_special_tokens, key=len, reverse=True)

    def describe(self) -> dict[str, Any]:
        kind = {"kind": "transformers", "class": type(self.model).__name__}
        return kind | _described(self.model, self.processor)

    def self_test(self) -> None:
        """What a model of another kind promises about its mask is not known here."""
        return

    def render(self, prompt: Prompt) -> str:
        text: str = self.processor.apply_chat_template(
            self._conversation(prompt, with_pictures=False), add_generation_prompt=True, tokenize=False
        )
        return text

    def _conversation(self, prompt: Prompt, *, with_pictures: bool) -> list[dict[str, Any]]:
        content: list[dict[str, Any]] = []
        for part in prompt.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": self._without_special(part)})
            else:
                pixels = {"image": part.decode().convert("RGB")} if with_pictures else {}
                content.append({"type": "image", **pixels})
        return [{"role": "user", "content": content}]

    def _without_special(self, text: str) -> str:
        """A question's text may hold what the model would read as a control token."""
        for token in self._special:
            text = text.replace(token, "")
        return text

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        import torch

        inputs = self.processor.apply_chat_template(
            [self._conversation(prompt, with_pictures=True) for prompt in prompts],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
            padding_side="left",
        ).to(self.model.device, self.model.dtype)
        with torch.inference_mode(), in_eval_mode(self.model):
            output = self.model.generate(
                **inputs, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, **self._padding()
            )
        answers = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._to_generation(ids, max_new_tokens) for ids in answers]

    def _padding(self) -> dict[str, Any]:
        known = self.tokenizer.pad_token_id
        return {} if known is None else {"pad_token_id": known}

    def _stop_ids(self) -> set[int]:
        ends = getattr(self.model.generation_config, "eos_token_id", None)
        ends = self.tokenizer.eos_token_id if ends is None else ends
        return set(ends) if isinstance(ends, list) else {ends}

    def _to_generation(self, ids: list[int], max_new_tokens: int) -> Generation:
        """Cut at the first stop token: what a batch adds behind it is padding."""
        stops = self._stop_ids()
        end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
        finish = "length" if end == len(ids) and end >= max_new_tokens else "stop"
        return Generation(text=text, num_tokens=end, finish_reason=finish)
