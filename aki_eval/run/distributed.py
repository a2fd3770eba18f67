"""Where this process stands among others that a launcher started: torchrun, srun, a Slurm array, a Kubernetes job.

Nothing is asked of the launcher but who it says we are. The processes meet in the run folder
(`benchmarks/results/roll.py`) and nowhere else: no port, no master, no waiting for each other; they may come late, die
and be added.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")


@dataclass(frozen=True)
class World:
    """This process's place among `size` processes that share a terminal.

    `local_rank` counts within the machine and picks the GPU. `joins`: others may be at the same run. `job`: what all of
    them, and nobody else, are part of; None where nothing says.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    joins: bool = False
    job: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether it speaks: one process of those whose output comes together."""
        return self.rank == 0


def find_world() -> World:
    """From the launcher's variables; alone where there are none."""
    array = _values("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    job: str | None = None
    if place := _values(*TORCHRUN):
        rank, size, local_rank = map(int, place)
        job = _torchrun_job()
    elif place := _values(*SRUN):
        rank, size, local_rank = map(int, place)
        job = ".".join(_values("SLURM_JOB_ID", "SLURM_STEP_ID") or ()) or None
    else:
        rank, size, local_rank = 0, 1, 0
    index = os.environ.get("JOB_COMPLETION_INDEX", "")
    if array:
        job = f"array {array[0]}"
    elif index:
        job = _kubernetes_job(index)
    return World(rank, size, local_rank, joins=size > 1 or bool(array or index), job=job)


def _values(*names: str) -> list[str] | None:
    """All of them, or None."""
    found = [os.environ.get(name, "") for name in names]
    return found if all(found) else None


def _torchrun_job() -> str:
    """Its run id; by default that is `none`, and the agent's number says which start it is."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    where = ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
    return f"torchrun {name}" if name != "none" else f"torchrun {where} {os.getppid()}"


def _kubernetes_job(index: str) -> str | None:
    """The pods of an indexed job are called JOB-INDEX, and so are their hosts."""
    name, _, number = socket.gethostname().rpartition("-")
    return f"kubernetes {name}" if number == index else None
