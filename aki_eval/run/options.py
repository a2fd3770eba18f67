"""What a run is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.probes import ProbeRule
from benchmarks.records import PromptStyle
from benchmarks.task import Task

from ..judges import JudgeOptions
from .score import TaskOutcome
from .subset import Subset


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What `aki-eval run` was asked for. `batch_size` None means automatic."""

    tasks: Sequence[Task]
    data: str
    out: Path
    prompts: PromptStyle = "aki"
    subset: Subset | None = None
    batch_size: int | None = None
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    max_new_tokens: int | None = None
    max_failure_rate: float = 0.1
    check_batching: int = 0
    fresh: bool = False
    join: bool = False
    """Others may be at the same run; under torchrun, srun, Slurm arrays and Kubernetes' indexed jobs always."""
    probe: ProbeRule | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UserError(f"--batch-size: {self.batch_size}, expected auto or a positive number")
        if not 0 < self.max_failure_rate <= 1:
            raise UserError(f"--max-failure-rate: {self.max_failure_rate}, expected a share between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came out.

    `num_predicted` counts the samples that were really asked. `scored`: this worker was the last one and has scored for
    all; for the others `results` is empty. `left_out` names the tasks without tables, with the reason.
    """

    num_predicted: int
    seconds: float
    seconds_in_model: float
    results: list[TaskOutcome]
    left_out: Mapping[str, str]
    scored: bool
