"""What is known of a checkpoint without loading it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.records import UserError

from ..specification import file_checksums


def read_config(checkpoint: Path) -> dict[str, Any]:
    """config.json. Raises UserError when it cannot be read."""
    try:
        config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--model: {checkpoint}/config.json cannot be read ({error})") from error
    return config


def refuse_pickled(checkpoint: Path) -> None:
    """Raises UserError when there are no safetensors: pickled weights are code, and are not loaded."""
    if not any(checkpoint.glob("*.safetensors")):
        raise UserError(f"--model: {checkpoint} holds no *.safetensors; weights load from safetensors only")


def weights_checksum(checkpoint: Path) -> str:
    """sha256 over the safetensors files."""
    return file_checksums(sorted(checkpoint.glob("*.safetensors")))


def settings_checksum(checkpoint: Path) -> str:
    """sha256 over tokenizer, processor and chat template files: they decide what the model is shown."""
    names = ("*token*.json", "*processor*.json", "chat_template.*", "generation_config.json", "config.json", "*.model")
    return file_checksums(sorted({path for name in names for path in checkpoint.glob(name)}))
