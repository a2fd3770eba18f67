"""What a training step costs: batches as here and as the original padded them; the mutual mask and the causal one.

    python tests/bench/train_step.py

A Phi-3 of four layers behind 144 latents, one thread, optimizer steps of 8 toy samples of the three kinds of set whose
lengths differ most, in micro-batches of 2. The variants take turns; medians of processor time are printed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Phi3Config, TrainerCallback

sys.path.insert(0, str(Path(__file__).parents[1]))
from phi3_style import phi3_style_tokenizer
from train_helpers import machine, sft, write_root

from model import AkiConfig, AkiForConditionalGeneration, AkiImageProcessor, AkiProcessor
from train.data.instructions import SETS, InstructionData
from train.data.mixture import Mixture
from train.recipe import Stage
from train.run_stage import collator, prepare_model, training_arguments
from train.toy.vision import tower_config
from train.trainer import AkiTrainer

STEPS, ROUNDS = 4, 2
SETTINGS: dict[str, Any] = {
    "steps": STEPS,
    "batch_size": 8,
    "data": {"vqav2": 2.0, "aokvqa": 1.0, "llava": 1.0},
    "max_length": 512,
}
BASE = sft(**SETTINGS)
VARIANTS = {
    "mutual, sorted, padded to the longest": BASE,
    "causal, sorted, padded to the longest": sft(**SETTINGS, attention="causal"),
    "mutual, unsorted, padded to the longest": sft(**SETTINGS, group_steps=0),
    "mutual, unsorted, padded to 655 (the original's way)": sft(**SETTINGS, group_steps=0, pad_to_max_length=True),
}


class Clock(TrainerCallback):  # type: ignore[misc]
    """Processor seconds of each optimizer step, whatever else the machine does; the first one warms up."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.times.append(time.process_time())

    def steps(self) -> list[float]:
        return [after - before for before, after in zip(self.times[:-1], self.times[1:], strict=True)]


def build(processor: AkiProcessor) -> AkiForConditionalGeneration:
    torch.manual_seed(0)
    text = Phi3Config(
        vocab_size=len(processor.tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=1024,
        original_max_position_embeddings=1024,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    return AkiForConditionalGeneration(
        AkiConfig(
            vision_config=tower_config(),
            text_config=text,
            resampler_depth=2,
            image_token_id=processor.image_token_id,
            question_end_token_id=processor.question_end_token_id,
        )
    )


def no_reading(name: str, rng: Any, may_augment: bool) -> dict[str, torch.Tensor]:
    """A picture's features, made up: reading is measured elsewhere."""
    return {"vision_hidden_states": torch.zeros(16, 64)}


def measure(stage: Stage, model: Any, processor: Any, root: Path) -> tuple[list[float], float]:
    """Seconds of the steps, and the share of padding."""
    prepare_model(model, stage)
    data = {name: InstructionData(SETS[name], root, root / ".aki") for name in stage.data}
    clock = Clock()
    trainer = AkiTrainer(
        stage=stage,
        model=model,
        args=training_arguments(stage, root / "out", machine(2), model),
        train_dataset=Mixture(data, stage.data, pictures=no_reading, num_samples=STEPS * 8, seed=stage.seed),
        data_collator=collator(stage, processor),
        callbacks=[clock],
    )
    trainer.train()
    padding = [entry["padding"] for entry in trainer.state.log_history if "padding" in entry]
    return clock.steps(), statistics.mean(padding)


def main() -> None:
    torch.set_num_threads(1)
    processor = AkiProcessor(AkiImageProcessor(size=48), phi3_style_tokenizer(), num_latents=144)
    model = build(processor)
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    padding = {}
    with tempfile.TemporaryDirectory() as folder:
        root = write_root(Path(folder))
        for _ in range(ROUNDS):
            for name, stage in VARIANTS.items():
                steps, padding[name] = measure(stage, model, processor, root)
                times[name] += steps
    first = statistics.median(times[next(iter(VARIANTS))])
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(f"{name:55s} {1000 * middle:7.0f} ms a step  {middle / first:5.2f} x  {padding[name]:5.1%} padding")


if __name__ == "__main__":
    main()
