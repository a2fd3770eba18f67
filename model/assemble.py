"""A new AKI from pretrained parts: SigLIP, any supported text backbone, and a resampler that knows nothing yet."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, SiglipVisionModel

from .configuration_aki import AkiConfig
from .image_processing_aki import AkiImageProcessor
from .modeling_aki import AkiForConditionalGeneration
from .processing_aki import AkiProcessor
from .published.facts import ADDED_TOKENS


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
    model = AkiForConditionalGeneration(config)
    patches = {name: tensor for name, tensor in tower.state_dict().items() if not name.startswith("head.")}
    model.model.vision_tower.load_state_dict(patches)
    model.model.language_model.load_state_dict(language.base_model.state_dict())
    model.lm_head.load_state_dict(language.get_output_embeddings().state_dict(), strict=not config.lm_head_bias)
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=processor.stop_token_ids,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    return Assembled(model, processor)
