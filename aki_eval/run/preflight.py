"""What is looked at before any answer is believed, or paid for: servers and keys, the mask, batching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import Prompt
from benchmarks.results.record import BatchingCheck, DifferingSample, EngineCheck, RunRecord
from benchmarks.task import Task

from ..judges import JudgeOptions
from ..predictors import EnginePredictor, Predictor, RemotePredictor, Unusable
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


ADMISSION = 16
"""Questions by which an engine is admitted: so many, or one of each task where there are more tasks."""


def admit_engine(predictor: EnginePredictor, inputs: Sequence[TaskInput], rows: int | None) -> EngineCheck:
    """Asks questions of the run, dealt over tasks and lengths, by the engine and by its reference.

    Raises:
        UserError: one answer is not the same, token for token, or none could be compared.
    """
    if not inputs:
        raise UserError(f"--engine {predictor.engine}: there is no question to compare it with generate on")
    count = max(len(inputs), ADMISSION // len(inputs) * len(inputs))
    lengths: list[int] = []
    differing: list[str] = []
    unanswered: list[str] = []
    for given, prompts in _spread(inputs, count):
        for prompt, (reference, found) in _both_ways(predictor, prompts, given.max_new_tokens, rows):
            if isinstance(found, str):
                unanswered.append(found)
                continue
            lengths.append(len(reference))
            if found != reference:
                differing.append(f"{given.task.name} {prompt.index} from token {_first_other(reference, found)} on")
    if differing:
        raise UserError(
            f"--engine {predictor.engine} does not answer as generate does: {len(differing)} of {len(lengths)} answers "
            f"differ, first {differing[0]}; nothing was asked: leave it out, or try --dtype float32"
        )
    if not lengths:
        reason = unanswered[0] if unanswered else "they fail"
        raise UserError(f"--engine {predictor.engine}: it answers none of the questions tried ({reason}); leave it out")
    return EngineCheck(
        **predictor.describe_engine(), num_questions=len(lengths), num_tokens=sum(lengths), longest=max(lengths)
    )


BothWays = tuple[list[int], list[int] | str]


def _both_ways(
    predictor: EnginePredictor, prompts: Sequence[Prompt], limit: int, rows: int | None
) -> list[tuple[Prompt, BothWays]]:
    """Without the questions that fail: those will be errors of the run, whoever answers."""
    try:
        return list(zip(prompts, predictor.both_ways(prompts, limit, rows), strict=True))
    except Unusable:
        raise
    except Exception:  # noqa: BLE001  whatever one sample does must not end the run
        if len(prompts) == 1:
            return []
        return [pair for prompt in prompts for pair in _both_ways(predictor, [prompt], limit, rows)]


def _first_other(reference: Sequence[int], found: Sequence[int]) -> int:
    """Counted from 1."""
    pairs = zip(reference, found, strict=False)
    return 1 + next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(reference), len(found)))


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
