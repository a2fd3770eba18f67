"""One optimizer step on one device: `torchrun step_worker.py cpu|cuda fp32|bf16 OUT [fsdp]` saves its gradients."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from train_helpers import Gradients, parts, sft, write_root

from train.stages import Machine, run_stage


def main(device: str, precision: str, out: str, *flags: str) -> None:
    model, processor = parts()
    gradients = Gradients()
    machine = Machine(micro_batch=4, cpu=device == "cpu", logging_steps=1, fsdp="fsdp" in flags)
    with tempfile.TemporaryDirectory() as folder:
        root = write_root(Path(folder))
        stage = sft(steps=1, precision=precision)
        run_stage(
            stage, model, processor, data_root=root, out=root / "out", machine=machine, callbacks=[gradients]
        )
    whole = {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).float().cpu()
        for name, value in gradients.steps[0].items()
    }
    torch.save(whole, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
