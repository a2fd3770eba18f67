"""What is looked at before any answer is believed, or paid for: servers and keys, the mask, batching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import Prompt
from benchmarks.results.record import BatchingCheck, DifferingSample, RunRecord
from benchmarks.task import Task

from ..judges import JudgeOptions
from ..predictors import Predictor, RemotePredictor
from .batching import ordered
from .inputs import TaskInput

SECONDS = 10.0
"""For one reply; who does not answer by then would hold up every sample."""


def check_ahead(predictor: Predictor | None, judge: JudgeOptions, tasks: Sequence[Task]) -> None:
    """Asks, before the first sample of `tasks`, whether servers answer, know the model and take the key.

    A judge is asked in every task, if only to read answers that no rule can.

    Raises:
        UserError: one does not.
    """
    if not tasks:
        return
    judge.check_ahead()
    if isinstance(predictor, RemotePredictor):
        predictor.reach(SECONDS)


def refuse_failed_checks(run: RunRecord) -> None:
    """Refuses a run whose run.json records a failure of the mask or of batching.

    A silently causal model, or one that answers differently in batches, gives plausible and wrong scores.

    Raises:
        UserError: it does.
    """
    mask, batching = run.mask_self_test, run.check_batching
    refuse_failed_self_test(run.model.name, mask.model_dump() if mask else None)
    if batching is not None and batching.differing:
        first = batching.differing[0]
        count = f"{len(batching.differing)} of {batching.num_samples} samples"
        raise UserError(
            f"--check-batching: {count} are answered differently in batches of {batching.batch_size}, first "
            f"{first.task} {first.index}: alone {first.alone!r}, in a batch {first.in_batch!r}; "
            "run with --batch-size 1 or --dtype float32"
        )


def refuse_failed_self_test(name: str, tested: Mapping[str, Any] | None) -> None:
    """Refuses a model whose own self-test says that it is not what it is said to be.

    Raises:
        UserError: it does.
    """
    if tested is not None and not tested["passed"]:
        from model.self_test import failures

        found = "; ".join(failures(dict(tested))) or "its self-test failed"
        raise UserError(
            f"the attention mask of {name} does not do what its configuration says "
            f"({tested.get('attention', 'attention unknown')}, {tested.get('backend', 'back end unknown')}): {found}. "
            "run.json has all that was measured"
        )


def check_batching(predictor: Predictor, inputs: Sequence[TaskInput], count: int, batch_size: int) -> BatchingCheck:
    """Answers about `count` samples, dealt over the tasks, alone and in batches; the record names all that differ."""
    chosen = _spread(inputs, count)
    differing = [
        difference for given, prompts in chosen for difference in _compare(predictor, given, prompts, batch_size)
    ]
    return BatchingCheck(
        batch_size=batch_size,
        num_samples=sum(len(prompts) for _, prompts in chosen),
        differing=differing,
    )


def _compare(
    predictor: Predictor, given: TaskInput, prompts: Sequence[Prompt], batch_size: int
) -> list[DifferingSample]:
    limit = given.max_new_tokens
    alone = [predictor.predict([prompt], limit)[0].text for prompt in prompts]
    together = [
        generation.text
        for start in range(0, len(prompts), batch_size)
        for generation in predictor.predict(prompts[start : start + batch_size], limit)
    ]
    return [
        DifferingSample(task=given.task.name, index=prompt.index, alone=one, in_batch=many)
        for prompt, one, many in zip(prompts, alone, together, strict=True)
        if one != many
    ]


def _spread(inputs: Sequence[TaskInput], count: int) -> list[tuple[TaskInput, list[Prompt]]]:
    """About `count` prompts, evenly over the tasks and, within a task, over the range of lengths."""
    share = max(1, -(-count // len(inputs)))
    chosen = []
    for given in inputs:
        prompts = ordered(given.prompts)
        step = max(1, len(prompts) // share)
        chosen.append((given, prompts[::step][:share]))
    return chosen
