"""What is proved about a model before its answers are believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.records import Prompt, UserError

from .batching import ordered
from .inputs import TaskInput
from .predictors import Predictor


def check_mask(predictor: Predictor) -> dict[str, Any] | None:
    """The model's mask self-test.

    Raises UserError when it fails: a silently causal model gives plausible, wrong scores.
    """
    record = predictor.self_test()
    if record is not None and not record.get("passed"):
        raise UserError(f"the attention mask of {predictor.name} does not do what its configuration says: {record}")
    return record


def check_batching(predictor: Predictor, inputs: Sequence[TaskInput], count: int, batch_size: int) -> dict[str, Any]:
    """Answers `count` samples, dealt over the tasks, one by one and in batches.

    Raises UserError naming the first that differs.
    """
    differing = []
    chosen = _spread(inputs, count)
    for given, prompts in chosen:
        limit = given.task.max_new_tokens
        alone = [predictor.predict([prompt], limit)[0].text for prompt in prompts]
        together = [
            generation.text
            for start in range(0, len(prompts), batch_size)
            for generation in predictor.predict(prompts[start : start + batch_size], limit)
        ]
        pairs = zip(prompts, alone, together, strict=True)
        differing += [(given.task.name, prompt.index, one, many) for prompt, one, many in pairs if one != many]
    if differing:
        task, index, one, many = differing[0]
        raise UserError(
            f"--check-batching: {len(differing)} samples are answered differently in batches of {batch_size}, "
            f"first {task} {index}: alone {one!r}, in a batch {many!r}; run with --batch-size 1 or --dtype float32"
        )
    return {"batch_size": batch_size, "num_samples": sum(len(prompts) for _, prompts in chosen), "num_different": 0}


def _spread(inputs: Sequence[TaskInput], count: int) -> list[tuple[TaskInput, list[Prompt]]]:
    """About `count` prompts, evenly over the tasks and, within a task, over the range of lengths."""
    share = max(1, -(-count // len(inputs)))
    chosen = []
    for given in inputs:
        prompts = ordered(given.prompts)
        step = max(1, len(prompts) // share)
        chosen.append((given, prompts[::step][:share]))
    return chosen
