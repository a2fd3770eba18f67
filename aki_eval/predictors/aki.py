"""AKI as a predictor: batched, left-padded, greedy; each picture goes through the vision tower once.

Pictures come back: POPE asks 18 questions about each, MMBench shows one four times. Their resampled vectors are kept in
a cache of bounded size, so a question about a known picture costs no decoding and no vision tower.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from benchmarks.cores import cores
from benchmarks.errors import UserError
from benchmarks.records import ImageRef, Prompt
from model.kinds import KINDS, kinds_by_layer, read_layers

from .base import Generation, Logprobs, Unusable, is_out_of_memory
from .prefixes import PrefixCache, common_beginning, filled, may_reuse, stacked, with_prefix
from .template_check import try_template
from .weights import read_config, refuse_pickled, settings_checksum, training_seed, weights_checksum, what_is_wrong

if TYPE_CHECKING:
    from torch import Tensor

CACHE_MEGABYTES = 512
"""Of vectors kept: at AKI-4B's size (144 x 3072, bfloat16) about 580 pictures."""

MOST_THREADS = 16
"""That decode pictures: by then the vision tower of any GPU has more than it can take."""

ORDERS = ("image_first", "text_first")


@dataclass
class Prepared:
    """A batch on its way to the model. Pictures that the cache will hold by then have no pixels."""

    input_ids: Tensor
    attention_mask: Tensor
    images: list[ImageRef]
    pixels: dict[str, Tensor]


