"""One process's share of the samples: asked, answered, stored, shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.records import Prediction, Prompt
from benchmarks.results.store import RunStore

from ..predictors import Predictor, TaskAwarePredictor
from .batching import BatchSize
from .inputs import TaskInput
from .loop import Failures, Loop
from .options import RunOptions
from .progress import Progress


@dataclass
class WorkDone:
    """`num_predicted` counts the samples that were really asked; `seconds` of work, `seconds_in_model` of them."""

    num_predicted: int = 0
    seconds: float = 0.0
    seconds_in_model: float = 0.0


@dataclass(kw_only=True)
class Answering:
    """`check` is called after every batch, and may raise."""

    options: RunOptions
    predictor: Predictor
    folder: RunStore
    rank: int
    progress: Progress
    check: Callable[[], None]
    done: WorkDone = field(default_factory=WorkDone)

    def answer(self, inputs: Sequence[TaskInput], prompts: Mapping[str, list[Prompt]]) -> WorkDone:
        """Every prompt of every task.

        Raises:
            TooManyFailures: the cap is exceeded.
        """
        failures = Failures(cap=self.options.max_failure_rate)
        batch_size = BatchSize(self.options.batch_size, start=self.predictor.batch_size)
        with self.progress.predicting({name: len(own) for name, own in prompts.items() if own}):
            for given in inputs:
                if prompts[given.task.name]:
                    self._answer_task(given, prompts[given.task.name], batch_size, failures)
        return self.done

    def _answer_task(self, given: TaskInput, prompts: list[Prompt], batch_size: BatchSize, failures: Failures) -> None:
        task = given.task
        targets = {} if task.judged else {sample.index: sample.target for sample in given.samples}

        twins = _twins(prompts) if self.options.probe else {}

        def save(predictions: list[Prediction]) -> None:
            known = [
                replace(each, index=index) for each in predictions for index in twins.get(each.index, [each.index])
            ]
            append(known)
            self.done.num_predicted += len(predictions)
            self.progress.advance(task.name, known, _num_right(targets, known))
            self.check()

        if isinstance(self.predictor, TaskAwarePredictor):
            self.predictor.begin(task, given.samples, self.options.prompts)
        loop = Loop(self.predictor, given.max_new_tokens, batch_size, save, failures)
        start = time.perf_counter()
        try:
            with self.folder.appender(task.name, self.rank) as append:
                loop.run([prompt for prompt in prompts if not twins or prompt.index in twins])
        finally:
            self.done.seconds += time.perf_counter() - start
            self.done.seconds_in_model += loop.in_model


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
