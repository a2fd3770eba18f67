"""What a probe is, and what it makes of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..records import Prediction, Prompt, PromptStyle, Sample
from ..task import Task

ROLL = "#roll"
"""Between a question's index and the number of places its options have moved."""


def base_index(index: str) -> str:
    """The index in the table of what a probe asks: that of the question whose roll this is."""
    return index.partition(ROLL)[0]


@dataclass(frozen=True, kw_only=True)
class ProbedTask:
    """What is asked of a task under a probe: samples and a prompt for each. Targets are those of the samples.

    `left_out`: by the table's index, why the probe cannot ask a question; it is then not asked at all, never as it is.
    """

    samples: list[Sample]
    prompts: list[Prompt]
    left_out: dict[str, str] = field(default_factory=dict)


Asked = Sequence[tuple[Sample, Prompt]]
"""The samples of a task's whole table, with the prompts that they have without a probe."""


def as_answered(sample: Sample, prediction: Prediction) -> Prediction:
    """For probes that change nothing about how an answer is read."""
    return prediction


@dataclass(frozen=True, kw_only=True)
class ProbeRule:
    """One way to ask otherwise.

    `does` is a sentence for people with the severity in it: it decides the answers, and so is part of what made a run.
    """

    name: str
    does: str
    apply: Callable[[Task, Asked, PromptStyle], ProbedTask]
    why_not: Callable[[Task], str | None] = lambda task: None
    """Why a whole task is not asked under this probe; None where it is."""
    read_back: Callable[[Sample, Prediction], Prediction] = as_answered
    """An answer in the words of the benchmark, for the protocols to read."""
    blind: bool = False
    """The picture that was asked about cannot be seen."""
    options: bool = False
    """Each question is asked in several orders of its options."""
