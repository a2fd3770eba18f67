"""Checkpoints from one side to the other: published folder or training checkpoint to ours, and ours back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig

from ..card import model_card
from ..configuration_aki import AkiConfig
from ..files import readable_as_umask_says
from ..modeling_aki import AkiForConditionalGeneration
from ..processing_aki import AkiProcessor
from .config import generation_settings, is_published_config, published_config, with_settings_of_ours
from .facts import AKI_4B
from .hub import published_folder, read_json
from .names import EMBEDDING, check_shapes, plan_shapes, rest_of, to_ours, to_published
from .weights import Weights, read_pt, read_state, weight_files, with_vision_tower

KEPT = "reference"
"""Sub-folder of a converted checkpoint for what only the published side needs: its config.json, its tokenizer's files,
and `rest.safetensors`. Folders on disk have it under this name."""

_HEAD, _OUR_EMBEDDING = "lm_head.weight", "model.language_model.embed_tokens.weight"

_TOKENIZER_FILES = (
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
)


def convert(
    source: str | Path,
    target: Path,
    *,
    to: Literal["ours", "published"] = "ours",
    config: Path | None = None,
    vision_tower: Path | None = None,
) -> dict[str, Any]:
    """Writes `target`, a new folder. Tensors keep their type; there and back again is exact to the bit.

    source: a folder or Hub id as AKI's authors publish it, a `.pt` training checkpoint, or (to="published") a folder of
    ours. config: for `.pt` files, the published config.json they belong to (default: AKI-4B's). vision_tower: for `.pt`
    files, which leave the frozen tower out, SigLIP's folder.

    Returns what was written.

    Raises:
        ValueError: something is missing, unexpected, misshapen, damaged or in the way.
    """
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file; name a new folder")
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty; name a new folder")
    _check_source(Path(source), may_be_hub_id=to == "ours")
    if to == "published":
        return _to_published(Path(source), target)
    if Path(source).suffix == ".pt":
        return _from_training(Path(source), target, config, vision_tower)
    folder = published_folder(source)
    if folder is None and not Path(source).exists():
        raise ValueError(f"{source} is neither a folder here nor a checkpoint the Hub answers with; check the name")
    if folder is None:
        raise ValueError(f"{source} is no published AKI checkpoint: its config.json lacks num_vision_tokens")
    raw = read_json(folder / "config.json")
    weights = Weights(weight_files(folder))
    return _to_ours(weights, raw, folder, target)


def _check_source(source: Path, *, may_be_hub_id: bool) -> None:
    """Refuses sources that cannot be a checkpoint.

    Raises:
        ValueError: a file that is no `.pt`, or what is neither there nor looks like a Hub id (`owner/name`).
    """
    if source.is_file() and source.suffix != ".pt":
        raise ValueError(f"{source} is a file; name the folder that holds config.json and the weights, or a .pt file")
    mistyped = len(source.parts) != 2 or source.parent.is_dir() or source.suffix in (".pt", ".safetensors")
    if not source.exists() and (mistyped or not may_be_hub_id):
        kinds = "a folder, a .pt file or a Hub id (owner/name)" if may_be_hub_id else "a folder of ours"
        raise ValueError(f"{source} does not exist; expected {kinds}")


def _from_training(file: Path, target: Path, config: Path | None, tower: Path | None) -> dict[str, Any]:
    raw = AKI_4B if config is None else read_json(config)
    tensors = with_vision_tower(read_pt(file), tower, str(file))
    return _to_ours(tensors, raw, file.parent if config is None else config.parent, target)


def _to_ours(weights: Any, raw: dict[str, Any], folder: Path, target: Path) -> dict[str, Any]:
    config = AkiConfig.from_published(raw, folder)
    plan, shapes = read_state(weights, AkiForConditionalGeneration, config, str(folder))
    state = {name: tensor.contiguous() for name, tensor in to_ours(plan, weights.__getitem__)}
    target.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict(state, target, metadata={"format": "pt"})
    readable_as_umask_says(target.glob("*.safetensors"))
    config.dtype = next(iter(state.values())).dtype
    config.architectures = ["AkiForConditionalGeneration"]
    config.save_pretrained(target)
    settings = generation_settings(config, raw.get("stop_token_ids"))
    GenerationConfig(**settings).save_pretrained(target)
    model_card(config).save(target / "README.md")
    _keep_for_the_way_back(weights, plan, shapes, raw, folder, target / KEPT)
    if has_tokenizer := any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
        AkiProcessor.from_published(folder, raw).save_pretrained(target)
    return _summary(state, target) | {"processor": has_tokenizer}


def _keep_for_the_way_back(
    weights: Any, plan: Any, shapes: dict[str, Any], raw: dict[str, Any], folder: Path, place: Path
) -> None:
    place.mkdir()
    save_file(rest_of(plan, weights.__getitem__, set(shapes)), place / "rest.safetensors")
    readable_as_umask_says([place / "rest.safetensors"])
    if (folder / "config.json").exists():
        shutil.copy2(folder / "config.json", place / "config.json")
    else:
        (place / "config.json").write_text(json.dumps(raw, indent=2))
    for name in _TOKENIZER_FILES:
        if (folder / name).exists():
            shutil.copy2(folder / name, place / name)


def _to_published(source: Path, target: Path) -> dict[str, Any]:
    if is_published_config(read_json(source / "config.json")):
        raise ValueError(f"{source} is in the published form already; --to published takes a folder of ours")
    config = AkiConfig.from_pretrained(source)
    if config.image_token_id != config.text_config.vocab_size - 2:
        raise ValueError(
            f"{source} has <image> as id {config.image_token_id} of {config.text_config.vocab_size}; the published form"
            " needs <image> and <|endofchunk|> as the last two"
        )
    weights: Any = Weights(weight_files(source))
    kept = source / KEPT
    rest = Weights([kept / "rest.safetensors"]) if (kept / "rest.safetensors").exists() else {}
    plan = plan_shapes(AkiForConditionalGeneration, config, _num_rows(config, rest))
    shared = {_HEAD: weights.shapes.get(_OUR_EMBEDDING)} if _is_shared(config, weights) else {}
    check_shapes(weights.shapes | shared, plan.ours, str(source))
    own = {name: weights[_OUR_EMBEDDING if name in shared else name] for name in plan.ours}
    state = {name: tensor.contiguous() for name, tensor in to_published(plan, own.__getitem__, rest)}
    state |= _no_bias(plan, state)
    target.mkdir(parents=True, exist_ok=True)
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    readable_as_umask_says([target / "model.safetensors"])
    tokenizer = kept if kept.is_dir() else source
    for file in (tokenizer / name for name in _TOKENIZER_FILES):
        if file.exists():
            shutil.copy2(file, target / file.name)
    _write_published_config(config, source, target)
    return _summary(state, target) | {"pooling_head": any(name.startswith("vision_encoder.head.") for name in state)}


def _is_shared(config: AkiConfig, weights: Any) -> bool:
    """Whether embedding and head are one tensor, saved once; the published form has two."""
    return config.tie_word_embeddings and _HEAD not in weights.shapes


def _write_published_config(config: AkiConfig, source: Path, target: Path) -> None:
    """The published config.json as it was, byte for byte, unless the model has become another since."""
    kept = source / KEPT / "config.json"
    raw = read_json(kept) if kept.exists() else published_config(config)
    stop = _stop_tokens(config, source)
    whole = with_settings_of_ours(raw, config, stop) | _processor_settings(source, kept.exists())
    if kept.exists() and whole == raw:
        shutil.copy2(kept, target / "config.json")
    else:
        (target / "config.json").write_text(json.dumps(whole, indent=2))


def _stop_tokens(config: AkiConfig, source: Path) -> list[int]:
    if not (source / "generation_config.json").exists():
        usual: list[int] = generation_settings(config)["eos_token_id"]
        return usual
    stop = GenerationConfig.from_pretrained(source).eos_token_id
    return stop if isinstance(stop, list) else [] if stop is None else [stop]


def _processor_settings(source: Path, was_published: bool) -> dict[str, Any]:
    """What the processor of a model of ours has set otherwise than a published one's."""
    if not (source / "processor_config.json").exists():
        return {}
    own = AkiProcessor.from_pretrained(source)
    order = {} if own.image_order == "image_first" else {"image_order": own.image_order}
    if was_published:
        return {"processor": order} if order else {}
    pictures = own.image_processor
    return {
        "norm_mean": pictures.image_mean,
        "norm_std": pictures.image_std,
        "processor": {"chat_template": own.chat_template} | order,
    }


def _num_rows(config: AkiConfig, rest: Any) -> int:
    """Rows of the published embedding: as they were, or the vocabulary rounded up to 64, as Phi's is."""
    base: int = config.text_config.vocab_size - 2
    if isinstance(rest, Weights):
        return base + rest.shapes[EMBEDDING][0]
    return -(-base // 64) * 64


def _no_bias(plan: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published head always has a bias: zeros where ours has none."""
    if "lang_model.lm_head.bias" in state:
        return {}
    weight = state["lang_model.lm_head.weight"]
    return {
        "lang_model.lm_head.bias": weight.new_zeros(plan.rows),
        "lang_model.lm_head.additional_fc.bias": weight.new_zeros(2),
    }


def _summary(state: dict[str, Tensor], target: Path) -> dict[str, Any]:
    num_parameters = sum(tensor.numel() for tensor in state.values())
    return {"target": str(target), "num_tensors": len(state), "num_parameters": num_parameters}
