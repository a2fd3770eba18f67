"""A tiny AKI from nothing, in minutes on two cores: vision tower, captions, instructions, on the toy world.

What is special about the toy ends with its data, its sizes and the vision tower's own training. Captions and fine-
tuning run through the recipe, loaders, collator and trainer of the real thing. `toy_world.md` says what was tried.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import Phi3Config

from benchmarks import toy_world
from model import AkiConfig, AkiForConditionalGeneration, AkiImageProcessor, AkiProcessor
from model.kinds import KINDS
from model.resampler import grid_positions

from ..curves import write_curves
from ..data.instructions import SETS, InstructionData
from ..data.pictures import FeatureTable, PixelReader, compute_features
from ..machine import Machine
from ..recipe import Stage
from ..run_stage import run_stage
from ..trainer import AkiTrainer
from . import arithmetic
from .partner import PairedTrainer, Partner
from .plan import ToyPlan
from .prepared import ensure_training_data
from .tokenizer import build_tokenizer
from .vision import mean_of_cells, tower_config, train_vision

LATENTS = 4
NUM_PATCHES = 16


QUICK = ToyPlan()
FULL = ToyPlan(num_images=20_000, num_captions=20_000, vision_steps=1000, caption_steps=1500, sft_steps=12_000)


def caption_stage(plan: ToyPlan, seed: int, attention: str = "causal") -> Stage:
    return Stage(
        name="captions",
        kind="pretrain",
        attention=attention,
        data={"kale": 1.0},
        steps=plan.caption_steps,
        batch_size=32,
        learning_rate=2.5e-3,
        min_learning_rate=2.5e-4,
        warmup_steps=min(50, plan.caption_steps),
        max_length=128,
        streams=1,
        shuffle_block=512,
        **_shared(plan, seed),
    )


INSTRUCTIONS = {
    "toy": {"vqav2": 0.35, "aokvqa": 0.55, "llava": 0.1},
    "laboratory": {"vqav2": 0.6, "llava": 0.4},
}


def sft_stage(plan: ToyPlan, seed: int, attention: str = "mma") -> Stage:
    return Stage(
        name="instructions",
        kind="sft",
        attention=attention,
        data=INSTRUCTIONS[plan.world],
        steps=plan.sft_steps,
        batch_size=64 if plan.world == "toy" else 16,
        learning_rate=2e-3 if plan.world == "toy" else 1e-3,
        min_learning_rate=2e-5,
        warmup_steps=min(100, plan.sft_steps),
        max_length=256,
        **_shared(plan, seed),
    )


def _shared(plan: ToyPlan, seed: int) -> dict[str, Any]:
    """What both stages have in common."""
    # All logits: with 80 words they cost nothing, and the committed model was made with sums in that order.
    usual = {"weight_decay": 0.05, "betas": (0.9, 0.98), "precision": "fp32", "seed": seed}
    if plan.world == "toy":
        return {**usual, "logits": "all"}
    return {**usual, "logits": "learned", "group_steps": 16}


def train_toy(out: Path, plan: ToyPlan, *, attention: str = "mma", seed: int = 0, processes: int = 1) -> dict[str, Any]:
    """Trains and saves a toy AKI; returns what took how long (seconds).

    A second process makes it faster where there is a second core; the weights are the same.

    `out` becomes a `save_pretrained` folder with processor; `out/training` holds logs, loss curves and
    `arithmetic.json`: what it was computed with, and the weights' digest after each stage.
    """
    with Partner() if processes > 1 else nullcontext() as partner, arithmetic.fixed():
        return _train(out, plan, attention, seed, partner)


def _train(out: Path, plan: ToyPlan, attention: str, seed: int, partner: Partner | None) -> dict[str, Any]:
    torch.manual_seed(seed)
    record, logs, digests = out / "training", {}, {}
    record.mkdir(parents=True, exist_ok=True)
    environment = arithmetic.describe()
    clock = Clock()
    if partner is not None:
        partner.prepare(plan)
    model, processor, logs["vision"] = untrained(plan, seed, record, attention)
    digests["vision"] = arithmetic.weights_digest(model.model.vision_tower)
    clock("vision")
    data_root = ensure_training_data(plan)
    clock("data")
    logs["captions"] = run_stage(
        caption_stage(plan, seed, "causal" if KINDS[attention].question_reaches_image else attention),
        model,
        processor,
        data_root=data_root,
        out=record,
        machine=Machine(micro_batch=32, cpu=True),
    )
    digests["captions"] = arithmetic.weights_digest(model)
    clock("captions")
    stage = sft_stage(plan, seed, attention)
    pictures = picture_features(model, processor, stage.data, data_root)
    clock("features")
    logs["instructions"] = run_stage(
        stage,
        model,
        processor,
        data_root=data_root,
        out=record,
        machine=Machine(micro_batch=16, cpu=True),
        pictures=pictures,
        make_trainer=AkiTrainer if partner is None else partial(PairedTrainer, partner=partner),
    )
    clock("instructions")
    digests["instructions"] = arithmetic.weights_digest(model)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    write_curves(record, logs, clock.seconds)
    content = {"seed": seed, "plan": asdict(plan), "attention": attention, "weights": digests, **environment}
    (record / "arithmetic.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return clock.seconds


def untrained(
    plan: ToyPlan, seed: int, record: Path, attention: str = "causal"
) -> tuple[AkiForConditionalGeneration, AkiProcessor, list[dict[str, Any]]]:
    """What a seed's trainings begin with, and the log of its vision tower: all else is random."""
    tower, log = train_vision(
        tower_config(),
        list(toy_world.scenes(f"vision {seed}", 10_000, "train" if plan.world == "toy" else "fit")),
        steps=plan.vision_steps,
        batch_size=64,
        seed=seed,
        out=record,
    )
    torch.manual_seed(seed)
    processor = build_processor()
    model = build_model(processor, attention)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    return model, processor, log


