"""`config.json` as AKI's authors publish it (that of a hub mixin): our settings from it, and it from ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from .facts import PHI_3_5, PHI_ASSISTANT, PHI_END_OF_TURN, SO400M

_NETWORKS: dict[str, dict[str, Any]] = {
    "microsoft/Phi-3.5-mini-instruct": PHI_3_5,
    "google/siglip-so400m-patch14-384": SO400M | {"model_type": "siglip_vision_model"},
}
"""Networks whose sizes we know without asking the Hub."""

_OURS = {
    "attention": "mma",
    "image_order": "image_first",
    "resampler_position_encoding": "none",
    "resampler_init": "normal",
}
"""Settings the published form has no place for, and what it takes for granted. Others are written beside its own."""


def is_published_config(raw: Mapping[str, Any]) -> bool:
    """Whether a config.json is the published kind."""
    return "model_type" not in raw and {"num_vision_tokens", "initial_tokenizer_len"} <= set(raw)


def settings_of(raw: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """The published config.json -> the arguments of `AkiConfig`.

    It names the two networks by Hub id or folder; the two known ones need no network access. A description may also be
    written out under `lang` and `vision`, and the resampler's under `resampler`; settings of ours under our names.

    Raises:
        KeyError, TypeError, AttributeError: something is absent or of the wrong kind.
    """
    text = dict(raw.get("lang") or _network(raw["lang_model_path"], folder))
    vision = dict(raw.get("vision") or _network(raw["vision_encoder_path"], folder))
    resampler = raw.get("resampler", {})
    base = raw["initial_tokenizer_len"]
    text = {"model_type": "phi3"} | {name: value for name, value in text.items() if value is not None}
    return {
        "vision_config": vision,
        "text_config": text | {"vocab_size": base + 2, "pad_token_id": raw["pad_token_id"]},
        "num_latents": raw["num_vision_tokens"],
        "resampler_depth": resampler.get("depth", 6),
        "resampler_heads": resampler.get("heads", 8),
        "resampler_dim_head": resampler.get("dim_head", 64),
        "resampler_ff_mult": resampler.get("ff_mult", 4),
        "image_token_id": raw.get("image_token_id", base),
        "question_end_token_id": _question_end(raw, text["model_type"]),
        "lm_head_bias": True,
        **{name: raw.get(name, usual) for name, usual in _OURS.items()},
    }


def _question_end(raw: Mapping[str, Any], family: str) -> int:
    """The published config.json does not say, for Phi; for another family it must."""
    token: int = raw.get("assistant_token_id", PHI_ASSISTANT) if family == "phi3" else raw["assistant_token_id"]
    return token


def with_settings_of_ours(
    raw: Mapping[str, Any], config: PreTrainedConfig, stop_token_ids: list[int]
) -> dict[str, Any]:
    """A published config.json, and what it would not say of a model of ours: attention, order, stop tokens, ..."""
    usual = _OURS | {"stop_token_ids": generation_settings(config)["eos_token_id"]}
    if config.text_config.model_type == "phi3":
        usual["assistant_token_id"] = PHI_ASSISTANT
    wanted = {name: getattr(config, name) for name in _OURS}
    wanted |= {"stop_token_ids": stop_token_ids, "assistant_token_id": config.question_end_token_id}
    return dict(raw) | {name: value for name, value in wanted.items() if value != (usual | dict(raw)).get(name)}


def published_config(config: PreTrainedConfig) -> dict[str, Any]:
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


def generation_settings(config: PreTrainedConfig, stop_token_ids: list[int] | None = None) -> dict[str, Any]:
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
    config = AutoConfig.from_pretrained(beside if beside.is_dir() else name, trust_remote_code=False)
    found: dict[str, Any] = getattr(config, "vision_config", config).to_dict()
    return found
