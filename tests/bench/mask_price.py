"""What modality-mutual attention costs beside causal attention, in one run and as ratios.

    python tests/bench/mask_price.py [--width 512] [--layers 4] [--repeats 5]

Three things, on a model with random weights and a prompt as AKI-4B gets (144 latents, a question of 40 tokens):

- a training step and a prefill under MMA over the same under causal attention: the same shapes, another mask;
- what a causal model can save and a mutual one cannot: a picture's keys and values do not depend on the question, so 18
  questions about a picture (POPE) need the picture's prefix once. Also given: how far the logits of the question's last
  token are from those of whole prefills, and the same for MMA, where the saved prefix is another one.

Times alternate between the kinds, and the median is taken.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from model import AkiConfig, AkiForConditionalGeneration
from model.self_test import attention_set_to

LATENTS, BEFORE, QUESTION, QUESTIONS = 144, 12, 40, 18
VOCABULARY, IMAGE, END = 2000, 1999, 1998


def make(width: int, layers: int) -> Any:
    torch.manual_seed(0)
    text = {
        "model_type": "phi3",
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "intermediate_size": width * 8 // 3,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64,
        "max_position_embeddings": 512,
        "original_max_position_embeddings": 512,
        "initializer_range": 0.05,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "bos_token_id": 1,
    }
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AkiConfig(
        vision_config=vision | {"image_size": 28, "patch_size": 7},
        text_config=text,
        num_latents=LATENTS,
        resampler_depth=1,
        image_token_id=IMAGE,
        question_end_token_id=END,
    )
    return AkiForConditionalGeneration(config).eval()


def prompts(num: int) -> torch.Tensor:
    """(num, L): the same beginning and picture, another question each."""
    generator = torch.Generator().manual_seed(1)
    before = torch.randint(3, 1000, (1, BEFORE), generator=generator).expand(num, -1)
    image = torch.full((num, LATENTS), IMAGE)
    question = torch.randint(3, 1000, (num, QUESTION - 1), generator=generator)
    return torch.cat([before, image, question, torch.full((num, 1), END)], dim=1)


def given(vectors: torch.Tensor, num: int) -> dict[str, Any]:
    pictures = vectors.expand(num, -1, -1)
    return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=pictures)}}


def alternating(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turns after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: median(own) for name, own in times.items()}


def under(model: Any, kind: str, work: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with attention_set_to(model, kind):
            return work()

    return run


@torch.no_grad()
def whole(model: Any, ids: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Every question with its picture; logits of the last token."""
    logits: torch.Tensor = model(input_ids=ids, **given(vectors, len(ids)), logits_to_keep=1, use_cache=True).logits
    return logits


@torch.no_grad()
def reused(model: Any, ids: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """The picture's prefix once, then the questions behind it."""
    end = BEFORE + LATENTS
    cache = model(input_ids=ids[:1, :end], **given(vectors, 1), logits_to_keep=1, use_cache=True).cache
    cache = copy.deepcopy(cache)
    cache.batch_repeat_interleave(len(ids))
    logits: torch.Tensor = model(input_ids=ids[:, end:], cache=cache, logits_to_keep=1, use_cache=True).logits
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    model = make(asked.width, asked.layers)
    vectors = torch.randn(1, LATENTS, asked.width, generator=torch.Generator().manual_seed(2))
    ids, few = prompts(QUESTIONS), prompts(2)

    def step() -> None:
        model(input_ids=few, labels=few, **given(vectors, 2)).loss.backward()
        model.zero_grad()

    kinds = ("causal", "mma")
    steps = alternating({kind: under(model, kind, step) for kind in kinds}, asked.repeats)
    print(f"training step, MMA over causal: {steps['mma'] / steps['causal']:.3f}", flush=True)
    works = {kind: under(model, kind, lambda: whole(model, ids, vectors)) for kind in kinds}
    works["reuse"] = under(model, "causal", lambda: reused(model, ids, vectors))
    fills = alternating(works, asked.repeats)
    print(f"prefill, MMA over causal: {fills['mma'] / fills['causal']:.3f}", flush=True)
    print(f"{QUESTIONS} questions about a picture, causal, whole over reused: {fills['causal'] / fills['reuse']:.2f}")
    for kind in kinds:
        with attention_set_to(model, kind):
            apart = (whole(model, ids, vectors) - reused(model, ids, vectors)).abs().max()
            same = (whole(model, ids, vectors).argmax(-1) == reused(model, ids, vectors).argmax(-1)).float().mean()
        print(f"{kind}: logits of whole and reused prefixes differ by up to {float(apart):.2g}; same answer {same:.0%}")


if __name__ == "__main__":
    main()
