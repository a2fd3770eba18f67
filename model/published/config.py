"""Reads AKI checkpoints as their authors publish them: `config.json` of a hub mixin, their tensor names, `.pt` files.

Nothing is unpickled but tensors: safetensors files, or `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig

from ..configuration_aki import AkiConfig
from .facts import PHI_3_5, PHI_ASSISTANT, PHI_END_OF_TURN, SO400M
from .names import EMBEDDING, POOLING_HEAD, Layout, check_shapes, layout, to_ours

_NETWORKS: dict[str, dict[str, Any]] = {
    "microsoft/Phi-3.5-mini-instruct": PHI_3_5,
    "google/siglip-so400m-patch14-384": SO400M | {"model_type": "siglip_vision_model"},
}
"""Networks whose sizes we know without asking the Hub."""

_VISION = "vision_encoder."

_OURS = {
    "attention": "mma",
    "image_order": "image_first",
    "resampler_position_encoding": "none",
    "resampler_init": "normal",
}
"""Settings the published form has no place for, and what it takes for granted. Others are written beside its own."""


class Weights(Mapping[str, Tensor]):
    """Tensors of one or more safetensors files, read when asked for.

    Raises ValueError, naming the file, when one is damaged or cut short.
    """

    def __init__(self, files: list[Path]) -> None:
        self._file_of: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            with open_safetensors(file) as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    self._file_of[name] = file
                    self.shapes[name] = tuple(opened.get_slice(name).get_shape())

    def __getitem__(self, name: str) -> Tensor:
        with open_safetensors(self._file_of[name]) as opened:
            return opened.get_tensor(name)

    def __iter__(self) -> Any:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def open_safetensors(file: Path) -> Any:
    """`safe_open` with an error a user can act on."""
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} does not open as safetensors ({error}); it is damaged or cut short, fetch it again"
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, whole or in shards.

    Raises ValueError when there are none, or when the index names one that is absent.
    """
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{index} is damaged: it holds no weight_map of file names; fetch it again") from error
    files = [folder / name for name in names]
    if absent := [file.name for file in files if not file.exists()]:
        raise ValueError(f"{folder} lacks {', '.join(absent)}")
    return files


def read_pt(file: Path) -> dict[str, Tensor]:
    """Tensors of a training checkpoint: `model_state_dict`, `module.` taken off the names.

    Raises ValueError when it holds anything that is not plain data, or no state dict.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError(
            f"{file} cannot be read as plain tensors: it is no zip archive, as torch.save writes it; damaged, or older"
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{file} cannot be read as plain tensors, and nothing else is ever loaded: {reason}"
        ) from error
    tensors = content.get("model_state_dict", content) if isinstance(content, dict) else None
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{file} holds no model_state_dict of tensors; expected a training checkpoint of AKI")
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def is_reference_config(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json is the published kind."""
    return "model_type" not in raw and {"num_vision_tokens", "initial_tokenizer_len"} <= set(raw)


