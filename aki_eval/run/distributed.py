"""Several processes at one run: `torchrun --no-python aki-eval run ...`, or `srun`.

The processes meet twice before the first sample (rank 0 has prepared the folder; everybody holds a lock) and never
again: inside the loop nobody waits for anybody. Rank 0 learns from the locks when the others have ended, alive or dead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.errors import UserError
from benchmarks.records import Prompt

MEETING_HOURS = 2
"""How long the others wait while rank 0 reads tables and checksums weights."""


@dataclass(frozen=True)
class World:
    """This process's place among `size` processes; `local_rank` counts within the machine and picks the GPU."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def init(self) -> None:
        """Joins the others.

        Raises:
            UserError: the environment does not say where.
        """
        if self.size == 1:
            return
        if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
            raise UserError(
                f"{self.size} processes, but MASTER_ADDR and MASTER_PORT are not set; export both "
                "(under srun: the first node's name and a free port) or start with torchrun"
            )
        import torch.distributed as dist

        dist.init_process_group("gloo", rank=self.rank, world_size=self.size, timeout=timedelta(hours=MEETING_HOURS))

    def barrier(self) -> None:
        """Returns when all processes are here.

        Raises:
            UserError: one has gone (it says itself why).
        """
        if self.size == 1:
            return
        import torch.distributed as dist

        try:
            dist.barrier()
        except RuntimeError as error:
            raise UserError(f"rank {self.rank}: another process of this job ended early; see its message") from error

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The block, by rank 0 while the others wait, then by them. Where rank 0 fails, the others hear of it.

        Raises:
            UserError: as `barrier`.
        """
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    def destroy(self) -> None:
        """From here on nobody needs anybody."""
        if self.size == 1:
            return
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()

    def shard(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """This process's part. Questions about one picture stay together, so that no two processes encode it."""
        owners: dict[tuple[str, ...], int] = {}
        for prompt in prompts:
            owners.setdefault(_pictures(prompt), len(owners) % self.size)
        return [prompt for prompt in prompts if owners[_pictures(prompt)] == self.rank]


def _pictures(prompt: Prompt) -> tuple[str, ...]:
    return tuple(image.key for image in prompt.images) or (prompt.index,)


def find_world() -> World:
    """From torchrun's variables, or from those of a Slurm step; alone where neither is set."""
    for names in (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")):
        if all(name in os.environ for name in names):
            return World(*(int(os.environ[name]) for name in names))
    return World()
