"""A small toy root, a model without a past, and stages of a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks import toy_world
from model import AkiForConditionalGeneration, AkiProcessor
from train.machine import Machine
from train.recipe import Stage
from train.toy.build import build_model, build_processor

SETTINGS: dict[str, Any] = {
    "learning_rate": 3e-3,
    "min_learning_rate": 3e-4,
    "warmup_steps": 2,
    "weight_decay": 0.01,
    "precision": "fp32",
    "steps": 6,
    "batch_size": 4,
    "max_length": 512,
    "streams": 4,
    "shuffle_block": 8,
    "seed": 3,
}


def write_root(root: Path) -> Path:
    toy_world.write_training_data(root, num_images=60, num_captions=64, shard_size=8)
    return root


def sft(**changes: Any) -> Stage:
    defaults = {
        "name": "sft",
        "kind": "sft",
        "attention": "mma",
        "data": {"vqav2": 2.0, "scienceqa": 1.0, "llava": 1.0},
    }
    return Stage(**{**SETTINGS, **defaults, **changes})


def pretrain(**changes: Any) -> Stage:
    defaults = {"name": "pretrain", "kind": "pretrain", "data": {"kale": 1.0}, "max_length": 128}
    return Stage(**{**SETTINGS, **defaults, **changes})


def parts(seed: int = 0) -> tuple[AkiForConditionalGeneration, AkiProcessor]:
    torch.manual_seed(seed)
    processor = build_processor()
    return build_model(processor, "mma"), processor


def machine(micro_batch: int = 2, **changes: Any) -> Machine:
    """Writes checkpoints as GPUs' machines do."""
    settings: dict[str, Any] = {"cpu": True, "logging_steps": 1, "async_checkpoints": True}
    return Machine(micro_batch=micro_batch, **{**settings, **changes})


def losses(log: list[dict[str, Any]]) -> list[float]:
    return [entry["loss"] for entry in log if "loss" in entry]


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], tolerance: float = 0.0) -> None:
    assert first.keys() == second.keys()
    worst = max((float((first[name] - second[name]).abs().max()), name) for name in first)
    assert worst[0] <= tolerance, worst


class Gradients(TrainerCallback):  # type: ignore[misc]
    """Keeps the gradients of every optimizer step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        self.steps.append(found)


def assert_near(
    first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], *, start: dict[str, torch.Tensor]
) -> None:
    """That two trainings from `start` ended a thousandth of their way apart, or less.

    Their sums are in another order. Where a gradient is next to nothing Adam makes a whole step of its rounding, so
    single weights part by a step; a lost or doubled share of a batch parts all of them.
    """
    moved, apart = (
        sum(float((first[name] - other[name]).double().square().sum()) for name in first) for other in (start, second)
    )
    assert (apart / moved) ** 0.5 <= 1e-3, (apart / moved) ** 0.5
