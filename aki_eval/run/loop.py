"""The loop: batches of prompts in, stored predictions out, whatever single samples do.

While one batch is generated, the next is prepared in a thread (pictures decoded, tensors built). A batch that does not
fit in memory is halved. A batch that raises is asked again prompt by prompt; a prompt that raises alone is stored as an
error, never as an answer. An engine is handed prepared prompts as it has room for them, and an answer is stored when it
ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from benchmarks.records import Prediction, Prompt

from ..predictors import (
    EnginePredictor,
    Generation,
    OverlappingPredictor,
    Predictor,
    Unusable,
    is_out_of_memory,
    release_memory,
)
from .batching import BatchSize

Save = Callable[[list[Prediction]], None]


class TooManyFailures(RuntimeError):
    """So many samples fail that going on would only burn time."""


@dataclass
class Failures:
    """Counts what was tried and what failed. The cap is checked once twenty samples have been tried."""

    cap: float = 1.0
    tried: int = 0
    failed: int = 0

    def count(self, predictions: Sequence[Prediction]) -> None:
        self.tried += len(predictions)
        self.failed += sum(prediction.error is not None for prediction in predictions)

    def check(self, predictions: Sequence[Prediction]) -> None:
        """Ends a run in which too much fails.

        Raises:
            TooManyFailures: the share of failures exceeds the cap.
        """
        if self.tried >= 20 and self.failed > self.cap * self.tried:
            last = next(prediction.error for prediction in reversed(predictions) if prediction.error)
            raise TooManyFailures(f"{self.failed} of {self.tried} samples failed, the last with: {last}")


@dataclass
class Loop:
    """One predictor at work for one task. `in_model` adds up the seconds spent in the predictor itself."""

    predictor: Predictor
    max_new_tokens: int
    batch_size: BatchSize
    save: Save
    failures: Failures = field(default_factory=Failures)
    in_model: float = 0.0

    def run(self, prompts: Iterable[Prompt]) -> None:
        """Answers and saves every prompt; they are asked for as they are needed, at most two batches ahead.

        Raises TooManyFailures; an interruption loses the batch (or the answers) in flight, nothing else.
        """
        if isinstance(self.predictor, EnginePredictor):
            self._run_engine(self.predictor, iter(prompts))
            return
        queue, source = deque[Prompt](), iter(prompts)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare") as thread:
            try:
                ahead = self._prepare_next(thread, queue, source)
                while ahead:
                    batch, prepared = ahead
                    ahead = self._prepare_next(thread, queue, source)
                    self._finish(batch, self._answer(batch, prepared, queue))
                    ahead = ahead or self._prepare_next(thread, queue, source)
            finally:
                thread.shutdown(wait=False, cancel_futures=True)

    def _run_engine(self, predictor: EnginePredictor, source: Iterator[Prompt]) -> None:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare") as thread:
            groups = _Groups(self, predictor, thread, source)
            try:
                with closing(predictor.stream(groups, self.max_new_tokens, self.batch_size.wanted)) as stream:
                    while True:
                        start, waited = time.perf_counter(), groups.waited
                        ended = next(stream, None)
                        self.in_model += time.perf_counter() - start - (groups.waited - waited)
                        for prompt in groups.take_failed():
                            self._finish([prompt], [self._ask_alone(prompt)])
                        if ended is None:
                            break
                        groups.answered(prompt for prompt, _ in ended)
                        self._finish([prompt for prompt, _ in ended], [self._or_alone(*pair) for pair in ended])
                for prompt in groups.forgotten:  # none, unless an engine loses one
                    self._finish([prompt], [self._ask_alone(prompt)])
            finally:
                thread.shutdown(wait=False, cancel_futures=True)

    def _prepare_next(
        self, thread: ThreadPoolExecutor, queue: deque[Prompt], source: Iterator[Prompt]
    ) -> tuple[list[Prompt], Future[Any]] | None:
        queue.extend(islice(source, max(0, self.batch_size.size - len(queue))))
        if not queue:
            return None
        batch = [queue.popleft() for _ in range(min(self.batch_size.size, len(queue)))]
        return batch, thread.submit(self._prepare, batch)

    def _prepare(self, batch: list[Prompt]) -> Any:
        return self.predictor.prepare(batch) if isinstance(self.predictor, OverlappingPredictor) else None

    def _answer(self, batch: list[Prompt], prepared: Future[Any], queue: deque[Prompt]) -> list[Generation]:
        """Generations of the batch; an empty list when it was put back in smaller pieces."""
        if len(batch) > self.batch_size.size:  # made before the one in front of it turned out too large
            queue.extendleft(reversed(batch))
            return []
        try:
            ready = prepared.result()
            return self._generate(batch, ready)
        except Unusable:
            raise
        except Exception as error:  # noqa: BLE001  whatever one sample does must not end the run
            too_large = len(batch) > 1 and is_out_of_memory(error)
        if too_large:
            self.batch_size.out_of_memory(len(batch))
            release_memory()
            queue.extendleft(reversed(batch))
            return []
        return [self._ask_alone(prompt) for prompt in batch]

    def _generate(self, batch: list[Prompt], ready: Any) -> list[Generation]:
        start = time.perf_counter()
        if isinstance(self.predictor, OverlappingPredictor):
            generations = self.predictor.generate(ready, self.max_new_tokens)
        else:
            generations = self.predictor.predict(batch, self.max_new_tokens)
        seconds = time.perf_counter() - start
        self.in_model += seconds
        self.batch_size.answered(len(batch), seconds)
        if len(generations) != len(batch):
            raise AssertionError(f"{self.predictor.name}: {len(generations)} answers to {len(batch)} prompts")
        return [self._or_alone(*pair) for pair in zip(batch, generations, strict=True)]

    def _or_alone(self, prompt: Prompt, generation: Generation) -> Generation:
        return self._ask_alone(prompt) if generation.error else generation

    def _ask_alone(self, prompt: Prompt) -> Generation:
        try:
            return self.predictor.predict([prompt], self.max_new_tokens)[0]
        except Unusable:
            raise
        except Exception as error:  # noqa: BLE001  the sample's state is "error", with this text
            return Generation(text=None, error=f"{type(error).__name__}: {error}")

    def _finish(self, batch: list[Prompt], generations: list[Generation]) -> None:
        predictions = [self._to_prediction(*pair) for pair in zip(batch, generations, strict=False)]
        if not predictions:
            return
        self.save(predictions)
        self.failures.count(predictions)
        self.failures.check(predictions)

    def _to_prediction(self, prompt: Prompt, generation: Generation) -> Prediction:
        return Prediction(
            index=prompt.index,
            prompt=self.predictor.render(prompt),
            text=generation.text,
            num_tokens=generation.num_tokens,
            finish_reason=generation.finish_reason,
            error=generation.error,
        )


GROUP = 16
"""Prompts that are prepared together for an engine: as many pictures pass the vision tower at once."""


class _Groups:
    """Prompts with what `prepare` made of them, one group ahead. `waited` adds up the seconds that took.

    A group that raises is prepared prompt by prompt; what raises alone is kept for `take_failed`.
    """

    def __init__(
        self, loop: Loop, predictor: EnginePredictor, thread: ThreadPoolExecutor, source: Iterator[Prompt]
    ) -> None:
        self.predictor = predictor
        self.thread = thread
        self.source = source
        self.size = min(GROUP, loop.batch_size.wanted or GROUP)
        self.waited = 0.0
        self._failed: list[Prompt] = []
        self._handed: dict[str, Prompt] = {}
        self._ahead = self._next()

    def __iter__(self) -> _Groups:
        return self

    def __next__(self) -> tuple[list[Prompt], Any]:
        start = time.perf_counter()
        try:
            while self._ahead:
                group, prepared = self._ahead
                self._ahead = self._next()
                try:
                    ready = prepared.result()
                except Unusable:
                    raise
                except Exception:  # noqa: BLE001  whatever one sample does must not end the run
                    group = self._one_by_one(group)
                    if not group:
                        continue
                    ready = self.predictor.prepare(group)
                self._handed |= {prompt.index: prompt for prompt in group}
                return group, ready
            raise StopIteration
        finally:
            self.waited += time.perf_counter() - start

    def take_failed(self) -> list[Prompt]:
        failed, self._failed = self._failed, []
        return failed

    def answered(self, prompts: Iterable[Prompt]) -> None:
        for prompt in prompts:
            del self._handed[prompt.index]

    @property
    def forgotten(self) -> list[Prompt]:
        """What was handed out and not answered."""
        return list(self._handed.values())

    def _next(self) -> tuple[list[Prompt], Future[Any]] | None:
        group = list(islice(self.source, self.size))
        return (group, self.thread.submit(self.predictor.prepare, group)) if group else None

    def _one_by_one(self, group: list[Prompt]) -> list[Prompt]:
        """Those that can be prepared."""
        kept = []
        for prompt in group:
            try:
                self.predictor.prepare([prompt])
            except Unusable:
                raise
            except Exception:  # noqa: BLE001  asked alone, it raises again, and that is stored
                self._failed.append(prompt)
            else:
                kept.append(prompt)
        return kept
