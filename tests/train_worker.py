"""One process of a training run that a test starts: `python train_worker.py ROOT OUT [FLAG...]`.

Under torchrun each process trains its share. The samples, the batches and so the weights are those of one process.

fsdp: sharded. bf16: by autocast, three steps, measured on five held-out samples of each set. text: mostly questions
without pictures, gradients checkpointed. short: four steps of fine-tuning. chain: both stages, streams for two, three
and four processes, averages of the weights. lora: adapters and averages. die=N: killed when step N is done and its
checkpoint is whole; torn as well: while it is being written, where processes shard when the first has written its part.
gathers: gathered-N beside the last checkpoint, as one process writes it. full: the second process has no room for its
part of checkpoint-2.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from train_helpers import machine, parts, pretrain, sft

from train import run_recipe as recipes
from train import run_stage as stages
from train.lora import merged
from train.recipe import Ema, Lora, ModelChoice, Recipe, Validation
from train.run_recipe import Parts, run_recipe
from train.stopping import Stopped
from train.trainer import AkiTrainer
from train.weights import Part


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


class Telling(AkiTrainer):
    """Writes down with which precisions FSDP shards."""

    last = -1
    torn = False
    gathers = False
    full = False

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == self.last:
            if not self.torn:
                self.writing.finish()
            elif self.is_fsdp_enabled:
                folder = Path(self.args.output_dir, f"checkpoint-{self.last}")
                while not list(folder.glob("model-00001-of-*.safetensors")):
                    time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(*args, **kwargs)

    def _write_weights(self, folder: str, state: Any) -> None:
        if self.torn and folder.endswith(f"-{self.last}"):
            time.sleep(600)
        super()._write_weights(folder, state)

    def _save_checkpoint(self, *args: Any) -> None:
        super()._save_checkpoint(*args)
        if self.gathers and self.state.global_step == self.last:
            gathered = self.accelerator.get_state_dict(self.model)
            if self.is_world_process_zero():
                if self.stage.lora is not None:
                    gathered = merged(gathered, self.stage.lora)
                self.model.save_pretrained(
                    Path(self.args.output_dir, f"gathered-{self.state.global_step}"), state_dict=gathered
                )

    def _write_part(self, folder: Path, part: Part) -> None:
        if self.full and folder.name == "checkpoint-2" and self.args.process_index == 1:
            raise OSError(28, "No space left on device")
        if self.torn and folder.name.endswith(f"-{self.last}") and not self.is_world_process_zero():
            time.sleep(600)
        super()._write_part(folder, part)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        done = super().train(*args, **kwargs)
        states = [one._get_fsdp_state() for one in self.model.modules() if isinstance(one, FSDPModule)]
        policies = sorted({str({name: getattr(state._mp_policy, name) for name in POLICY}) for state in states})
        Path(self.args.output_dir, "policies.json").write_text(json.dumps(policies))
        return done


POLICY = ("param_dtype", "reduce_dtype", "output_dtype", "cast_forward_inputs")


def main(root: str, out: str, *flags: str) -> None:
    torch.set_num_threads(1)
    if "fsdp" in flags:
        let_cpus_shard()
    recipes.run_stage = partial(stages.run_stage, make_trainer=Telling)
    Telling.last = next((int(flag.removeprefix("die=")) for flag in flags if flag.startswith("die=")), -1)
    Telling.torn = "torn" in flags
    Telling.gathers = "gathers" in flags
    Telling.full = "full" in flags
    chosen = (pretrain(steps=4), sft(steps=6))
    if "bf16" in flags:
        held_out = Validation(every=2, samples=5, share=0.2, answers=1, answer_tokens=4)
        chosen = (sft(steps=3, precision="bf16", validation=held_out),)
    if "text" in flags:
        chosen = (sft(steps=4, data={"scienceqa": 1.0, "vqav2": 0.2}),)
    if "short" in flags:
        chosen = (sft(steps=4),)
    if "lora" in flags:
        chosen = (sft(steps=4, lora=Lora(rank=4, alpha=8.0), ema=Ema(decay=0.9)),)
    if "chain" in flags:
        chosen = (pretrain(steps=4, streams=12), sft(steps=5, ema=Ema(decay=0.9, export=True)))
    recipe = Recipe(name="test", title="test", model=ModelChoice(), stages=chosen)
    settings = machine(1, save_steps=1, fsdp="fsdp" in flags, gradient_checkpointing="text" in flags)
    try:
        run_recipe(recipe, lambda: Parts(*parts()), data_root=Path(root), out=Path(out), machine=settings)
    except Stopped as stopped:
        print(stopped)


if __name__ == "__main__":
    main(*sys.argv[1:])
