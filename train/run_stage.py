"""Runs one stage of a recipe: data set, collator, trainer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import TrainingArguments

from benchmarks.errors import UserError
from model.configuration_aki import check_config

from .checkpoint import write_specification
from .data.captions import FOLDERS, CaptionStream, Lane, find_shards
from .data.collate import Collator, Encoder
from .data.instructions import SETS, InstructionData
from .data.mixture import Mixture
from .data.pictures import PictureReader, PixelReader
from .machine import Machine, world_size
from .progress import StageProgress, quiet
from .recipe import Stage
from .trainer import AkiTrainer, saved_positions


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
    save_to: Path | None = None,
    specification: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Trains the model in place and returns the log.

    Args:
        data_root: folder of the data sets.
        out: checkpoints and `skipped.jsonl` go here.
        pictures: how pictures are read; by default from disk.
        resume: checkpoint folder to go on from.
        save_to: folder for the trained model and processor; the log goes beside it.
        specification: written into every checkpoint and into `save_to`, last, when all of it is on disk.

    Raises:
        UserError: `--fsdp` where accelerate shards nothing.
    """
    prepare_model(model, stage)
    out.mkdir(parents=True, exist_ok=True)
    arguments = training_arguments(stage, out, machine, model)
    dataset = training_data(stage, data_root, processor, machine, arguments, pictures, resume)
    trainer = AkiTrainer(
        stage=stage,
        peak_flops=machine.peak_flops,
        skips=out / "skipped.jsonl",
        specification=specification,
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=collator(stage, processor, several=arguments.world_size > 1),
        callbacks=[StageProgress(stage.name, stage.steps)],
    )
    if machine.fsdp and not trainer.is_fsdp_enabled:
        raise UserError("--fsdp: accelerate shards nothing here (one process, or CPUs); leave it out")
    quiet(trainer)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if save_to is not None:
        _save(trainer, processor, save_to, specification or {})
    log: list[dict[str, Any]] = trainer.state.log_history
    return log


def _save(trainer: AkiTrainer, processor: Any, folder: Path, specification: Mapping[str, Any]) -> None:
    """Model, processor and log of a finished stage; no process goes on before all of it is on disk."""
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        processor.save_pretrained(folder)
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle; checkpoints keep theirs
        log = json.dumps(trainer.state.log_history, indent=1) + "\n"
        (folder.parent / "log.json").write_text(log, encoding="utf-8")
        write_specification(folder, specification)
    trainer.accelerator.wait_for_everyone()


def prepare_model(model: Any, stage: Stage) -> None:
    """Sets the attention, and notes the order of training; freezes the vision tower, everything else learns (Table 3).

    The processor's order is not touched: models trained in either order are asked with the image first (section 3.2).
    """
    model.config.attention = stage.attention
    model.config.attention_layers = dict(stage.attention_layers) if stage.attention_layers else None
    try:
        check_config(model.config)
    except ValueError as error:
        raise UserError(f"stage {stage.name!r}: {error}") from error
    model.config.image_order = stage.image_order
    model.requires_grad_(True)
    model.model.vision_tower.requires_grad_(False)


def training_arguments(stage: Stage, out: Path, machine: Machine, model: Any) -> TrainingArguments:
    """The Trainer's settings. Schedule, optimizer and data order are not among them: AkiTrainer makes those itself."""
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=stage.steps,
        per_device_train_batch_size=machine.micro_batch,
        gradient_accumulation_steps=machine.accumulation(stage, world_size()),
        max_grad_norm=stage.max_grad_norm,
        bf16=stage.precision == "bf16",
        average_tokens_across_devices=stage.averaging == "token",
        logging_steps=machine.logging_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps" if machine.save_steps else "no",
        save_steps=machine.save_steps or 500,
        save_total_limit=machine.keep_checkpoints,
        ignore_data_skip=stage.kind == "pretrain",
        remove_unused_columns=False,
        dataloader_num_workers=machine.workers,
        dataloader_pin_memory=not machine.cpu,
        report_to=list(machine.report_to) or "none",
        disable_tqdm=True,
        use_cpu=machine.cpu,
        seed=stage.seed,
        activation_checkpointing=machine.gradient_checkpointing,
        ddp_find_unused_parameters=False,  # a batch without pictures has a blank one, so every parameter takes part
        **(fsdp_arguments(model) if machine.fsdp else {}),
    )
    if machine.fsdp:
        arguments.fsdp_plugin_args["mixed_precision_policy"] = full_precision()
    return arguments


def full_precision() -> MixedPrecisionPolicy:
    """What FSDP does to numbers: nothing. Autocast alone (`AkiTrainer`) chooses bf16, as without FSDP.

    accelerate's own choice for bf16 gathers parameters, sums gradients and passes activations in bf16: norms, rotary
    positions, the residual stream and the loss lose 16 bits, and a sum over 8 processes is wrong by 0.4 %. The price
    of this one: weights are gathered as fp32, twice the bytes.
    """
    return MixedPrecisionPolicy(
        param_dtype=None, reduce_dtype=torch.float32, output_dtype=torch.float32, cast_forward_inputs=False
    )


def fsdp_arguments(model: Any) -> dict[str, Any]:
    """FSDP2, everything sharded: each layer of decoder, resampler and vision tower on its own."""
    layers = [model.model.language_model.layers[0], model.model.resampler.layers[0]]
    layers.append(model.model.vision_tower.encoder.layers[0])
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "transformer_layer_cls_to_wrap": sorted({type(layer).__name__ for layer in layers}),
            "state_dict_type": "FULL_STATE_DICT",
        },
    }


def training_data(
    stage: Stage,
    data_root: Path,
    processor: Any,
    machine: Machine,
    arguments: TrainingArguments,
    pictures: PictureReader | None,
    resume: Path | None,
) -> Mixture | CaptionStream:
    if stage.kind == "sft":
        pictures = pictures or PixelReader(data_root, processor.image_processor)
        return instruction_mixture(stage, data_root, pictures, cache=data_root / ".aki")
    lane = Lane(rank=arguments.process_index, world_size=arguments.world_size)
    return caption_stream(stage, data_root, processor, machine, lane, resume)


def instruction_mixture(stage: Stage, data_root: Path, pictures: PictureReader, cache: Path) -> Mixture:
    """The stage's sets.

    Raises:
        UserError: files are missing.
    """
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
    kind = next(kind for kind in FOLDERS if kind in stage.data)
    steps_done = int(resume.name.rpartition("-")[2]) if resume else 0
    return CaptionStream(
        find_shards(data_root / FOLDERS[kind]),
        kind,
        image_processor=processor.image_processor,
        micro_batch=machine.micro_batch,
        num_streams=stage.streams,
        seed=stage.seed,
        shuffle_block=stage.shuffle_block,
        lane=lane,
        first_micro_batch=steps_done * stage.batch_size // machine.micro_batch,
        positions=saved_positions(resume) if resume else None,
    )


def collator(stage: Stage, processor: Any, *, several: bool = False) -> Collator:
    """Args: several: processes train together, so that all must go through all layers."""
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
    size = processor.image_processor.size
    blank = {"pixel_values": torch.zeros(3, size, size)} if several else None
    return Collator(
        encoder=encoder,
        pad_to=longest if stage.pad_to_max_length else None,
        blank=blank,
        captions_as_questions=stage.kind == "pretrain" and stage.reads_question,
    )
