"""Runs one stage of a recipe: data set, collator, trainer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import TrainingArguments

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from model.configuration_aki import check_config

from .checkpoint import write_specification
from .data.captions import FOLDERS, CaptionStream, Lane, Position
from .data.collate import Collator, Encoder
from .data.held_out import Split
from .data.instructions import SETS, InstructionData
from .data.mixture import Mixture
from .data.pictures import PictureReader, PixelReader
from .data.shards import ShardCache, find_shards
from .evaluating import FOLDER as EVALUATIONS
from .evaluating import Evaluating
from .lora import adapt, check_base
from .machine import Machine, world_size
from .progress import StageProgress, quiet
from .recipe import Stage
from .stopping import StopEarly, Stopped
from .trainer import AkiTrainer, saved_positions
from .validation import Measuring
from .writing import Writing


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
    changed_data: bool = False,
    save_to: Path | None = None,
    specification: Mapping[str, Any] | None = None,
    make_trainer: Callable[..., AkiTrainer] = AkiTrainer,
) -> list[dict[str, Any]]:
    """Trains the model in place and returns the log.

    Args:
        stage: what is trained, on what and how long.
        model: an AKI; its attention and what learns are set by the stage.
        processor: the model's.
        machine: what it is trained on.
        data_root: folder of the data sets.
        out: checkpoints, `log.jsonl` and `skipped.jsonl` go here.
        pictures: how pictures are read; by default from disk.
        resume: checkpoint folder to go on from.
        changed_data: the data are not those of the checkpoint: captions begin a new pass.
        save_to: folder for the trained model and processor; the log goes beside it.
        specification: written into every checkpoint and into `save_to`, last, when all of it is on disk.
        make_trainer: `AkiTrainer`, or one that computes the same in another way.

    Raises:
        Stopped: a signal or the machine's time limit ended it early, with a checkpoint.
        UserError: `--fsdp` where accelerate shards nothing.
    """
    prepare_model(model, stage)
    if stage.lora is not None and resume is not None:
        check_base(model, resume)
    out.mkdir(parents=True, exist_ok=True)
    arguments = training_arguments(stage, out, machine, model)
    dataset = training_data(stage, data_root, processor, arguments, pictures, resume, changed_data, machine.shard_cache)
    stop = StopEarly(machine.until)
    writing = Writing(beside=machine.writes_beside(), keep=machine.keep_checkpoints)
    log_file = out / "log.jsonl"
    if arguments.process_index == 0:
        keep_log(log_file, steps_done(resume))
    workers = machine.workers
    if isinstance(dataset, CaptionStream):
        workers = machine.readers(dataset.num_streams, arguments.world_size)
    measuring = None
    if stage.validation is not None:
        measuring = Measuring(stage.validation, dataset.held_out(stage.validation.samples), machine.micro_batch)
    trainer = make_trainer(
        stage=stage,
        peak_flops=machine.peak_flops,
        skips=out / "skipped.jsonl",
        specification=specification,
        first_step=steps_done(resume),
        workers=workers,
        processor=processor,
        log_file=log_file,
        resumed_from=resume,
        writing=writing,
        model=model,
        args=arguments,
        train_dataset=dataset,
        data_collator=collator(stage, processor, several=arguments.world_size > 1),
        callbacks=[
            StageProgress(stage.name, stage.steps),
            *([measuring] if measuring else []),
            writing,  # before the one that stops listening to signals
            stop,
            *evaluations(machine, out, stop, writing),
        ],
    )
    if measuring is not None:
        measuring.trainer = trainer
    if machine.fsdp and not trainer.is_fsdp_enabled:
        raise UserError("--fsdp: accelerate shards nothing here (one process, or CPUs); leave it out")
    quiet(trainer)
    with writing:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if stop.why is not None:
        raise Stopped(trainer.state.global_step, stop.why)
    if save_to is not None:
        _save(trainer, save_to, specification or {})
    log: list[dict[str, Any]] = trainer.state.log_history
    return log


def evaluations(machine: Machine, out: Path, stop: StopEarly, writing: Writing) -> list[Evaluating]:
    """None, or the one that evaluates this stage's checkpoints."""
    if machine.eval_every is None:
        return []
    return [Evaluating(machine.eval_every, machine.eval_arguments, out / EVALUATIONS, stop, writing)]