def config_from_reference(raw: Mapping[str, Any], folder: Path | None = None) -> AkiConfig:
    """The published config.json -> ours.

    It names the two networks by Hub id or folder; the two known ones need no network access. A description may also be
    written out under `lang` and `vision`, and the resampler's under `resampler`; settings of ours under our names.

    Raises ValueError, naming the file, when something is absent or of the wrong kind.
    """
    try:
        return _config_from_reference(raw, folder)
    except (KeyError, TypeError, AttributeError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"holds something unexpected ({error})"
        raise ValueError(
            f"{(folder or Path()) / 'config.json'} {what}; expected a published AKI config.json"
        ) from error


def _config_from_reference(raw: Mapping[str, Any], folder: Path | None) -> AkiConfig:
    text = dict(raw.get("lang") or _network(raw["lang_model_path"], folder))
    vision = dict(raw.get("vision") or _network(raw["vision_encoder_path"], folder))
    resampler = raw.get("resampler", {})
    base = raw["initial_tokenizer_len"]
    text = {"model_type": "phi3"} | {name: value for name, value in text.items() if value is not None}
    return AkiConfig(
        vision_config=vision,
        text_config=text | {"vocab_size": base + 2, "pad_token_id": raw["pad_token_id"]},
        num_latents=raw["num_vision_tokens"],
        resampler_depth=resampler.get("depth", 6),
        resampler_heads=resampler.get("heads", 8),
        resampler_dim_head=resampler.get("dim_head", 64),
        resampler_ff_mult=resampler.get("ff_mult", 4),
        image_token_id=raw.get("image_token_id", base),
        question_end_token_id=_question_end(raw, text["model_type"]),
        lm_head_bias=True,
        **{name: raw.get(name, usual) for name, usual in _OURS.items()},
    )


def _question_end(raw: Mapping[str, Any], family: str) -> int:
    """The published config.json does not say, for Phi; for another family it must."""
    return raw.get("assistant_token_id", PHI_ASSISTANT) if family == "phi3" else raw["assistant_token_id"]


def with_settings_of_ours(raw: Mapping[str, Any], config: AkiConfig, stop_token_ids: list[int]) -> dict[str, Any]:
    """A published config.json, and what it would not say of a model of ours: attention, order, stop tokens, ..."""
    usual = _OURS | {"stop_token_ids": generation_settings(config)["eos_token_id"]}
    if config.text_config.model_type == "phi3":
        usual["assistant_token_id"] = PHI_ASSISTANT
    wanted = {name: getattr(config, name) for name in _OURS}
    wanted |= {"stop_token_ids": stop_token_ids, "assistant_token_id": config.question_end_token_id}
    return dict(raw) | {name: value for name, value in wanted.items() if value != (usual | dict(raw)).get(name)}


def reference_config(config: AkiConfig) -> dict[str, Any]:
    """Our configuration -> a published one with everything written out, for models that were never published."""
    drop = ("vision_use_head", "vocab_size", "transformers_version", "architectures")
    text, vision = (part.to_dict() for part in (config.text_config, config.vision_config))
    return {
        "initial_tokenizer_len": config.text_config.vocab_size - 2,
        "num_vision_tokens": config.num_latents,
        "pad_token_id": config.text_config.pad_token_id,
        "image_token_id": config.image_token_id,
        "assistant_token_id": config.question_end_token_id,
        "n_px": config.vision_config.image_size,
        "lang": {name: value for name, value in text.items() if name not in drop},
        "vision": {name: value for name, value in vision.items() if name not in drop},
        "resampler": {
            "depth": config.resampler_depth,
            "heads": config.resampler_heads,
            "dim_head": config.resampler_dim_head,
            "ff_mult": config.resampler_ff_mult,
        },
    }


def generation_settings(config: AkiConfig, stop_token_ids: list[int] | None = None) -> dict[str, Any]:
    """Greedy decoding; stop tokens as given, or the published ones: end of text, as trained, and Phi's end of turn."""
    text = config.text_config
    end_of_turn = [PHI_END_OF_TURN] if text.model_type == "phi3" else []
    usual = list(dict.fromkeys([*_listed(text.eos_token_id), *end_of_turn]))
    stop = usual if stop_token_ids is None else stop_token_ids
    return {
        "bos_token_id": text.bos_token_id,
        "eos_token_id": stop or None,
        "pad_token_id": text.pad_token_id,
        "suppress_tokens": [config.image_token_id],
        "do_sample": False,
    }


def _listed(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _network(name: str, folder: Path | None) -> dict[str, Any]:
    """Configuration of a vision tower or text backbone by Hub id or folder (also one beside the checkpoint)."""
    if name in _NETWORKS:
        return _NETWORKS[name]
    beside = (folder or Path()) / name
    config = AutoConfig.from_pretrained(beside if beside.is_dir() else name)
    return getattr(config, "vision_config", config).to_dict()


def read_state(
    weights: Mapping[str, Tensor], config: AkiConfig, what: str
) -> tuple[Layout, dict[str, tuple[int, ...]]]:
    """Checks published tensors against a configuration. Returns both sides' layout and the shapes found.

    Raises ValueError naming every tensor that is missing, unexpected or of another shape. SigLIP's pooling head may be
    absent.
    """
    shapes = weights.shapes if isinstance(weights, Weights) else {name: tuple(w.shape) for name, w in weights.items()}
    if EMBEDDING not in shapes:
        raise ValueError(f"{what} lacks {EMBEDDING}; it is no AKI checkpoint")
    plan = layout(config, shapes[EMBEDDING][0])
    check_shapes(shapes, plan.reference, what, optional=POOLING_HEAD)
    return plan, shapes


def with_vision_tower(tensors: dict[str, Tensor], tower: Path | None, what: str) -> dict[str, Tensor]:
    """Training checkpoints leave the frozen tower out; this puts SigLIP's own tensors back.

    Raises ValueError when the tower is absent and no folder is given.
    """
    if any(name.startswith(_VISION) for name in tensors):
        return tensors
    if tower is None:
        raise ValueError(
            f"{what} has no vision tower (training checkpoints leave it out); name SigLIP's folder as its vision tower"
        )
    siglip = Weights(weight_files(tower))
    names = [name for name in siglip if not name.startswith(("text_model.", "logit_"))]
    return tensors | {_VISION + name.removeprefix("vision_model."): siglip[name] for name in names}


def load_released(folder: Path) -> tuple[AkiConfig, dict[str, Tensor]]:
    """A published folder -> our configuration and state dict."""
    config = config_from_reference(json.loads((folder / "config.json").read_text()), folder)
    weights = Weights(weight_files(folder))
    plan, _ = read_state(weights, config, str(folder))
    return config, dict(to_ours(plan, weights.__getitem__))
