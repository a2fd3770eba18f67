"""One worker at its samples: takes chunks of them, asks, stores, shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from benchmarks.records import Prediction, Prompt

from ..predictors import Predictor, TaskAwarePredictor
from ..predictors.base import ProbabilityPredictor
from .batching import BatchSize, ordered
from .chunks import Chunk
from .inputs import TaskInput
from .likelihood import ask_likelihoods, likelihood_lot, wanted_names
from .loop import Failures, Loop
from .opening import Opened
from .options import RunOptions
from .progress import Progress

FIRST_WAIT, WAIT = 0.05, 2.0
"""Seconds between two looks for work that others may have left: at first, and at most."""


@dataclass
class WorkDone:
    """`num_predicted` counts the samples that were really asked; `seconds` of work, `seconds_in_model` of them."""

    num_predicted: int = 0
    seconds: float = 0.0
    seconds_in_model: float = 0.0


@dataclass(kw_only=True)
class Working:
    """`check` is called after every batch and while there is nothing to do, and may raise."""

    options: RunOptions
    predictor: Predictor
    opened: Opened
    progress: Progress
    check: Callable[[], None]
    done: WorkDone = field(default_factory=WorkDone)

    def until_all_is_done(self, inputs: Sequence[TaskInput]) -> WorkDone:
        """Asks what nobody else does, and waits for what others do: should they die, it is done here.

        Raises:
            TooManyFailures: the cap is exceeded.
            UserError: the others have given this worker up.
        """
        chunks = self.opened.chunks
        failures = Failures(cap=self.options.max_failure_rate)
        batch_size = BatchSize(self.options.batch_size, start=self.predictor.batch_size)
        totals = {given.task.name: number for given in inputs if (number := chunks.count(given.task.name))}
        chunks.elsewhere = self.progress.elsewhere
        pause = FIRST_WAIT
        with self.progress.predicting(totals):
            while not chunks.all_done():
                # Probabilities first: one pass a question, and a run that ends early has them.
                took = [self._ask_likelihoods(given) for given in inputs if likelihood_lot(given) in chunks.lots]
                took += [self._answer(given, batch_size, failures) for given in inputs]
                if any(took):
                    pause = FIRST_WAIT
                elif not chunks.all_done():
                    time.sleep(pause)
                    self.check()
                    pause = min(2 * pause, WAIT)
        return self.done

    def _answer(self, given: TaskInput, batch_size: BatchSize, failures: Failures) -> bool:
        """All chunks of the task that can be taken; False where there were none."""
        taken = self.opened.chunks.take(given.task.name)
        first = next(taken, None)
        if first is None:
            return False
        if isinstance(self.predictor, TaskAwarePredictor):
            self.predictor.begin(given.task, given.samples, self.options.prompts)
        with _TaskWork(self, given) as work:
            loop = Loop(self.predictor, given.max_new_tokens, batch_size, work.save, failures)
            start = time.perf_counter()
            try:
                loop.run(work.prompts(chain([first], taken)))
            finally:
                self.done.seconds += time.perf_counter() - start
                self.done.seconds_in_model += loop.in_model
        return True

    def _ask_likelihoods(self, given: TaskInput) -> bool:
        assert isinstance(self.predictor, ProbabilityPredictor), "refused before"
        start = time.perf_counter()
        size = self.options.batch_size or self.predictor.batch_size
        names = wanted_names(self.options.judge.protocols)
        opened = self.opened
        asked = ask_likelihoods(
            opened.folder, given, self.predictor, names, size, opened.worker, opened.chunks, self.check_all
        )
        if asked:
            seconds = time.perf_counter() - start
            self.progress.say(f"{given.task.name}: option probabilities of {asked} questions in {seconds:.1f} s")
        return asked > 0

    def check_all(self) -> None:
        """Before anything is written."""
        self.opened.roll.check()
        self.check()


class _TaskWork:
    """One task's chunks on their way through the loop: what of each is still out, and where its answers go."""

    def __init__(self, working: Working, given: TaskInput) -> None:
        self.working = working
        self.given = given
        self._prompts = {prompt.index: prompt for prompt in given.prompts}
        self._targets = {} if given.task.judged else {sample.index: sample.target for sample in given.samples}
        self._twins: dict[str, list[str]] = {}
        self._chunk_of: dict[str, Chunk] = {}
        self._out: dict[int, int] = {}
        self._appender = working.opened.folder.appender(given.task.name, working.opened.worker)

    def __enter__(self) -> _TaskWork:
        self._appender.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._appender.__exit__(*error)

    def prompts(self, chunks: Iterable[Chunk]) -> Iterator[Prompt]:
        """What is to be asked, chunk by chunk."""
        for chunk in chunks:
            prompts = [self._prompts[index] for index in chunk.indices]
            if chunk.taken_over:
                known = self.working.opened.folder.predictions(self.given.task.name)
                prompts = [each for each in prompts if each.index not in known or known[each.index].error is not None]
                self.working.progress.elsewhere(chunk.lot, len(chunk.indices) - len(prompts))
            if not prompts:
                self.working.opened.chunks.finish(chunk.lot, chunk.number)
                continue
            self._out[chunk.number] = len(prompts)
            self._chunk_of |= {prompt.index: chunk for prompt in prompts}
            twins = _twins(prompts) if self.working.options.probe else {each.index: [each.index] for each in prompts}
            self._twins |= twins
            yield from ordered([prompt for prompt in prompts if prompt.index in twins], self.given.open_ended)

    def save(self, predictions: list[Prediction]) -> None:
        """Also for the prompts that are the same; a chunk is finished when its last answer is on the disk."""
        working, name = self.working, self.given.task.name
        known = [replace(each, index=index) for each in predictions for index in self._twins[each.index]]
        working.opened.roll.check()
        self._appender(known)
        working.done.num_predicted += len(predictions)
        working.progress.advance(name, known, _num_right(self._targets, known))
        for each in known:
            chunk = self._chunk_of.pop(each.index)
            self._out[chunk.number] -= 1
            if not self._out[chunk.number]:
                self._appender.settle()
                working.opened.chunks.finish(name, chunk.number)
        working.check()


def _twins(prompts: Sequence[Prompt]) -> dict[str, list[str]]:
    """First index -> indices of all prompts that are the same to the last letter and picture: one answer is enough.

    Without their pictures many questions are.
    """
    first: dict[tuple[str, ...], str] = {}
    twins: dict[str, list[str]] = {}
    for prompt in prompts:
        parts = tuple(part if isinstance(part, str) else f"picture {part.key}" for part in prompt.parts)
        twins.setdefault(first.setdefault(parts, prompt.index), []).append(prompt.index)
    return twins


def _num_right(targets: Mapping[str, str], predictions: Sequence[Prediction]) -> int | None:
    """How many answers are the right one word for word: a glimpse for the progress bar, never a score."""
    if not targets:
        return None
    pairs = [(prediction.text or "", targets[prediction.index]) for prediction in predictions]
    return sum(text.strip(" .()").lower() == target.strip(" .()").lower() for text, target in pairs)
