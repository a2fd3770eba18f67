"""The probe of the words: a second instruction for each task."""

from __future__ import annotations

from collections.abc import Callable

from ..prompts import from_template
from ..records import Prompt, PromptStyle, Sample
from ..task import Task
from ..tasks import mmmu
from .rule import Asked, ProbedTask, ProbeRule

WORD = "<image>\n{question}\nGive your answer as one word or a short phrase."
CHOICE = (
    "<image>\n{question}\n[[Background: {hint}\n]]Choices:\n{options}Reply with the letter of the right choice and "
    "nothing else."
)
OPEN = "<image>\nLook at the picture and answer this: {question}"


def _mmmu(sample: Sample) -> Prompt:
    template = CHOICE if sample.choices else WORD
    return mmmu.with_pictures_placed(sample, template.removeprefix("<image>\n"))


SECOND: dict[str, Callable[[Sample], Prompt]] = {
    "mme": from_template(WORD),
    "pope": from_template(WORD),
    "mmbench": from_template(CHOICE),
    "seed_image": from_template(CHOICE),
    "real_world_qa": from_template(CHOICE),
    "cv_bench": from_template(CHOICE),
    "mmmu": _mmmu,
    "mathvista": from_template(OPEN),
    "llava_bench": from_template(OPEN),
    "mm_vet": from_template(OPEN),
}
"""One second wording a task, whatever the style of the first."""


def _reworded(task: Task, asked: Asked, style: PromptStyle) -> ProbedTask:
    build = SECOND[task.name]
    return ProbedTask(
        samples=[sample for sample, _ in asked],
        prompts=[prompt if sample.fault else build(sample) for sample, prompt in asked],
    )


PARAPHRASE = ProbeRule(
    name="paraphrase",
    does="the instruction is worded in a second way, one for each task",
    apply=_reworded,
    why_not=lambda task: None if task.name in SECOND else "there is no second wording for it",
)