def _save(trainer: AkiTrainer, folder: Path, specification: Mapping[str, Any]) -> None:
    """Model, processor and log of a finished stage; no process goes on before all of it is on disk."""
    averages, export = trainer.averages, trainer.stage.ema is not None and trainer.stage.ema.export
    with averages.in_place() if averages is not None and export else nullcontext():
        trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle; checkpoints keep theirs
        log = json.dumps(trainer.state.log_history, indent=1) + "\n"
        (folder.parent / "log.json").write_text(log, encoding="utf-8")
        write_specification(folder, specification)
    trainer.accelerator.wait_for_everyone()


def prepare_model(model: Any, stage: Stage) -> None:
    """Sets the attention, and notes the order of training; freezes the vision tower, everything else learns (Table 3).

    The processor's order is not touched: models trained in either order are asked with the image first (section 3.2).

    Raises:
        UserError: the model cannot have the stage's attention.
    """
    model.config.attention = stage.attention
    model.config.attention_layers = dict(stage.attention_layers) if stage.attention_layers else None
    try:
        check_config(model.config)
    except ValueError as error:
        raise UserError(f"stage {stage.name!r}: {error}") from error
    model.config.image_order = stage.image_order
    model.set_attn_implementation({"text_config": stage.attention_backend})
    model.requires_grad_(True)
    model.model.vision_tower.requires_grad_(False)
    if stage.lora is not None:
        adapt(model, stage.lora)
    if stage.compile:
        compile_layers(model)


def compile_layers(model: Any) -> None:
    """Each layer by itself, in place: names of weights stay, and the layers of a part share what was compiled.

    Masks and the places of pictures are worked out between them, once a batch, as Python.
    """
    for part in (model.model.language_model, model.model.resampler, model.model.vision_tower.encoder):
        for layer in part.layers:
            layer.compile(dynamic=True)


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
        ignore_data_skip=True,  # both kinds of data go on by themselves, without reading what they skip
        remove_unused_columns=False,
        dataloader_pin_memory=not machine.cpu,
        report_to=list(machine.report_to) or "none",
        disable_tqdm=True,
        use_cpu=machine.cpu,
        seed=stage.seed,
        activation_checkpointing=machine.checkpoints_gradients(stage),
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
    arguments: TrainingArguments,
    pictures: PictureReader | None,
    resume: Path | None,
    changed_data: bool = False,
    cache_gigabytes: float = 200.0,
) -> Mixture | CaptionStream:
    if stage.kind == "sft":
        pictures = pictures or PixelReader(data_root, processor.image_processor)
        return instruction_mixture(stage, data_root, pictures, cache=data_root / ".aki")
    lane = Lane(rank=arguments.process_index, world_size=arguments.world_size)
    cache = ShardCache(data_root / ".aki" / "shards", round(cache_gigabytes * 1e9))
    return caption_stream(stage, data_root, processor, lane, resume, changed_data, cache)


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
        split=split_of(stage),
    )


def split_of(stage: Stage) -> Split | None:
    """What the stage does not train on."""
    return None if stage.validation is None else Split(stage.validation.share)


def caption_stream(
    stage: Stage,
    data_root: Path,
    processor: Any,
    lane: Lane,
    resume: Path | None,
    changed_data: bool = False,
    cache: ShardCache | None = None,
) -> CaptionStream:
    """The stage's shards: the folder of its caption set below the data root."""
    kind = next(kind for kind in FOLDERS if kind in stage.data)
    positions = saved_positions(resume) if resume else {}
    if changed_data:  # places in other shards mean nothing: all streams begin the next epoch
        epoch = 1 + max((place[0] for place in positions.values()), default=-1)
        positions = {stream: Position(epoch=epoch) for stream in range(stage.streams)}
    return CaptionStream(
        find_shards(data_root / FOLDERS[kind], stage.shards or ()),
        kind,
        image_processor=processor.image_processor,
        num_streams=stage.streams,
        seed=stage.seed,
        shuffle_block=stage.shuffle_block,
        lane=lane,
        first_sample=steps_done(resume) * stage.batch_size,
        positions=positions,
        split=split_of(stage),
        cache=cache,
    )


def keep_log(path: Path, step: int) -> None:
    """Cuts the log behind a step: what was logged later is done again. A line that was cut off goes, too."""
    kept = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("step", 0) <= step:
            kept.append(line + "\n")
    write_atomically(path, "".join(kept))


def steps_done(checkpoint: Path | None) -> int:
    """Optimizer steps before a checkpoint was written; none without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


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
