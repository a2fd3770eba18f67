"""AKI by `--engine continuous`: an answer that ends makes room for the next question, instead of waiting for its batch.

The engine is `model.continuous`. It is admitted by comparison with `generate` on the run's own questions
(`both_ways`); what it cannot hold, or fails on, is handed back as an error, and asked of `generate` alone.
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.records import Prompt

from .aki import AkiPredictor, Prepared
from .base import Answered, Generation, Unusable, is_out_of_memory, release_memory

if TYPE_CHECKING:
    from model.continuous import Asked, ContinuousBatching

ROWS, ROWS_ON_A_CPU = 64, 16
"""Answers at once. What attention costs over packed rows grows with their square, so more make no step fuller."""

REFILL = 8
"""Rows are given away again when this part of all is free."""

CONTEXT = 2048
"""Tokens that the cache has for each row, if there is memory: pictures, question and answer of all but a few."""

SHARE = 0.5
"""Of the free memory, at most, for the cache."""

MEMINFO = Path("/proc/meminfo")
"""Of Linux."""

SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


class _Waiting(NamedTuple):
    prompt: Prompt
    asked: Asked


Ended = tuple[Prompt, list[int] | str]
"""A prompt with its answer's token ids, the stop token included, or with why the engine has none."""


class ContinuousAkiPredictor(AkiPredictor):
    """A checkpoint that answers by continuous batching, and by `generate` when it is asked through `predict`."""

    engine = "continuous"
    _engine: ContinuousBatching | None = None
    _most_rows: int | None = None
    _told: frozenset[str] = frozenset()

    def describe_engine(self) -> dict[str, str]:
        return {"name": self.engine, "library": "transformers", "version": version("transformers")}

    def stream(
        self, groups: Iterator[tuple[Sequence[Prompt], Prepared]], max_new_tokens: int, rows: int | None = None
    ) -> Generator[list[Answered], None, None]:
        """Answers as they end, in no order; asks for the next group when rows are free.

        Args:
            groups: prompts, and what `prepare` made of them.
            max_new_tokens: of each answer.
            rows: most answers at once; None: as many as fit, and make it faster.

        Raises:
            Unusable: this model cannot be asked so.
        """
        for ended in self._stream(groups, max_new_tokens, rows):
            yield [
                (prompt, Generation(None, error=found) if isinstance(found, str) else self._to_generation(found))
                for prompt, found in ended
            ]

    def both_ways(
        self, prompts: Sequence[Prompt], max_new_tokens: int, rows: int | None = None
    ) -> list[tuple[list[int], list[int] | str]]:
        """Of each prompt the answer's token ids by `generate` in batches, and by the engine (or why it has none)."""
        stops = set(self._stop_ids())
        size = self.batch_size
        batches = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        by_generate = [
            _up_to_stop(ids, stops) for batch in batches for ids in self._ids(self.prepare(batch), max_new_tokens)
        ]
        groups = ((batch, self.prepare(batch)) for batch in batches)
        by_engine = {
            id(prompt): found for ended in self._stream(groups, max_new_tokens, rows) for prompt, found in ended
        }
        return [(ids, by_engine[id(prompt)]) for prompt, ids in zip(prompts, by_generate, strict=True)]

    def _stream(
        self, groups: Iterator[tuple[Sequence[Prompt], Prepared]], max_new_tokens: int, rows: int | None
    ) -> Iterator[list[Ended]]:
        waiting, answering = deque[_Waiting](), dict[str, _Waiting]()
        numbers = count()
        if self._engine is not None:
            self._engine.abandon()  # what an interrupted stream has left in it
        while True:
            engine = self._ready(rows)
            if engine.wants_more:
                aside: list[Ended] = []
                while engine.has_row and (waiting or self._take(groups, waiting, aside, max_new_tokens)):
                    if not waiting:  # nothing of the group could be read
                        continue
                    first = waiting[0]
                    if reason := _why_not(engine, first.asked):
                        self._tell(reason)
                        aside.append((first.prompt, reason))
                    elif engine.fits(first.asked):
                        key = str(next(numbers))
                        engine.add(key, first.asked)
                        answering[key] = first
                    else:
                        break
                    waiting.popleft()
                if aside:
                    yield aside
            if not engine.active:
                return
            try:
                ended: list[Ended] = [(answering.pop(key).prompt, found) for key, found in engine.step().items()]
            except Exception as error:  # noqa: BLE001  what one question does must not end the others
                ended = self._after(error, engine, waiting, answering)
            if ended:
                yield ended

    def _take(
        self,
        groups: Iterator[tuple[Sequence[Prompt], Prepared]],
        waiting: deque[_Waiting],
        aside: list[Ended],
        max_new_tokens: int,
    ) -> bool:
        """Whether there was another group. What a picture keeps from being asked goes `aside`."""
        group = next(groups, None)
        if group is None:
            return False
        prompts, prepared = group
        try:
            waiting.extend(self._waiting(prompts, prepared, max_new_tokens))
        except Exception:  # noqa: BLE001  whatever one question does must not end the others
            release_memory()
            for prompt in prompts:
                try:
                    waiting.extend(self._waiting([prompt], self.prepare([prompt]), max_new_tokens))
                except Exception as error:  # noqa: BLE001  generate will say the same of it
                    aside.append((prompt, f"{type(error).__name__}: {error}"))
        return True

    def _waiting(self, prompts: Sequence[Prompt], prepared: Prepared, max_new_tokens: int) -> list[_Waiting]:
        import torch

        from model.continuous import Asked

        with torch.inference_mode():
            vectors = iter(self.vectors(prepared) if prepared.images else ())
            found = []
            for prompt, ids, mask in zip(prompts, prepared.input_ids, prepared.attention_mask, strict=True):
                own = [next(vectors) for _ in prompt.images]
                asked = Asked(ids[mask.bool()].tolist(), torch.stack(own) if own else None, max_new_tokens)
                found.append(_Waiting(prompt, asked))
        return found

    def _after(
        self,
        error: Exception,
        engine: ContinuousBatching,
        waiting: deque[_Waiting],
        answering: dict[str, _Waiting],
    ) -> list[Ended]:
        """A step has failed. Too large: fewer rows, and all of them again. Else each goes by itself."""
        failed = [answering.pop(key) for key in engine.abandon()]
        if is_out_of_memory(error) and engine.rows > 1:
            self._engine, self._most_rows = None, engine.rows // 2
            del engine
            release_memory()
            waiting.extendleft(reversed(failed))
            return []
        reason = f"{type(error).__name__}: {error}"
        self._tell(reason)
        return [(each.prompt, reason) for each in failed]

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told |= {reason}
            print(f"--engine {self.engine}: generate answers what the engine does not ({reason})", file=sys.stderr)

    def _ready(self, rows: int | None) -> ContinuousBatching:
        """The engine; once made it stays, unless another number of rows is wished."""
        wanted = rows or (ROWS_ON_A_CPU if self.device == "cpu" else ROWS)
        wanted = min(wanted, self._most_rows or wanted)
        if self._engine is None or self._engine.rows != wanted:
            self._engine = None
            self._engine = self._make(wanted)
        return self._engine

    def _make(self, rows: int) -> ContinuousBatching:
        """With as many rows as wished, or as there is memory for. Raises Unusable."""
        from model.continuous import ContinuousBatching

        model = self.model
        while True:
            try:
                return ContinuousBatching(
                    model, self._stop_ids(), rows=rows, tokens=self._tokens(rows), refill=max(1, rows // REFILL)
                )
            except ValueError as error:
                raise Unusable(f"--engine {self.engine}: {error}") from error
            except Exception as error:
                if not is_out_of_memory(error):
                    raise Unusable(
                        f"--engine {self.engine}: transformers' continuous batching does not start "
                        f"({type(error).__name__}: {error}); leave it out"
                    ) from error
                if rows == 1:
                    raise Unusable(f"--engine {self.engine}: no memory for its cache ({error}); omit it") from error
                release_memory()
                rows = self._most_rows = rows // 2

    def _tokens(self, rows: int) -> int:
        """What the cache holds: every row's usual share, or what free memory allows."""
        from model.continuous import PROMPT_TOKENS

        text = self.model.config.text_config
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        wide = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        size = SIZES[self.dtype]
        each = size * (2 * text.num_hidden_layers * heads * wide + PROMPT_TOKENS)  # keys, values; a column of the mask
        usual = rows * min(CONTEXT, getattr(text, "max_position_embeddings", None) or CONTEXT)
        return max(1, min(usual, int(SHARE * free_memory(self.device) / each)))


def free_memory(device: str) -> int:
    """Bytes that can be had, of a GPU or of this machine; where the system does not say, half of all it has."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    if MEMINFO.exists() and (
        found := re.search(r"^MemAvailable: *(\d+) kB$", MEMINFO.read_text("utf-8"), re.MULTILINE)
    ):
        return 1024 * int(found[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _why_not(engine: ContinuousBatching, asked: Asked) -> str | None:
    try:
        return engine.why_not(asked)
    except ValueError as error:  # generate will say the same of it
        return str(error)


def _up_to_stop(ids: list[int], stops: set[int]) -> list[int]:
    return ids[: next((place + 1 for place, token in enumerate(ids) if token in stops), len(ids))]


def missing() -> str | None:
    """What this transformers lacks for it, None where nothing."""
    try:
        import model.continuous  # noqa: F401
    except (ImportError, AttributeError) as error:
        return f"this transformers has no continuous batching as it is used here ({error})"
    return None
