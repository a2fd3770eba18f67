"""Continuous batching by transformers under AKI's mask: a row whose answer ends makes room for the next question.

The library packs the rows of a step one behind the other, (1, Q) tokens that look at (1, K) keys of a paged cache, lets
no row see another one's keys, and makes each row causal. `Packed` is the model as the library calls it: it puts the
pictures' vectors in their places, and the configured kind's mask over the block of each prompt. A prompt goes through
whole, in a step of prompts alone (`WholePrompts`): cut in two, its pictures would not see the question behind them.

Nothing here decides that the answers are those of `generate`. Whoever uses it compares the two first.
"""

from __future__ import annotations

import copy
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.continuous_api import ContinuousBatchingManager
from transformers.generation.continuous_batching.requests import RequestStatus
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, FIFOScheduler
from transformers.generation.logits_process import SuppressTokensLogitsProcessor

from . import attention
from .backends import create_masks, is_layered
from .modeling_aki import insert_images

PAGE = 32
"""Tokens of a page of the cache: what an answer wastes at its end is half of it."""

PROMPT_TOKENS = 2048
"""Of all prompts of a step, and so of one."""


@dataclass(frozen=True)
class Asked:
    """A prompt: its token ids, and its pictures' vectors (M, N, T), None without any."""

    ids: list[int]
    vectors: Tensor | None
    max_new_tokens: int

    @property
    def num_tokens(self) -> int:
        """Of prompt and longest answer."""
        return len(self.ids) + self.max_new_tokens


