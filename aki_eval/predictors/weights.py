"""What is known of a checkpoint without loading it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError

from ..run.specification import file_checksums


def read_config(checkpoint: Path) -> dict[str, Any]:
    """config.json.

    Raises:
        UserError: it cannot be read.
    """
    try:
        config = json.loads((checkpoint / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--model: {checkpoint}/config.json cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise UserError(f"--model: {checkpoint}/config.json holds a {type(config).__name__}, expected an object")
    return config


def refuse_pickled(checkpoint: Path) -> None:
    """Refuses pickled weights: they are code.

    Raises:
        UserError: there are no safetensors.
    """
    if not any(checkpoint.glob("*.safetensors")):
        raise UserError(f"--model: {checkpoint} holds no *.safetensors; weights load from safetensors only")


def weights_checksum(checkpoint: Path) -> str:
    """sha256 over the safetensors files."""
    return file_checksums(sorted(checkpoint.glob("*.safetensors")))


def settings_checksum(checkpoint: Path) -> str:
    """sha256 over tokenizer, processor and chat template files: they decide what the model is shown."""
    names = ("*token*.json", "*processor*.json", "chat_template.*", "generation_config.json", "config.json", "*.model")
    return file_checksums(sorted({path for name in names for path in checkpoint.glob(name)}))


SEED_FILES = {"training/arithmetic.json": ("seed",), "stage.json": ("stage", "seed")}
"""Where our trainings leave their seed beside the weights."""


def training_seed(checkpoint: Path) -> int | None:
    """Of the training that made a checkpoint; None where it does not say."""
    for name, keys in SEED_FILES.items():
        try:
            found = json.loads((checkpoint / name).read_text("utf-8"))
            for key in keys:
                found = found[key]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not there, or no file of ours: then nobody says
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return None


def what_is_wrong(checkpoint: Path, error: Exception) -> str:
    """Why a checkpoint did not load, in one short line.

    A damaged or missing file by name, else the library's words
    (which may be several kB over several lines, or as bare as a KeyError's).
    """
    for path in sorted(checkpoint.glob("*.json")):
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return f"{path.name} is damaged: it is no JSON"
        if not isinstance(content, dict):
            return f"{path.name} is damaged: it holds a {type(content).__name__}, expected an object"
    if not any((checkpoint / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        return "there is no tokenizer.json"
    speaks_for_itself = isinstance(error, OSError | ValueError) and str(error).strip()
    text = str(error) if speaks_for_itself else f"{type(error).__name__}: {error}"
    return textwrap.shorten(text, 300, placeholder=" ...")
