"""A tiny AKI with random weights, large enough that its answers depend on the question and on the picture."""

from __future__ import annotations

from pathlib import Path


def write_checkpoint(folder: Path, seed: int = 0) -> Path:
    """A `save_pretrained` folder with processor."""
    import torch

    from train.toy.build import build_model, build_processor

    torch.manual_seed(seed)
    processor = build_processor()
    model = build_model(processor, "mma")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5)
        model.lm_head.weight.mul_(2)
        model.model.language_model.embed_tokens.weight.normal_(0, 1)
        model.lm_head.weight[processor.tokenizer.eos_token_id] *= 1.5  # so that some answers end early
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
