"""How long the training stands still for a checkpoint: written at once, and beside it.

    python tests/bench/checkpoints.py [--width 512] [--layers 12]

An AKI with a Phi-3 of that size (a checkpoint of 608 MB by default), optimizer steps of 4 toy samples, a checkpoint
after every fourth. Both ways take turns, twice, in one run. Prints for each the seconds that saving held up the
training, those of a step, and of the whole training; for those beside it also what the next save and the end waited.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Phi3Config, TrainerCallback

sys.path.insert(0, str(Path(__file__).parents[1]))
from train_helpers import machine, parts, sft, write_root

from model import AkiConfig, AkiForConditionalGeneration
from train.run_stage import run_stage
from train.trainer import AkiTrainer
from train.writing import Writing

EVERY, STEPS = 4, 12


class Timed(AkiTrainer):
    """How long saving takes the training's own thread."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.saves: list[float] = []

    def _save_checkpoint(self, *args: Any) -> None:
        start = time.perf_counter()
        super()._save_checkpoint(*args)
        self.saves.append(time.perf_counter() - start)


class Waits(Writing):
    """How much of it, and of the end, was waiting for the checkpoint before."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.waits: list[float] = []

    def finish(self) -> None:
        start = time.perf_counter()
        super().finish()
        self.waits.append(time.perf_counter() - start)


class Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.began, self.steps = 0.0, list[float]()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(time.perf_counter() - self.began)


def build(width: int, layers: int) -> tuple[Any, Any]:
    small, processor = parts()
    config = small.config.to_dict()
    text = Phi3Config(**{**config["text_config"], "hidden_size": width, "intermediate_size": 4 * width})
    text.num_hidden_layers = layers
    config["text_config"] = text.to_dict()
    return AkiForConditionalGeneration(AkiConfig(**config)), processor


def once(root: Path, out: Path, beside: bool, width: int, layers: int) -> tuple[float, float, float, float]:
    torch.manual_seed(0)
    model, processor = build(width, layers)
    made: list[tuple[Timed, Waits, Clock]] = []

    def make(**kwargs: Any) -> Timed:
        trainer, clock = Timed(**kwargs), Clock()
        trainer.add_callback(clock)
        made.append((trainer, kwargs["writing"], clock))
        return trainer

    setting = machine(4, save_steps=EVERY, keep_checkpoints=1, async_checkpoints=beside)
    start = time.perf_counter()
    run_stage(
        sft(steps=STEPS, logits="learned"),
        model,
        processor,
        data_root=root,
        out=out,
        machine=setting,
        make_trainer=make,
    )
    seconds = time.perf_counter() - start
    trainer, writing, clock = made[0]
    size = sum(path.stat().st_size for path in (out / f"checkpoint-{STEPS}").rglob("*") if path.is_file())
    way = "beside" if beside else "at once"
    print(
        f"{way}: {size / 1e6:.0f} MB; saves {', '.join(f'{one:.2f}' for one in trainer.saves)} s, of which waiting "
        f"{', '.join(f'{one:.2f}' for one in writing.waits)} s; a step {statistics.median(clock.steps):.2f} s, "
        f"{max(clock.steps):.2f} s at most; all {seconds:.1f} s",
        flush=True,
    )
    first_save = trainer.saves[0]
    return first_save, sum(trainer.saves), statistics.median(clock.steps), seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--width", type=int, default=512)
    options.add_argument("--layers", type=int, default=12)
    chosen = options.parse_args()
    import train.run_stage

    train.run_stage.Writing = Waits  # type: ignore[misc]
    torch.set_num_threads(1)
    found: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        root = write_root(Path(folder, "world"))
        for turn in range(2):
            for beside in (False, True):
                out = Path(folder, f"{turn}{beside}")
                found[beside].append(once(root, out, beside, chosen.width, chosen.layers))
    for number, what in enumerate(("a first save", "all saves", "a step", "the training")):
        sync, beside = (statistics.median(one[number] for one in found[way]) for way in (False, True))
        print(f"{what}: {sync:.2f} s at once, {beside:.2f} s beside: {beside / sync:.2f} of it")


if __name__ == "__main__":
    main()
