"""Low-rank adapters of the text backbone (LoRA, Hu et al. 2021), by peft.

The resampler is trained whole beside them, as it is small and joins the pictures to the text; everything else keeps its
weights. What is saved is two things: the merged model, which loads like any other, and the adapter in peft's own form
with the resampler in it, which is exact and small, and from which a run goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.errors import UserError

from .recipe import Lora

FOLDER = "adapter"
WEIGHTS = "adapter_model.safetensors"
NAME = "default"
PREFIX = "base_model.model."
"""What peft puts before a model's own names."""
BACKBONE = "model.language_model."
RESAMPLER = "model.resampler."


def adapt(model: Any, lora: Lora) -> None:
    """Puts adapters into the backbone's layers and freezes what is beside them and the resampler.

    Raises:
        UserError: no layer of the backbone has one of the names.
    """
    from peft import inject_adapter_in_model

    model.model.language_model.requires_grad_(False)
    model.lm_head.requires_grad_(False)
    inject_adapter_in_model(adapter_config(model, lora), model, adapter_name=NAME)
    model.model.resampler.requires_grad_(True)


def adapter_config(model: Any, lora: Lora) -> Any:
    """How peft describes the adapters.

    Raises:
        UserError: no layer of the backbone has one of the names.
    """
    from peft import LoraConfig

    linear = {
        name.rpartition(".")[2]
        for name, module in model.model.language_model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith("layers.")
    }
    if unknown := sorted(set(lora.layers or ()) - linear):
        raise UserError(f"lora.layers names {unknown[0]!r}; the text backbone has {', '.join(sorted(linear))}")
    names = "|".join(map(re.escape, sorted(lora.layers or linear)))
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf"model\.language_model\.layers\..*\.({names})",
    )


def merged(state: Mapping[str, torch.Tensor], lora: Lora) -> dict[str, torch.Tensor]:
    """The weights of a model without adapters that computes the same: W + alpha / rank * B A."""
    plain = {}
    for name, tensor in state.items():
        stem, base, kind = name.rpartition(".base_layer.")
        if base and kind == "weight":
            low, high = (state[f"{stem}.lora_{part}.{NAME}.weight"] for part in "AB")
            tensor = tensor + lora.alpha / lora.rank * (high @ low)
        if not is_adapter(name):
            plain[stored_name(name)] = tensor
    return plain


def stored_name(name: str) -> str:
    """A weight's name in a model without adapters; an adapter's is that of the weight it is merged into."""
    return re.sub(rf"\.(base_layer|lora_[AB]\.{NAME})\.", ".", name)


def save_adapter(folder: Path, model: Any, state: Mapping[str, torch.Tensor], lora: Lora) -> None:
    """Adapters and resampler as peft keeps them: `PeftModel.from_pretrained(base, folder)` takes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.peft_config[NAME]
    config.modules_to_save = ["resampler"]
    config.inference_mode = True
    config.save_pretrained(folder)
    config.modules_to_save, config.inference_mode = None, False
    kept = {
        PREFIX + name.replace(f".{NAME}.", "."): tensor.contiguous()
        for name, tensor in state.items()
        if is_trained(name)
    }
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


def load_adapter(checkpoint: Path) -> dict[str, torch.Tensor]:
    """What `save_adapter` wrote, by the names of the model it is trained in.

    Raises:
        UserError: it is not there.
    """
    path = checkpoint / FOLDER / WEIGHTS
    if not path.is_file():
        raise UserError(f"{checkpoint}: no {FOLDER}/{WEIGHTS} in it, as checkpoints of stages with `lora` have")
    return {
        re.sub(r"(\.lora_[AB])\.", rf"\1.{NAME}.", name.removeprefix(PREFIX)): tensor
        for name, tensor in load_file(path).items()
    }


def check_base(model: Any, checkpoint: Path) -> None:
    """That the model is the one that the checkpoint's adapters were trained in, by its embeddings.

    Raises:
        UserError: it is another one.
    """
    name = "model.language_model.embed_tokens.weight"
    own = model.state_dict()[name]
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            if name in file.keys() and not torch.equal(file.get_tensor(name), own):  # noqa: SIM118  # no dict
                raise UserError(f"{checkpoint}: its adapters belong to another model; run the stages before it again")


def is_adapter(name: str) -> bool:
    return ".lora_" in name


def is_trained(name: str) -> bool:
    """Adapters, and the resampler beside them."""
    return is_adapter(name) or name.startswith(RESAMPLER)