class AkiPredictor:
    """A checkpoint folder, ours or as the authors published theirs. Loads its weights when the first prompt comes."""

    batch_size = 16
    knows_texts = True

    def __init__(
        self,
        checkpoint: Path,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        cache_megabytes: int = CACHE_MEGABYTES,
        attention: str | None = None,
        image_order: str | None = None,
        attention_layers: str | None = None,
    ) -> None:
        """Reads the settings; weights come with the first prompt.

        `attention`, `attention_layers` and `image_order` stand instead of the checkpoint's and its processor's own.
        `attention_layers` as `model.kinds.read_layers` reads it; another `attention` alone is every layer's.

        Raises:
            UserError: no checkpoint of AKI, or no such attention or order.
        """
        self.name = name or checkpoint.name
        self.checkpoint = checkpoint
        self.config = _settings(checkpoint)
        _check_choice("--attention", attention, KINDS)
        _check_choice("--image-order", image_order, ORDERS)
        self.attention = attention
        self.layers = _layers(self.config, attention, attention_layers)
        self.image_order = image_order
        refuse_pickled(checkpoint)
        self.device = find_device(device)
        self.dtype = _dtype(dtype, self.config, self.device)
        self.features = FeatureCache(cache_megabytes * 2**20)
        self.prefixes = PrefixCache(cache_megabytes * 2**20)
        self._lock = Lock()
        self._model: Any = None
        self._self_test: dict[str, Any] | None = None
        self._processor: Any = None
        self._threads: ThreadPoolExecutor | None = None
        self._rendered = lru_cache(maxsize=4096)(self._render)
        self._behind = lru_cache(maxsize=65536)(self._tokens_behind)
        self._weights_sha256 = cache(lambda: weights_checksum(checkpoint))
        self._stop_ids = cache(lambda: list(self.processor.stop_token_ids))

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "aki",
            "path": str(self.checkpoint),
            "weights_sha256": self._weights_sha256(),
            "settings_sha256": settings_checksum(self.checkpoint),
            "attention": self.attention or self.config.get("attention"),
            "trained_attention": self.config.get("attention"),
            "image_order": self.image_order or _processor_order(self.checkpoint),
            "trained_image_order": self.config.get("image_order"),
            "dtype": self.dtype,
            **self._layer_record(),
            **({} if (seed := training_seed(self.checkpoint)) is None else {"training_seed": seed}),
        }

    def _layer_record(self) -> dict[str, Any]:
        """Kinds of single layers, where there are any, as used and as trained."""
        named = {"attention_layers": self.layers, "trained_attention_layers": self.config.get("attention_layers")}
        return {name: layers for name, layers in named.items() if layers}

    def self_test(self) -> dict[str, Any]:
        """Once for all runs of this predictor: its weights stay as they are."""
        if self._self_test is None:
            self._self_test = self._test()
        return self._self_test

    def _test(self) -> dict[str, Any]:
        from model.self_test import self_test

        record: dict[str, Any] = self_test(self.model, self.processor)
        return record

    @property
    def processor(self) -> Any:
        with self._lock:
            if self._processor is None:
                from model import AkiProcessor

                self._processor = _load(AkiProcessor, self.checkpoint)
                self._processor.image_order = self.image_order or self._processor.image_order
                try_template(self._processor, str(self.checkpoint))
            return self._processor

    @property
    def model(self) -> Any:
        with self._lock:
            if self._model is None:
                import torch

                from model import AkiForConditionalGeneration

                from ..run.distributed import find_world
                from ..run.threads import take_one

                if find_world().size > 1:
                    take_one()
                override: dict[str, Any] = {} if self.attention is None else {"attention": self.attention}
                if self.layers != self.config.get("attention_layers"):
                    override["attention_layers"] = self.layers
                dtype = getattr(torch, self.dtype)
                model = _load(AkiForConditionalGeneration, self.checkpoint, dtype=dtype, **override)
                self._model = model.to(self.device).eval()
            return self._model

    def render(self, prompt: Prompt) -> str:
        return self._rendered(prompt)

    def _render(self, prompt: Prompt) -> str:
        from model.chat_template import as_plain_text

        content = [
            {"type": "text", "text": as_plain_text(part)} if isinstance(part, str) else {"type": "image"}
            for part in prompt.parts
        ]
        conversation = [{"role": "user", "content": content}]
        text: str = self.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        return text

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        return self.generate(self.prepare(prompts), max_new_tokens)

    def prepare(self, prompts: Sequence[Prompt]) -> Prepared:
        """Token ids, and the pixels of pictures that neither the cache nor an earlier batch in flight brings."""
        processor = self.processor
        expanded = processor.image_token * processor.num_latents
        texts = [self.render(prompt).replace(processor.image_token, expanded) for prompt in prompts]
        tokens = processor.tokenizer(
            texts, padding=True, padding_side="left", return_tensors="pt", add_special_tokens=False
        )
        images = [image for prompt in prompts for image in prompt.images]
        unknown = self.features.announce(images)
        return Prepared(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            images=images,
            pixels=dict(zip((image.key for image in unknown), self._pixels(unknown), strict=True)),
        )

    def _pixels(self, images: Sequence[ImageRef]) -> list[Tensor]:
        """(3, H, W) each, in their order, by as many threads as this process has cores: PIL works beside Python."""
        return list(self._pool().map(self._pixels_of, images))

    def _pixels_of(self, image: ImageRef) -> Tensor:
        pixels: Tensor = self.processor.image_processor(images=image.decode(), return_tensors="pt")["pixel_values"][0]
        return pixels

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=min(cores(), MOST_THREADS), thread_name_prefix="pictures")
        return self._threads

    def generate(self, prepared: Prepared, max_new_tokens: int) -> list[Generation]:
        return [self._to_generation(ids) for ids in self._ids(prepared, max_new_tokens)]

    def _ids(self, prepared: Prepared, max_new_tokens: int) -> list[list[int]]:
        """Each answer's token ids, padded behind its end."""
        import torch
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        with torch.inference_mode():
            inputs: dict[str, Any] = {
                "input_ids": prepared.input_ids.to(self.device),
                "attention_mask": prepared.attention_mask.to(self.device),
            }
            beginning = self._shared_beginning(prepared, max_new_tokens)
            if beginning is not None:
                inputs |= self._reused(prepared, beginning)
            elif prepared.images:
                vectors = self.vectors(prepared)
                inputs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=vectors)}
            output = self.model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                eos_token_id=self._stop_ids(),
                pad_token_id=self.processor.tokenizer.pad_token_id,
            )
        answers: list[list[int]] = output[:, prepared.input_ids.shape[1] :].tolist()
        return answers

    def continuation_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[Logprobs]:
        """In one forward pass under the mask of generation.

        The prompt as it is answered, and what would stand behind it as plain causal text. Continuations of one token
        share their prompt's row.
        """
        import torch
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        prepared = self.prepare(prompts)
        starts = [
            ids[mask.bool()].tolist() for ids, mask in zip(prepared.input_ids, prepared.attention_mask, strict=True)
        ]
        rows: list[list[int]] = []
        images: list[ImageRef] = []
        found: list[list[tuple[int, list[int]] | None]] = []
        for prompt, start, texts in zip(prompts, starts, continuations, strict=True):
            shared: int | None = None
            own: list[tuple[int, list[int]] | None] = []
            for text in texts:
                tokens = list(self._continuation(prompt, text))
                if not tokens:
                    own.append(None)
                    continue
                if len(tokens) > 1 or shared is None:
                    rows.append(start + tokens[:-1])
                    images += prompt.images
                    shared = len(rows) - 1 if len(tokens) == 1 else shared
                own.append((len(rows) - 1 if len(tokens) > 1 else int(shared or 0), tokens))
            found.append(own)
        if not rows:
            return [[None for _ in texts] for texts in continuations]
        length = max(map(len, rows))
        pad = self.processor.tokenizer.pad_token_id
        keep = max(len(each[1]) for own in found for each in own if each)
        with torch.inference_mode():
            ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
            inputs: dict[str, Any] = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
            if images:
                vectors = self.vectors(Prepared(ids, mask, images, prepared.pixels))
                inputs["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=vectors)}
            logits = self.model(**inputs, use_cache=False, logits_to_keep=keep).logits
            logprobs = logits.float().log_softmax(-1).cpu()
        return [[None if each is None else _summed(logprobs, *each) for each in own] for own in found]

    def _continuation(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        """The tokens of a text behind the prompt's; none where the vocabulary cannot say it."""
        rendered = self.render(prompt)
        special = max((rendered.rfind(token) for token in self.processor.tokenizer.all_special_tokens), default=-1)
        return self._behind(rendered[max(0, special) :], text)

    def _tokens_behind(self, tail: str, text: str) -> tuple[int, ...]:
        """`tail` is the prompt from its last control token on: what stands before that changes no token after it."""
        tokenizer = self.processor.tokenizer
        start, whole = (tokenizer(each, add_special_tokens=False)["input_ids"] for each in (tail, tail + text))
        if whole[: len(start)] == start:
            tokens = tuple(whole[len(start) :])
        else:  # the text's first letters run together with the prompt's last ones
            tokens = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        unknown = tokenizer.unk_token_id
        return () if unknown is not None and unknown in tokens else tokens

    def _shared_beginning(self, prepared: Prepared, max_new_tokens: int) -> tuple[int, ...] | None:
        """The tokens that a causal model needs to read once a picture; None where nothing can be kept."""
        length = prepared.input_ids.shape[1] + max_new_tokens
        one_each = len(prepared.images) == len(prepared.input_ids)
        if not self.prefixes.capacity or not one_each or not may_reuse(self.model.config, length):
            return None
        return common_beginning(prepared.input_ids, prepared.attention_mask, self.model.config.image_token_id)

    def _reused(self, prepared: Prepared, beginning: tuple[int, ...]) -> dict[str, Any]:
        """The batch's input with the pictures' keys and values already in the cache."""
        keys = [image.key for image in prepared.images]
        found = {key: prefix for key in set(keys) if (prefix := self.prefixes.get(key, beginning)) is not None}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing:
            vectors = self.vectors(prepared)[[keys.index(key) for key in missing]]
            for key, layers in zip(missing, filled(self.model, beginning, vectors), strict=True):
                found[key] = layers
                self.prefixes.put(key, beginning, layers)
        ids, padding = with_prefix(prepared.input_ids, prepared.attention_mask, len(beginning))
        cache = stacked([found[key] for key in keys], self.model.config.text_config)
        return {"input_ids": ids.to(self.device), "attention_mask": padding.to(self.device), "cache": cache}

    def vectors(self, prepared: Prepared) -> Tensor:
        """(M, N, T): the resampler's vectors of the batch's pictures, in the order of their places."""
        import torch

        distinct = {image.key: image for image in prepared.images}
        found = {key: vector for key in distinct if (vector := self.features.get(key)) is not None}
        missing = [image for key, image in distinct.items() if key not in found]
        if missing:
            late = [image for image in missing if image.key not in prepared.pixels]  # dropped from the cache meanwhile
            pixels = prepared.pixels | dict(zip((image.key for image in late), self._pixels(late), strict=True))
            stacked = torch.stack([pixels[image.key] for image in missing]).to(self.device, self.model.dtype)
            vectors = self.model.get_image_features(stacked).pooler_output
            for image, vector in zip(missing, vectors, strict=True):
                found[image.key] = vector
                self.features.put(image.key, vector)
        return torch.stack([found[image.key] for image in prepared.images])

    def _to_generation(self, ids: list[int]) -> Generation:
        """Cut at the first stop token: what a batch adds behind it is padding."""
        stops = self._stop_ids()
        end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
        text = self.processor.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
        return Generation(text=text, num_tokens=end, finish_reason="stop" if end < len(ids) else "length")


def _summed(logprobs: Tensor, row: int, tokens: list[int]) -> tuple[float, int]:
    """logprobs: (R, K, V) of the last K places; the tokens' places are the last of their row."""
    places = range(logprobs.shape[1] - len(tokens), logprobs.shape[1])
    total = sum(float(logprobs[row, place, token]) for place, token in zip(places, tokens, strict=True))
    return total, len(tokens)


class FeatureCache:
    """Vectors of pictures, the longest unused dropped first.

    `announce` is asked by the thread that prepares, the rest by the one that generates: a picture that a batch in
    flight will bring is not decoded again.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._size = 0
        self._vectors: OrderedDict[str, Tensor] = OrderedDict()
        self._announced: set[str] = set()
        self._lock = Lock()

    def announce(self, images: Sequence[ImageRef]) -> list[ImageRef]:
        """The distinct pictures that have to be read; from now on they count as coming."""
        with self._lock:
            unknown = {
                image.key: image
                for image in images
                if image.key not in self._vectors and (image.key not in self._announced or self.capacity == 0)
            }
            self._announced.update(unknown)
            return list(unknown.values())

    def get(self, key: str) -> Tensor | None:
        """(N, T), or None where it is not kept (any more)."""
        with self._lock:
            if key in self._vectors:
                self._vectors.move_to_end(key)
            return self._vectors.get(key)

    def put(self, key: str, vector: Tensor) -> None:
        """Keeps (N, T), unless it alone is larger than the cache."""
        size = vector.numel() * vector.element_size()
        with self._lock:
            self._announced.discard(key)
            if size > self.capacity or key in self._vectors:
                return
            self._vectors[key] = vector.clone()  # a view would keep the whole batch's memory
            self._size += size
            while self._size > self.capacity:
                _, dropped = self._vectors.popitem(last=False)
                self._size -= dropped.numel() * dropped.element_size()


def _settings(checkpoint: Path) -> dict[str, Any]:
    """The content of config.json; for a folder as the authors published it, what it says in our terms.

    Raises:
        UserError: another model's checkpoint.
    """
    raw = read_config(checkpoint)
    if raw.get("model_type") == "aki":
        return raw
    from model import AkiConfig
    from model.published.config import is_published_config

    if not is_published_config(raw):
        raise UserError(
            f"--model: {checkpoint} is a checkpoint of {raw.get('model_type')!r}, expected 'aki' or the authors' own "
            "format; other models come as vlmevalkit:NAME"
        )
    try:
        settings: dict[str, Any] = AkiConfig.from_published(raw, checkpoint).to_dict()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--model: {checkpoint} cannot be loaded ({what_is_wrong(checkpoint, error)})") from error
    return settings


def _layers(config: dict[str, Any], attention: str | None, wanted: str | None) -> dict[str, str] | None:
    """Kinds of single layers that the run uses.

    Raises:
        UserError: they cannot be read, or the model has no such layers.
    """
    if wanted is None:
        own: dict[str, str] | None = config.get("attention_layers") if attention is None else None
        return own
    from model import AkiConfig

    try:
        layers = read_layers(wanted)
        text = AkiConfig(**{key: config[key] for key in ("text_config",) if key in config}).text_config
        kinds_by_layer(attention or config.get("attention") or "mma", layers, text.num_hidden_layers)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"--attention-layers: {error}") from error
    return layers


def find_device(wanted: str) -> str:
    """`auto` is the first GPU (under torchrun: this process's own), else the CPU.

    Raises:
        UserError: a device that is not there.
    """
    if wanted == "cpu":
        return wanted
    import torch

    from ..run.distributed import find_world

    if wanted in ("auto", "cuda"):
        if torch.cuda.is_available():
            return f"cuda:{find_world().local_rank % torch.cuda.device_count()}"
        if wanted == "auto":
            return "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device: {wanted!r} is not usable here ({reason}); use auto, cpu or cuda") from error
    return wanted


def _processor_order(checkpoint: Path) -> str:
    """The order in which the checkpoint's processor asks, without loading it; a published one may carry it along."""
    own = checkpoint / "processor_config.json"
    try:
        found = json.loads(own.read_text("utf-8")) if own.is_file() else read_config(checkpoint).get("processor") or {}
        return str(found.get("image_order", ORDERS[0]))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"--model: {checkpoint} cannot be loaded ({what_is_wrong(checkpoint, error)})") from error


def _check_choice(option: str, value: str | None, known: Iterable[str]) -> None:
    if value is not None and value not in known:
        raise UserError(f"{option}: {value!r}, expected one of {', '.join(known)}")


DTYPES = ("float32", "bfloat16", "float16")


def _dtype(wanted: str, config: dict[str, Any], device: str) -> str:
    """`auto`: the checkpoint's own on a GPU; float32 on a CPU, where the half types are slow."""
    if wanted == "auto":
        stored = str(config.get("dtype") or "float32")
        if stored not in DTYPES:
            raise UserError(f"--model: dtype {stored!r} in config.json, expected {', '.join(DTYPES)}; or give --dtype")
        return stored if device != "cpu" else "float32"
    if wanted not in DTYPES:
        raise UserError(f"--dtype: {wanted!r}, expected auto, {', '.join(DTYPES)}")
    return wanted


def _load(kind: Any, checkpoint: Path, **arguments: Any) -> Any:
    """`from_pretrained`; what is wrong with the files is the user's to know. Raises Unusable."""
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        return kind.from_pretrained(checkpoint, **arguments)
    except Exception as error:  # damaged files surface as almost any exception of the libraries
        if is_out_of_memory(error):
            raise
        raise Unusable(f"--model: {checkpoint} cannot be loaded ({what_is_wrong(checkpoint, error)})") from error
