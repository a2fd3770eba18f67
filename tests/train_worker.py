"""One process of a training run that a test starts: `python train_worker.py ROOT OUT [fsdp]`.

Under torchrun each process trains its share. The samples, the batches and so the weights are those of one process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from train_helpers import machine, parts, pretrain, sft

from train import run_stage as stages
from train.recipe import ModelChoice, Recipe
from train.run_recipe import Parts, run_recipe


def let_cpus_shard() -> None:
    """accelerate ignores FSDP on CPUs, although torch can do it there: what it asks for is the kind of devices."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    original = stages.training_arguments

    def training_arguments(*args: Any) -> Any:
        made = original(*args)
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU
        return made

    stages.training_arguments = training_arguments


def main(root: str, out: str, *flags: str) -> None:
    torch.set_num_threads(1)
    if "fsdp" in flags:
        let_cpus_shard()
    recipe = Recipe(name="test", title="test", model=ModelChoice(), stages=(pretrain(steps=4), sft(steps=6)))
    settings = machine(1, save_steps=1, fsdp="fsdp" in flags)
    run_recipe(recipe, lambda: Parts(*parts()), data_root=Path(root), out=Path(out), machine=settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
