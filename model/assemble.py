"""A new AKI from pretrained parts: SigLIP, any supported text backbone, and a resampler that knows nothing yet."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, SiglipVisionModel

from .configuration_aki import AkiConfig
from .image_processing_aki import AkiImageProcessor
from .modeling_aki import AkiForConditionalGeneration
from .processing_aki import AkiProcessor
from .published.facts import ADDED_TOKENS
from .resampler import Resampler


class Assembled(NamedTuple):
    """What training starts from."""

    model: AkiForConditionalGeneration
    processor: AkiProcessor


def assemble(vision: str, text: str, *, num_latents: int = 144, seed: int = 0, **settings: Any) -> Assembled:
    """Model and processor from two folders or Hub ids.

    AKI-4B is made of google/siglip-so400m-patch14-384 and microsoft/Phi-3.5-mini-instruct.

    `<pad>`, `<image>` and `<|endofchunk|>` are added to the tokenizer, and rows for them to embedding and head; rows
    beyond the tokenizer's length (backbones round them up) are cut off. The token that ends a question comes from the
    chat template of the backbone's family. `settings` are fields of `AkiConfig`. Weights are fp32.

    Raises:
        ValueError: the tokenizer has the chat marks of no family we know.
    """
    torch.manual_seed(seed)  # the resampler and the new rows
    tokenizer = AutoTokenizer.from_pretrained(text, padding_side="left", trust_remote_code=False)
    tokenizer.add_special_tokens({"additional_special_tokens": list(ADDED_TOKENS)})
    tokenizer.pad_token = ADDED_TOKENS[0]
    tower = SiglipVisionModel.from_pretrained(vision, dtype=torch.float32)
    language = AutoModelForCausalLM.from_pretrained(text, dtype=torch.float32, trust_remote_code=False)
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    processor = AkiProcessor(AkiImageProcessor(size=tower.config.image_size), tokenizer, num_latents=num_latents)
    language.config.pad_token_id = tokenizer.pad_token_id
    config = AkiConfig(
        vision_config=tower.config.to_dict() | {"vision_use_head": False},
        text_config=language.config,
        num_latents=num_latents,
        image_token_id=processor.image_token_id,
        question_end_token_id=processor.question_end_token_id,
        **settings,
    )
    with torch.device("meta"):  # no memory and no random numbers for what is loaded anyway
        model = AkiForConditionalGeneration(config)
    _take(model.model.vision_tower, tower)
    _take(model.model.language_model, language.base_model)
    model.lm_head = _head(language, config)
    model.model.resampler = Resampler(config)
    model.model.resampler.apply(model._init_weights)
    model.tie_weights()
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=processor.stop_token_ids,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    return Assembled(model, processor)


def _take(module: nn.Module, source: nn.Module) -> None:
    """Makes the tensors of `source` those of `module` on the meta device; SigLIP's pooling head stays behind."""
    tensors = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith("head.")}
    module.load_state_dict(tensors, assign=True)
    buffers = dict(source.named_buffers())  # also those that no checkpoint holds: rotary frequencies, positions
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            owner, _, own = name.rpartition(".")
            setattr(module.get_submodule(owner), own, buffers[name])


def _head(language: Any, config: AkiConfig) -> nn.Linear:
    """The backbone's head, with its own memory unless the model shares it with the embedding; a new bias is zero."""
    given = language.get_output_embeddings()
    weight, embedding = given.weight, language.get_input_embeddings().weight
    if weight is embedding and not config.tie_word_embeddings:
        weight = nn.Parameter(weight.detach().clone())
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=config.lm_head_bias, device="meta")
    head.weight = weight
    if config.lm_head_bias:
        bias = getattr(given, "bias", None)
        head.bias = nn.Parameter(torch.zeros(weight.shape[0]) if bias is None else bias)
    return head
