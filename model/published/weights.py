"""Weights as AKI's authors publish them: safetensors under their names, and `.pt` training checkpoints.

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
from transformers import PreTrainedConfig

from .hub import read_json
from .names import EMBEDDING, POOLING_HEAD, ShapePlan, check_shapes, plan_shapes, to_ours

_VISION = "vision_encoder."


class Weights(Mapping[str, Tensor]):
    """Tensors of one or more safetensors files, read when asked for.

    Raises:
        ValueError: one is damaged or cut short; the file is named.
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
            tensor: Tensor = opened.get_tensor(name)
            return tensor

    def __iter__(self) -> Any:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def open_safetensors(file: Path) -> Any:
    """`safe_open` with an error a user can act on.

    Raises:
        ValueError: the file is damaged or cut short.
    """
    try:
        return safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} does not open as safetensors ({error}); it is damaged or cut short, fetch it again"
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, whole or in shards.

    Raises:
        ValueError: there are none, or the index names one that is absent.
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

    Raises:
        ValueError: it holds anything that is not plain data, or no state dict.
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


def read_state(
    weights: Mapping[str, Tensor], model_class: Any, config: PreTrainedConfig, what: str
) -> tuple[ShapePlan, dict[str, tuple[int, ...]]]:
    """Checks published tensors against a configuration. Returns both sides' shapes and those found.

    SigLIP's pooling head may be absent.

    Raises:
        ValueError: a tensor is missing, unexpected or of another shape; every such one is named.
    """
    shapes = weights.shapes if isinstance(weights, Weights) else {name: tuple(w.shape) for name, w in weights.items()}
    if EMBEDDING not in shapes:
        raise ValueError(f"{what} lacks {EMBEDDING}; it is no AKI checkpoint")
    plan = plan_shapes(model_class, config, shapes[EMBEDDING][0])
    check_shapes(shapes, plan.published, what, optional=POOLING_HEAD)
    return plan, shapes


def with_vision_tower(tensors: dict[str, Tensor], tower: Path | None, what: str) -> dict[str, Tensor]:
    """Training checkpoints leave the frozen tower out; this puts SigLIP's own tensors back.

    Raises:
        ValueError: the tower is absent and no folder is given.
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


def load_published(folder: Path, model_class: Any) -> tuple[PreTrainedConfig, dict[str, Tensor]]:
    """A published folder -> configuration and state dict of our `model_class`."""
    config = model_class.config_class.from_published(read_json(folder / "config.json"), folder)
    weights = Weights(weight_files(folder))
    plan, _ = read_state(weights, model_class, config, str(folder))
    return config, dict(to_ours(plan, weights.__getitem__))