def why_not(model: Any, generation_config: GenerationConfig) -> str | None:
    """Why this model cannot be asked so, None where it can."""
    if model.config.get_text_config()._attn_implementation not in ("eager", "sdpa"):
        return "its attention back end takes no dense mask; load the model with sdpa or eager"
    rope = getattr(model.config.text_config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "dynamic":
        return "its rotary frequencies depend on the longest row of a step (rope_type 'dynamic')"
    unknown = {type(each).__name__ for each in _processors(model, generation_config)}
    if unknown := unknown - {SuppressTokensLogitsProcessor.__name__}:
        return f"its generation_config.json asks for {', '.join(sorted(unknown))}"
    return None


def _processors(model: Any, generation_config: GenerationConfig) -> list[Any]:
    """Those of greedy decoding."""
    greedy = copy.deepcopy(generation_config)
    greedy.do_sample, greedy.num_beams = False, 1
    return list(model._get_logits_processor(greedy, input_ids_seq_length=1, device="cpu"))


class ContinuousBatching:
    """A model at many prompts at once. `add` what fits, call `step` until nothing is `active`.

    `num_steps` counts forward passes, `num_rows` the rows (one a prompt or answer) that were in them.
    """

    def __init__(self, model: Any, stop_token_ids: Sequence[int], *, rows: int, tokens: int, refill: int = 1) -> None:
        """Reserves the cache.

        Args:
            model: an `AkiForConditionalGeneration` in evaluation mode.
            stop_token_ids: which end an answer; none: only its limit does.
            rows: most answers at once.
            tokens: of the cache; a prompt reserves room for itself and its longest answer.
            refill: rows are given away again when so many are free, for a step of prompts holds up all answers.

        Raises:
            ValueError: this model cannot be asked so.
            MemoryError: there is not enough.
        """
        settings = GenerationConfig(do_sample=False, eos_token_id=list(stop_token_ids) or [-1], max_new_tokens=1)
        if reason := why_not(model, model.generation_config):
            raise ValueError(f"continuous batching cannot answer for this model: {reason}")
        self.rows, self.refill = rows, refill
        self.context: int = getattr(model.config.text_config, "max_position_embeddings", None) or tokens
        self.num_steps = self.num_rows = 0
        self._pages = self._all_pages = -(-tokens // PAGE)
        self._asked: dict[str, Asked] = {}
        self._check = model.check_prompt
        self._rope_limit = _rope_limit(model.config)
        self._packed = Packed(model)
        self._manager = ContinuousBatchingManager(
            self._packed,
            settings,
            ContinuousBatchingConfig(
                page_size=PAGE,
                num_blocks=self._all_pages,
                max_batch_tokens=max(PROMPT_TOKENS, rows),
                max_requests_per_batch=rows,
                max_blocks_per_request=0,
                allow_block_sharing=False,
                use_async_batching=False,
                use_cuda_graph=False,
                auto_switch_to_flash=False,
                scheduler_type=WHOLE_PROMPTS,
                safety_margin=0.0,
                seed=0,
            ),
        )
        with torch.inference_mode():
            self._processor = self._manager._create_batch_processor()
        self._processor.inputs_and_outputs.compute_stream = None  # one stream: the vectors come from the current one
        self._packed.in_step = lambda: self._processor.inputs_and_outputs.requests_in_batch

    @property
    def active(self) -> int:
        return len(self._asked)

    @property
    def wants_more(self) -> bool:
        """Whether it is time to fill rows that are free."""
        return not self._asked or self.rows - len(self._asked) >= self.refill

    @property
    def has_row(self) -> bool:
        return len(self._asked) < self.rows

    def why_not(self, asked: Asked) -> str | None:
        """Why this prompt can never be answered here; None where it can.

        Raises:
            ValueError: it can be answered nowhere.
        """
        self._check(torch.tensor([asked.ids]))
        if len(asked.ids) > PROMPT_TOKENS:
            return f"prompts of more than {PROMPT_TOKENS} tokens"
        if self._rope_limit is not None and self._num_tokens(asked) > self._rope_limit:
            return f"more than {self._rope_limit} tokens, where long rope changes its factors"
        if self._num_pages(asked) > self._all_pages:
            return f"more than {self._all_pages * PAGE} tokens, all that the cache holds"
        return None

    def fits(self, asked: Asked) -> bool:
        """Whether there is a row and room in the cache now."""
        return self.has_row and self._num_pages(asked) <= self._pages

    def add(self, key: str, asked: Asked) -> None:
        self._asked[key] = asked
        self._pages -= self._num_pages(asked)
        self._packed.add(key, asked)
        limit = self._num_tokens(asked) - len(asked.ids)
        self._manager.add_request(asked.ids, request_id=key, max_new_tokens=limit)

    def step(self) -> dict[str, list[int] | str]:
        """One forward pass, of the prompts that were added or of all rows; the answers that it ends, by key.

        An answer's tokens end with its stop token, where it met one; a text says why there are none. What raises has
        answered nothing of what is active: `abandon` it.

        Raises:
            RuntimeError: the library does nothing with what is active.
        """
        with torch.inference_mode():
            if self._processor.prepare_next_batch():
                self.num_steps += 1
                self.num_rows += len(self._processor.inputs_and_outputs.requests_in_batch)
                self._processor._generation_step(self._packed)
                self._processor.update_batch()
                worked = True
            else:
                worked = False
        found: dict[str, list[int] | str] = {}
        for result in _drained(self._manager.output_router.output_queue):
            self._forget(result.request_id)
            found[result.request_id] = result.generated_tokens if result.error is None else str(result.error)
        if not worked and not found and self.active:
            raise RuntimeError(f"the library schedules none of {self.active} prompts and answers")
        return found

    def abandon(self) -> list[str]:
        """Forgets all that is active; returns their keys, the first added first."""
        list(_drained(self._manager.input_queue))  # what was added and has seen no step
        with torch.inference_mode():
            self._processor.reset()
        keys = list(self._asked)
        for key in keys:
            self._forget(key)
        list(_drained(self._manager.output_router.output_queue))
        return keys

    def _forget(self, key: str) -> None:
        self._pages += self._num_pages(self._asked.pop(key))
        self._packed.forget(key)

    def _num_tokens(self, asked: Asked) -> int:
        """As `generate`: an answer ends where the context does."""
        return min(asked.num_tokens, self.context)

    def _num_pages(self, asked: Asked) -> int:
        return -(-self._num_tokens(asked) // PAGE)


def _drained(entries: queue.Queue[Any]) -> Iterator[Any]:
    while True:
        try:
            yield entries.get_nowait()
        except queue.Empty:
            return


def _rope_limit(config: Any) -> int | None:
    """Up to how many tokens the rotary frequencies of a row do not depend on its length."""
    rope = getattr(config.text_config, "rope_parameters", None) or {}
    return int(rope["original_max_position_embeddings"]) if rope.get("rope_type") == "longrope" else None


WHOLE_PROMPTS = "aki_whole_prompts"


class WholePrompts(FIFOScheduler):  # type: ignore[misc]  # to mypy the library's classes are Any
    """Prompts first, alone, and none cut: a step is of as many as it takes whole, or of all answers.

    Alone they read nothing of the cache, so that attention costs them what it costs in `generate`.
    """

    def _process_candidates(self, candidates: list[Any], token_budget: int, *others: Any) -> Any:
        prompts, left = [], token_budget
        for state in candidates:
            if state.status == RequestStatus.PENDING and len(state.remaining_prefill_tokens) <= left:
                prompts.append(state)
                left -= len(state.remaining_prefill_tokens)
        answers = [state for state in candidates if state.status == RequestStatus.DECODING]
        return super()._process_candidates(prompts or answers, token_budget, *others)


SCHEDULER_MAPPING[WHOLE_PROMPTS] = WholePrompts


@dataclass
class _Row:
    """What a prompt brings into the steps. `types`, `places`: (1, L) of its tokens; `next_place`: of its answer."""

    types: Tensor
    places: Tensor
    next_place: int
    vectors: Tensor | None
    begun: bool = False


class Packed(nn.Module):
    """An AKI as the library's continuous batching calls a model: packed rows in, the logits of their last tokens out.

    `in_step` gives the library's rows of the step, in their order.
    """

    _supports_flash_attn = False

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner = model
        self.device, self.dtype = model.device, model.dtype
        text = model.config.text_config
        self.window: int | None = getattr(text, "sliding_window", None)
        # Pages for all tokens in all layers: what a layer's window hides, the mask hides.
        own = {"layer_types": ["full_attention"] * text.num_hidden_layers} if hasattr(text, "layer_types") else {}
        settings = text.to_dict() | own | {"sliding_window": None}
        self.config = type(text)(**settings, attn_implementation="sdpa")
        self.in_step: Any = list
        self._suppressed = [token for token in model.generation_config.suppress_tokens or [] if token < text.vocab_size]
        self._rows: dict[str, _Row] = {}
        self._paths = [path for path, _ in leaves(self._masks(torch.zeros(1, 2, dtype=torch.long)))]

    def add(self, key: str, asked: Asked) -> None:
        config = self.inner.config
        ids = torch.tensor([asked.ids], device=self.device)
        types = self.inner.model.token_types(ids)
        places = attention.positions(config.attention, types, None, config.num_latents)
        self._rows[key] = _Row(types, places, int(places[0, -1]) + 1, asked.vectors)

    def forget(self, key: str) -> None:
        del self._rows[key]

    def _supports_logits_to_keep(self) -> bool:
        """The library asks: then it names the places whose logits it wants."""
        return True

    def _get_logits_processor(self, generation_config: GenerationConfig) -> list[Any]:
        """None for the library to drop or keep; what there is, is done here."""
        del generation_config
        return []

    def forward(
        self, *, input_ids: Tensor, attention_mask: Tensor, cache: Any, logits_to_keep: Tensor, **paging: Any
    ) -> SimpleNamespace:
        """(1, Q) ids, (1, 1, Q, K) the library's additive mask -> `logits` (1, R, V), R places to keep.

        Raises:
            RuntimeError: the library has cut a prompt.
        """
        embeds = self.inner.get_input_embeddings()(input_ids)
        masks = {
            path: attention_mask if place == 0 else attention_mask.clone() for place, path in enumerate(self._paths)
        }
        places = []
        query = key = 0
        for scheduled in self.in_step():
            row = self._rows[scheduled.state.request_id]
            end, count = scheduled.state.position_offset, scheduled.query_length
            queries, keys = slice(query, query + count), slice(key, key + end)
            if not row.begun:
                if not count == end == row.types.shape[1]:
                    raise RuntimeError(f"{count} tokens of a prompt of {row.types.shape[1]}: it must not be cut")
                embeds[:, queries] = insert_images(embeds[:, queries], row.types == attention.IMAGE, row.vectors)
                for path, block in leaves(self._masks(row.types)):
                    masks[path][:, :, queries, keys] = block
                places.append(row.places)
                row.begun, row.vectors = True, None
            else:
                places.append(torch.full((1, 1), row.next_place, device=self.device))
                row.next_place += 1
                if self.window is not None and end > self.window:
                    for path in self._windowed():
                        masks[path][:, :, queries, key : key + end - self.window] = torch.finfo(self.dtype).min
            query, key = query + count, key + end
        return SimpleNamespace(logits=self._logits(embeds, masks, torch.cat(places, 1), cache, logits_to_keep, paging))

    def _logits(
        self,
        embeds: Tensor,
        masks: dict[tuple[str, ...], Tensor],
        places: Tensor,
        cache: Any,
        kept: Tensor,
        paging: dict[str, Any],
    ) -> Tensor:
        own: dict[str, Any] = {name: paging[name] for name in PAGING}
        mask: Any = nested(masks)
        if is_layered(mask):
            mask, own = self.inner.model.for_layers(mask, own)
        outputs = self.inner.model.language_model(
            inputs_embeds=embeds, attention_mask=mask, position_ids=places, cache=cache, use_cache=False, **own
        )
        logits: Tensor = self.inner.lm_head(outputs.last_hidden_state[:, kept])
        logits[..., self._suppressed] = -torch.inf
        return logits

    def _masks(self, types: Tensor) -> Any:
        """As `generate` makes them for a prompt of these types (1, L)."""
        like = torch.empty((1, types.shape[1], 0), dtype=self.dtype, device=self.device)
        return create_masks(self.inner.config, like, None, None, mm_token_type_ids=types.to(self.device))

    def _windowed(self) -> list[tuple[str, ...]]:
        """Masks of layers with a window: all where layers have no types."""
        return [path for path in self._paths if "full_attention" not in path]


PAGING = ("cu_seq_lens_k", "max_length_k", "read_index", "write_index")
"""What the paged cache's `update` reads of a layer's keywords."""


def leaves(masks: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """One mask, or dicts of masks by kind and by layer type, as names and masks."""
    if not isinstance(masks, dict):
        yield path, masks
        return
    for name, inner in masks.items():
        yield from leaves(inner, (*path, name))


def nested(masks: dict[tuple[str, ...], Tensor]) -> Any:
    """`leaves` turned round."""
    if () in masks:
        return masks[()]
    heads = dict.fromkeys(path[0] for path in masks)
    return {head: nested({path[1:]: mask for path, mask in masks.items() if path[0] == head}) for head in heads}
