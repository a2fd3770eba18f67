"""Tiny AKI models, tokenizers and pictures for the tests of model/."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from model import AkiConfig, AkiForConditionalGeneration, AkiImageProcessor, AkiProcessor

SPECIAL = {
    "phi3": ["<s>", "<|endoftext|>", "<pad>", "<|assistant|>", "<|system|>", "<|user|>", "<|end|>", "<image>"],
    "qwen2": ["<|endoftext|>", "<pad>", "<|im_start|>", "<|im_end|>", "<image>"],
    "llama": [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<pad>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<image>",
    ],
}
"""Special tokens of the backbone families, by model type."""

VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}
IMAGE, QUESTION_END, PAD = 199, 198, 0
NUM_LATENTS = 4


def tokenizer(family: str = "phi3") -> PreTrainedTokenizerFast:
    """Bytes, and the family's special tokens."""
    special = SPECIAL[family]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    model = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(special + alphabet)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    model.add_special_tokens(special)
    names = (
        {"eos_token": special[0], "bos_token": None}
        if family == "qwen2"
        else {"eos_token": special[1], "bos_token": special[0]}
    )
    return PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<pad>", padding_side="left", **names)


def processor(family: str = "phi3", **kwargs: Any) -> AkiProcessor:
    return AkiProcessor(AkiImageProcessor(size=28), tokenizer(family), num_latents=NUM_LATENTS, **kwargs)


def config(family: str = "phi3", text: dict[str, Any] | None = None, **kwargs: Any) -> AkiConfig:
    """Two layers, 48 wide, 200 tokens, of which 199 is the image and 198 ends a question."""
    settings = {
        "model_type": family,
        "vocab_size": 200,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "pad_token_id": PAD,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    defaults = {
        "num_latents": NUM_LATENTS,
        "resampler_depth": 1,
        "resampler_heads": 2,
        "resampler_dim_head": 16,
        "image_token_id": IMAGE,
        "question_end_token_id": QUESTION_END,
    }
    return AkiConfig(vision_config=VISION, text_config=settings | (text or {}), **defaults | kwargs)


def model(
    family: str = "phi3", text: dict[str, Any] | None = None, seed: int = 0, **kwargs: Any
) -> AkiForConditionalGeneration:
    """A tiny model with random weights, strong enough that a change of mask changes what it says."""
    torch.manual_seed(seed)
    made = AkiForConditionalGeneration(config(family, text, **kwargs)).eval()
    made.generation_config.eos_token_id = None
    return made


def model_for(own: AkiProcessor, family: str = "phi3", **kwargs: Any) -> AkiForConditionalGeneration:
    """A tiny model that fits a processor."""
    ids = {"image_token_id": own.image_token_id, "question_end_token_id": own.question_end_token_id}
    special = own.tokenizer
    text = {
        "vocab_size": len(special),
        "pad_token_id": special.pad_token_id,
        "bos_token_id": special.bos_token_id,
        "eos_token_id": special.eos_token_id,
    }
    made = model(family, text, **ids | kwargs)
    made.generation_config.eos_token_id = own.stop_token_ids
    return made


PROMPTS = (
    [1, 5, 6, *[IMAGE] * NUM_LATENTS, 7, 8, 9, QUESTION_END],
    [1, *[IMAGE] * NUM_LATENTS, 10, 11, 12, 13, 14, 15, 16, QUESTION_END],
    [1, 21, 22, 23, QUESTION_END],
)
"""Text before the picture, picture first, no picture."""


def batch(prompts: tuple[list[int], ...] | list[list[int]] = PROMPTS) -> dict[str, Tensor]:
    """Left-padded ids and mask."""
    length = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (length - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def pixels(count: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(seed))


def picture(width: int = 40, height: int = 30, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Noise, so that every way of resizing gives other pixels."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def answer(
    made: AkiForConditionalGeneration, inputs: dict[str, Any], num_tokens: int = 8, **kwargs: Any
) -> list[list[int]]:
    """Greedy new tokens."""
    settings = {"max_new_tokens": num_tokens, "do_sample": False, "pad_token_id": PAD} | kwargs
    return made.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :].tolist()


def naive_answer(made: AkiForConditionalGeneration, inputs: dict[str, Any], num_tokens: int = 8) -> list[list[int]]:
    """The same without `generate`, cache or library masks: one full pass a token, by the definition of the mask."""
    ids, mask = inputs["input_ids"], inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
    others = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
    types = made.model.token_types(ids)
    start = ids.shape[1]
    for _ in range(num_tokens):
        with torch.no_grad():
            logits = made(input_ids=ids, attention_mask=mask, mm_token_type_ids=types, **others).logits[:, -1]
        logits[:, made.config.image_token_id] = -torch.inf
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
        mask, types = (torch.nn.functional.pad(part, (0, 1), value=value) for part, value in ((mask, 1), (types, 0)))
    return ids[:, start:].tolist()
