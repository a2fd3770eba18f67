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
    async_checkpoints: bool | None = None
    """Write checkpoints while the training goes on; the CPU's memory holds a copy meanwhile. None: on GPUs."""
    report_to: Sequence[str] = ()
    fsdp: bool = False
    gradient_checkpointing: bool | None = None
    """None: as the stage says."""
    peak_flops: float | None = None
    """Of one device, for the MFU in the log."""
    cpu: bool = False
    until: float | None = None
    """Of `time.monotonic`: when to stop, with a checkpoint."""
    shard_cache: float = 200.0
    """Gigabytes of remote shards that are kept."""
    eval_every: int | None = None
    """Optimizer steps between evaluations of checkpoints; None: there are none."""
    eval_arguments: Sequence[str] = ()
    """Of `aki-eval run`, beside the model and the run folder."""
    changed_data: bool = False
    """Go on from a checkpoint although the data are others now."""

    def accumulation(self, stage: Stage, world_size: int) -> int:
        """Micro-batches of a process in one optimizer step, of `micro_batch` samples on average at most.

        The batch need not be divisible: some processes then take one sample less.

        Raises:
            UserError: it must be, because the stage averages over micro-batches.
        """
        slots = -(-stage.batch_size // (self.micro_batch * world_size))
        if stage.averaging == "micro_batch" and stage.batch_size % (slots * world_size):
            raise UserError(
                f"stage {stage.name!r}: averaging = 'micro_batch' needs micro-batches of one size, and batch_size "
                f"{stage.batch_size} is no multiple of {world_size} processes times {slots}; change --micro-batch"
            )
        return slots

    def checkpoints_gradients(self, stage: Stage) -> bool:
        """Whether activations are computed twice: the command line, else the recipe, else on GPUs."""
        said = stage.gradient_checkpointing if self.gradient_checkpointing is None else self.gradient_checkpointing
        return not self.cpu if said is None else said

    def writes_beside(self) -> bool:
        """Whether checkpoints are written while the training goes on. On a CPU the two would share its time."""
        return not self.cpu if self.async_checkpoints is None else self.async_checkpoints

    def readers(self, num_streams: int, world_size: int) -> int:
        """Workers of a process that read caption streams: as many as divide them, up to `workers`.

        Raises:
            UserError: not even the processes divide them.
        """
        if num_streams % world_size:
            raise UserError(
                f"{num_streams} caption streams cannot be divided among {world_size} processes; set the stage's "
                f"`streams` to a multiple of {world_size}, with at least as many shards"
            )
        return max((n for n in range(1, self.workers + 1) if num_streams % (world_size * n) == 0), default=0)


def is_first() -> bool:
    """Whether this is the process that speaks and writes for all."""
    return os.environ.get("RANK", "0") == "0"


def world_size() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))
