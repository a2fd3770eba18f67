"""How a stage runs on the machine at hand. Needs no torch, so that command lines can name the settings at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.errors import UserError

if TYPE_CHECKING:
    from .recipe import Stage


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a stage runs on this machine. None of it changes what is learned (rounding aside)."""

    micro_batch: int
    workers: int = 0
    logging_steps: int = 10
    save_steps: int | None = None
    keep_checkpoints: int | None = None
    report_to: Sequence[str] = ()
    fsdp: bool = False
    gradient_checkpointing: bool = False
    peak_flops: float | None = None
    """Of one device, for the MFU in the log."""
    cpu: bool = False

    def accumulation(self, stage: Stage, world_size: int) -> int:
        """Micro-batches of a process in one optimizer step.

        Raises:
            UserError: the batch cannot be divided.
        """
        together = self.micro_batch * world_size
        if stage.batch_size % together:
            raise UserError(
                f"stage {stage.name!r}: batch_size {stage.batch_size} is no multiple of {world_size} processes times "
                f"micro-batches of {self.micro_batch}; change --micro-batch"
            )
        return stage.batch_size // together


def is_first() -> bool:
    """Whether this is the process that speaks and writes for all."""
    return os.environ.get("RANK", "0") == "0"


def world_size() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))
