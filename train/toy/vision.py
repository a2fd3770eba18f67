"""The toy's stand-in for SigLIP's pretraining: a small tower that learns what stands in each cell of a scene.

AKI freezes its vision tower, so a toy AKI needs one that already sees. A cell's labels are read off the mean of its
patches, by one head for all cells: that gives features that a resampler can pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import SiglipVisionConfig, SiglipVisionModel, Trainer, TrainingArguments

from benchmarks.toy_world import render
from benchmarks.toy_world.scene import COLORS, IMAGE_SIZE, SHAPES, SIZES, Scene

from ..progress import StageProgress, quiet

NUM_CELLS = 4
CLASSES = {"shape": 1 + len(SHAPES), "color": 1 + len(COLORS), "size": 1 + len(SIZES), "digit": 1 + 10}
"""Classes of each label; 0 is "nothing here"."""


class ToyVisionModel(nn.Module):
    """A SigLIP tower with a linear head on the mean of each cell's patches."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.tower = SiglipVisionModel(config)
        self.head = nn.Linear(config.hidden_size, sum(CLASSES.values()))

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) and (B, cells, 4 labels) -> summed cross-entropy of the labels, and `correct` (4 labels)."""
        patches = self.tower(pixel_values=pixel_values).last_hidden_state
        by_label = self.head(mean_of_cells(patches)).split(list(CLASSES.values()), dim=-1)
        losses = [
            functional.cross_entropy(part.flatten(0, 1), labels[..., i].flatten()) for i, part in enumerate(by_label)
        ]
        correct = [(part.argmax(-1) == labels[..., i]).float().mean() for i, part in enumerate(by_label)]
        return {"loss": torch.stack(losses).sum(), "correct": torch.stack(correct)}


def mean_of_cells(patches: Tensor) -> Tensor:
    """(B, side x side patches, D) -> (B, 4, D), the picture's quarters in reading order."""
    side = round(patches.shape[1] ** 0.5)
    batch, _, width = patches.shape
    cells = patches.reshape(batch, 2, side // 2, 2, side // 2, width).mean(dim=(2, 4))
    return cells.flatten(1, 2)


class SceneImages(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Scenes as normalised pixels and labels; batches are fetched at once."""

    def __init__(self, scenes: Sequence[Scene], num_samples: int, seed: int) -> None:
        pixels = np.stack([render.pixels(scene) for scene in scenes])
        self.pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        self.labels = torch.tensor([cell_labels(scene) for scene in scenes])
        generator = torch.Generator().manual_seed(seed)
        self.order = torch.randint(len(scenes), (num_samples,), generator=generator)

    def __len__(self) -> int:
        return len(self.order)

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        chosen = self.order[indices]
        return {"pixel_values": self.pixels[chosen] / 127.5 - 1, "labels": self.labels[chosen]}


def cell_labels(scene: Scene) -> list[list[int]]:
    """Shape, color, size and digit of each cell, 0 where there is none."""
    labels = [[0] * len(CLASSES) for _ in range(NUM_CELLS)]
    for thing in scene.things:
        classes = (SHAPES.index(thing.shape), COLORS.index(thing.color), SIZES.index(thing.size))
        labels[thing.cell][:3] = [1 + index for index in classes]
    if scene.digit is not None:
        labels[scene.digit.cell][3] = 1 + scene.digit.value
    return labels


def train_vision(
    config: SiglipVisionConfig, scenes: Sequence[Scene], *, steps: int, batch_size: int, seed: int, out: Path
) -> tuple[SiglipVisionModel, list[dict[str, Any]]]:
    """The trained tower and the log of its training."""
    torch.manual_seed(seed)
    model = ToyVisionModel(config)
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        warmup_steps=100,
        weight_decay=0.01,
        logging_steps=25,
        logging_nan_inf_filter=False,
        save_strategy="no",
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=seed,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=SceneImages(scenes, steps * batch_size, seed),
        data_collator=lambda batch: batch,
        callbacks=[StageProgress("vision", steps)],
    )
    quiet(trainer)
    trainer.train()
    return model.tower, trainer.state.log_history


def tower_config() -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=12,
        vision_use_head=False,
    )
