"""The toy's training data on disk, written once for every training that needs the same. Needs no torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from benchmarks import toy_world

from .plan import ToyPlan, World

WRITERS: dict[World, Callable[..., None]] = {
    "toy": toy_world.write_training_data,
    "laboratory": toy_world.write_laboratory_data,
}


def ensure_training_data(plan: ToyPlan) -> Path:
    """The plan's captions and instruction sets, written once under the user's cache folder."""
    root = toy_world.default_root() / plan.key
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f"{root.name}.lock")):  # several starts at once wait for the first one's
        if not root.exists():
            half = root.with_name(f"{root.name}.half")  # also what a killed start left
            shutil.rmtree(half, ignore_errors=True)
            write = WRITERS[plan.world]
            write(half, num_images=plan.num_images, num_captions=plan.num_captions, seed=0, shard_size=1000)
            half.rename(root)
    return root
