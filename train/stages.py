"""Runs one stage of a recipe: data set, collator, trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from .captions import FOLDERS, CaptionStream, Lane, find_shards
from .collate import Collator, Encoder
from .errors import UserError
from .instructions import SETS, InstructionData
from .mixture import Mixture
from .pictures import PictureReader, PixelReader
from .progress import StageProgress, quiet
from .recipe import Stage
from .trainer import AkiTrainer, saved_positions


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a stage runs on this machine. None of it changes what is learned (rounding aside)."""

    micro_batch: int
    workers: int = 0
    logging_steps: int = 10
    save_steps: int | None = None
    report_to: Sequence[str] = ()
    cpu: bool = False

    def accumulation(self, stage: Stage, world_size: int) -> int:
        """Micro-batches of a process in one optimizer step. Raises UserError when the batch cannot be divided."""
        together = self.micro_batch * world_size
        if stage.batch_size % together:
            raise UserError(
                f"stage {stage.name!r}: batch_size {stage.batch_size} is no multiple of {world_size} processes times "
                f"micro-batches of {self.micro_batch}; change --micro-batch"
            )
        return stage.batch_size // together


def run_stage(
    stage: Stage,
    model: Any,
    processor: Any,
    *,
    data_root: Path,
    out: Path,
    machine: Machine,
    pictures: PictureReader | None = None,
    resume: Path | None = None,
) -> list[dict[str, Any]]:
    """Trains the model in place and returns the log.

    Args:
        data_root: folder of the data sets.
        out: checkpoints, `skipped.jsonl` and the log go here.
        pictures: how pictures are read; by default from disk.
        resume: checkpoint folder to go on from.
    """
    prepare_model(model, processor, stage)
    out.mkdir(parents=True, exist_ok=True)
    arguments = training_arguments(stage, out, machine)
    world = Lane(rank=arguments.process_index, world_size=arguments.world_size)
    pictures = pictures or PixelReader(data_root, processor.image_processor)
    if stage.kind == "sft":
        dataset: Any = instruction_mixture(stage, data_root, pictures, cache=data_root / ".aki")
    else:
        dataset = caption_stream(stage, data_root, processor, machine, world, resume)
    trainer = AkiTrainer(
        stage=stage,
        skips=out / "skipped.jsonl",
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=collator(stage, processor),
        callbacks=[StageProgress(stage.name, stage.steps)],
    )
    quiet(trainer)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return trainer.state.log_history


def prepare_model(model: Any, processor: Any, stage: Stage) -> None:
    """Sets attention and order; freezes the vision tower, everything else learns (Table 3)."""
    model.config.attention = stage.attention
    model.config.image_order = processor.image_order = stage.image_order
    model.requires_grad_(True)
    model.model.vision_tower.requires_grad_(False)


def training_arguments(stage: Stage, out: Path, machine: Machine) -> TrainingArguments:
    world_size = int(torch.distributed.get_world_size()) if torch.distributed.is_initialized() else 1
    return TrainingArguments(
        output_dir=str(out),
        max_steps=stage.steps,
        per_device_train_batch_size=machine.micro_batch,
        gradient_accumulation_steps=machine.accumulation(stage, world_size),
        max_grad_norm=stage.max_grad_norm,
        bf16=stage.precision == "bf16",
        average_tokens_across_devices=stage.averaging == "token",
        logging_steps=machine.logging_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps" if machine.save_steps else "no",
        save_steps=machine.save_steps or 500,
        ignore_data_skip=stage.kind == "pretrain",
        remove_unused_columns=False,
        dataloader_num_workers=machine.workers,
        dataloader_pin_memory=not machine.cpu,
        report_to=list(machine.report_to) or "none",
        disable_tqdm=True,
        use_cpu=machine.cpu,
        seed=stage.seed,
    )


def instruction_mixture(stage: Stage, data_root: Path, pictures: PictureReader, cache: Path) -> Mixture:
    """The stage's sets. Raises UserError for names that are no set, and for missing files."""
    unknown = sorted(set(stage.data) - set(SETS))
    if unknown:
        raise UserError(f"stage {stage.name!r}: unknown instruction sets {unknown}; known are {', '.join(SETS)}")
    return Mixture(
        {name: InstructionData(SETS[name], data_root, cache) for name in stage.data},
        stage.data,
        pictures=pictures,
        num_samples=stage.steps * stage.batch_size,
        seed=stage.seed,
        augmentation=stage.augmentation,
    )


def caption_stream(
    stage: Stage, data_root: Path, processor: Any, machine: Machine, lane: Lane, resume: Path | None
) -> CaptionStream:
    """The stage's shards: the folder of its caption set below the data root."""
    (kind,) = stage.data
    steps_done = int(resume.name.rpartition("-")[2]) if resume else 0
    return CaptionStream(
        find_shards(data_root / FOLDERS[kind]),
        kind,  # type: ignore[arg-type]
        image_processor=processor.image_processor,
        micro_batch=machine.micro_batch,
        num_streams=stage.streams,
        seed=stage.seed,
        shuffle_block=stage.shuffle_block,
        lane=lane,
        first_micro_batch=steps_done * stage.batch_size // machine.micro_batch,
        positions=saved_positions(resume) if resume else None,
    )


def collator(stage: Stage, processor: Any) -> Collator:
    encoder = Encoder(
        processor,
        image_token_id=processor.image_token_id,
        num_image_tokens=processor.num_latents,
        question_end_id=processor.question_end_token_id,
        max_length=stage.max_length,
        image_order=stage.image_order,
        truncation=stage.truncation,
    )
    longest = stage.max_length + processor.num_latents - 1
    return Collator(encoder=encoder, pad_to=longest if stage.pad_to_max_length else None)
