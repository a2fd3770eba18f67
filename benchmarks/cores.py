"""How many of the machine's cores a process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """This process's share of the machine's cores: what its scheduler allows it, over those beside it."""
    allowed = os.environ.get("SLURM_CPUS_PER_TASK", "")
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "")  # torchrun's, which binds nobody to cores
    return max(1, min(free, int(allowed) if allowed.isdecimal() else free // int(beside or 1)))
