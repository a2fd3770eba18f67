"""What a recipe will take, and whether everything it needs is there: before a GPU is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

from .cost import Cost
from .data.captions import FOLDERS, check_shard, streams_of
from .data.instructions import SETS
from .data.shards import RemoteShard, Shard, find_shards
from .machine import Machine, world_size
from .recipe import ModelChoice, Recipe, Stage

PAPER_MODEL = ModelChoice()


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """Upper bounds: every sample counted at its stage's maximal length."""

    stage: Stage
    samples: int
    tokens: int
    """With image vectors."""
    flops: float
    seconds: float
    """On the given devices at the given utilisation, idle ones included."""
    slots: int
    """Micro-batches of a device in one optimizer step."""
    rows: int
    """Samples of the fullest device's micro-batch, when all samples are of one length."""
    idle: float
    """Share of the devices' time that waits for the fullest one, because the batch cannot be divided evenly."""
    trouble: str | None
    """Why so many devices cannot run the stage at all."""


def plan_stages(
    recipe: Recipe, cost: Cost, *, num_devices: int, peak_flops: float, mfu: float, micro_batch: int = 8
) -> list[StagePlan]:
    """Each stage's samples, tokens and time, and how its batches are divided."""
    plans = []
    for stage in recipe.stages:
        samples = stage.steps * stage.batch_size
        tokens = samples * (stage.max_length + cost.num_latents - 1)
        flops = cost.training_flops(tokens, samples, adapters=stage.lora is not None)
        slots, trouble = _divided(stage, num_devices, micro_batch)
        fullest = -(-stage.batch_size // num_devices)
        idle = 1 - stage.batch_size / (fullest * num_devices)
        plans.append(
            StagePlan(
                stage=stage,
                samples=samples,
                tokens=tokens,
                flops=flops,
                seconds=flops / (num_devices * peak_flops * mfu) / (1 - idle),
                slots=slots,
                rows=-(-fullest // slots),
                idle=idle,
                trouble=trouble,
            )
        )
    return plans


def _divided(stage: Stage, num_devices: int, micro_batch: int) -> tuple[int, str | None]:
    """Accumulation, and what stands against so many devices."""
    machine = Machine(micro_batch=micro_batch)
    try:
        slots = machine.accumulation(stage, num_devices)
        if stage.kind == "pretrain":
            machine.readers(stage.streams, num_devices)
    except UserError as error:
        return 1, str(error)
    return slots, None


def special(stage: Stage) -> str:
    """What the stage does beside the paper's recipe, in words; empty where it does nothing else."""
    said = []
    if stage.shards is not None:
        said.append(f"shards of {', '.join(stage.shards)}")
    if stage.validation is not None:
        one = stage.validation
        said.append(
            f"loss every {one.every:,} steps on up to {one.samples} held-out samples of each set ({one.share:.1%} of "
            "the pictures)"
        )
    if stage.lora is not None:
        said.append(f"LoRA of rank {stage.lora.rank} in the text backbone, which is not trained itself")
    if stage.ema is not None:
        exported = " exported as the model" if stage.ema.export else ""
        said.append(f"averages of the weights (decay {stage.ema.decay}){exported}")
    if stage.logits == "all":
        said.append("logits at every position")
    if stage.attention_backend != "sdpa":
        said.append(f"attention by {stage.attention_backend}")
    if stage.compile:
        said.append("compiled layers")
    if stage.gradient_checkpointing is not None:
        said.append(f"activations computed {'twice' if stage.gradient_checkpointing else 'once'}")
    return "; ".join(said)


def check_machine(recipe: Recipe, machine: Machine, data_root: Path) -> None:
    """Whether the processes can share the work of every stage.

    Raises:
        UserError: batches or caption streams cannot be divided among them; the line says by what they could. Remote
            shards do not fit into the cache. A back end cannot train here.
    """
    for stage in recipe.stages:
        if stage.attention_backend == "flex_attention" and machine.cpu:
            raise UserError(f"stage {stage.name!r}: flex_attention cannot train on CPUs; leave attention_backend out")
        machine.accumulation(stage, world_size())
        for name in FOLDERS:
            if name in stage.data:
                shards = find_shards(data_root / FOLDERS[name], stage.shards or ())
                num_streams = streams_of(len(shards), stage.streams)
                machine.readers(num_streams, world_size())
                _check_cache(stage, shards, num_streams, machine)


def _check_cache(stage: Stage, shards: Sequence[Shard], num_streams: int, machine: Machine) -> None:
    """That the shards which are read at once fit into the cache; else they would be fetched again and again.

    Raises:
        UserError: they do not.
    """
    largest = max((shard.size or 0 for shard in shards if isinstance(shard, RemoteShard)), default=0)
    needed = num_streams * largest / 1e9
    if needed > machine.shard_cache:
        raise UserError(
            f"stage {stage.name!r}: {num_streams} streams read a shard of up to {largest / 1e9:.3g} GB each, more than "
            f"--shard-cache {machine.shard_cache:g} holds; raise it to {needed:.3g}, or lower the stage's `streams`"
        )


def model_cost(choice: ModelChoice) -> Cost:
    """Counted on a model without memory. The paper's own choice needs no download; others need their configuration.

    Raises:
        UserError: a configuration cannot be read.
    """
    import torch

    from model import AkiConfig, AkiForConditionalGeneration

    settings = {} if _same_parts(choice) else _read_parts(choice)
    config = AkiConfig(num_latents=choice.num_image_tokens, **settings, **choice.resampler.settings())
    with torch.device("meta"):
        return Cost.of(AkiForConditionalGeneration(config))


def missing_parts(recipe: Recipe, data_root: Path | None) -> Iterator[str]:
    """Everything that would end the run later, as one line each: model parts, annotation files, shards."""
    yield from _missing_models(recipe.model)
    if any(stage.lora is not None for stage in recipe.stages) and find_spec("peft") is None:
        yield "lora: peft is not installed; pip install peft, or leave the table out"
    if data_root is None:
        yield "no --data given: the data was not checked"
        return
    sets = {(name, stage.shards or ()) for stage in recipe.stages for name in stage.data}
    for name, addresses in sorted(sets):
        if name in FOLDERS:
            yield from _missing_shards(data_root / FOLDERS[name], addresses)
        else:
            yield from _missing_files(name, data_root)


def _missing_models(choice: ModelChoice) -> Iterator[str]:
    """Both parts must lie on this machine; the tokenizer must know the chat marks of a family."""
    from transformers import AutoConfig, AutoTokenizer

    from model.chat_template import format_of

    found = set()
    for what, name in (("vision tower", choice.vision), ("text backbone", choice.text)):
        try:
            AutoConfig.from_pretrained(name, local_files_only=True, trust_remote_code=False)
            found.add(name)
        except (OSError, ValueError):
            yield f"{what} {name}: neither a folder nor in the Hub's cache; fetch it with `hf download {name}`"
    if choice.text not in found:
        return
    try:
        format_of(AutoTokenizer.from_pretrained(choice.text, local_files_only=True, trust_remote_code=False))
    except (OSError, ValueError) as error:
        yield f"tokenizer of {choice.text}: {_first_line(error)}"


def _missing_shards(folder: Path, addresses: Sequence[str]) -> Iterator[str]:
    """Remote shards are looked up, not into."""
    try:
        shards = find_shards(folder, addresses)
    except UserError as error:
        yield str(error)
        return
    for shard in shards:
        try:
            if isinstance(shard, Path):
                check_shard(shard)
        except UserError as error:
            yield str(error)


def _missing_files(name: str, data_root: Path) -> Iterator[str]:
    for annotation in SETS[name].annotations:
        if not (data_root / annotation).is_file():
            yield f"{data_root / annotation}: not found; {SETS[name].title} needs it"


def _same_parts(choice: ModelChoice) -> bool:
    return (choice.vision, choice.text) == (PAPER_MODEL.vision, PAPER_MODEL.text)


def _read_parts(choice: ModelChoice) -> dict[str, Any]:
    from transformers import AutoConfig

    try:
        vision, text = (
            AutoConfig.from_pretrained(name, local_files_only=True, trust_remote_code=False)
            for name in (choice.vision, choice.text)
        )
    except (OSError, ValueError):
        raise UserError(
            f"{choice.vision} and {choice.text}: both must be folders or in the Hub's cache; use `hf download`"
        ) from None
    return {"vision_config": getattr(vision, "vision_config", vision).to_dict(), "text_config": text.to_dict()}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