class Clock:
    """Seconds since the last call, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = round(now - self._last, 1), now


def build_processor() -> AkiProcessor:
    tokenizer = build_tokenizer(toy_world.vocabulary())
    return AkiProcessor(AkiImageProcessor(size=toy_world.IMAGE_SIZE), tokenizer, num_latents=LATENTS)


def build_model(processor: AkiProcessor, attention: str) -> AkiForConditionalGeneration:
    """A Phi-3 of three layers behind a one-layer resampler. Sizes apart it is AKI-4B's architecture."""
    tokenizer = processor.tokenizer
    text = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        original_max_position_embeddings=512,
        initializer_range=0.05,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        sliding_window=None,
    )
    config = AkiConfig(
        vision_config=tower_config(),
        text_config=text,
        num_latents=LATENTS,
        resampler_depth=1,
        resampler_heads=4,
        resampler_dim_head=16,
        resampler_position_encoding="sincos",
        resampler_init="identity",
        attention=attention,
        image_token_id=processor.image_token_id,
        question_end_token_id=processor.question_end_token_id,
    )
    model = AkiForConditionalGeneration(config)
    localise(model.model.resampler)
    model.generation_config.eos_token_id = processor.stop_token_ids
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


@torch.no_grad()
def localise(resampler: Any, sharpness: float = 3.0) -> None:
    """Each latent starts by looking at its own quarter of the picture (scores are `sharpness` above the others).

    Queries and keys near the identity, or random, look everywhere at once, mostly at the latents themselves;
    learning where to look then takes most of a short training. Keys start as positions alone, queries as what tells
    a quarter from the rest.
    """
    attention, heads, width = resampler.layers[0].attention, resampler.heads, resampler.dim_head
    places, own = grid_positions(NUM_PATCHES, heads, width), grid_positions(LATENTS, heads, width)
    wanted = mean_of_cells(places[None])[0] - places.mean(0)
    wanted = sharpness * heads * width**0.5 * wanted / wanted.square().sum(-1, keepdim=True)
    latents = attention.norm_latents(resampler.latents)
    attention.to_q.weight.copy_(arithmetic.least_squares(latents, wanted - own).T)
    attention.to_kv.weight.chunk(2)[0].zero_()


def picture_features(model: Any, processor: Any, names: Iterable[str], data_root: Path) -> FeatureTable:
    """The frozen tower's output for every picture of these sets."""
    data = [InstructionData(SETS[name], data_root, data_root / ".aki") for name in names]
    images = [row["image"] for rows in data for row in islice(rows, None) if row["image"]]
    return compute_features(model.model.vision_tower, PixelReader(data_root, processor.image_processor), images)
