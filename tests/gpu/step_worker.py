"""One optimizer step on one device: `torchrun step_worker.py cpu|cuda fp32|bf16 OUT [fsdp]` saves its gradients."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from train_helpers import Gradients, parts, sft, write_root

from train.machine import Machine
from train.run_stage import collator, prepare_model, training_arguments, training_data
from train.trainer import AkiTrainer


def main(device: str, precision: str, out: str, *flags: str) -> None:
    model, processor = parts()
    gradients = Gradients()
    machine = Machine(micro_batch=4, cpu=device == "cpu", logging_steps=1, fsdp="fsdp" in flags)
    with tempfile.TemporaryDirectory() as folder:
        root = write_root(Path(folder))
        stage = sft(steps=1, precision=precision)
        prepare_model(model, stage)
        arguments = training_arguments(stage, root / "out", machine, model)
        trainer = AkiTrainer(
            stage=stage,
            model=model,
            args=arguments,
            train_dataset=training_data(stage, root, processor, arguments, None, None),
            data_collator=collator(stage, processor, several=machine.fsdp),
            callbacks=[gradients],
        )
        assert trainer.is_fsdp_enabled == machine.fsdp
        trainer.train()
    whole = {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).float().cpu()
        for name, value in gradients.steps[0].items()
    }
    torch.save(whole, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
