"""Where a checkpoint lies: a folder, or a Hub id that is fetched into the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from transformers.utils import cached_file

from .config import is_published_config

_PLACE = ("cache_dir", "force_download", "local_files_only", "revision", "token")


def published_folder(name: str | Path | None, **kwargs: Any) -> Path | None:
    """The folder of a checkpoint as AKI's authors publish it, fetched if need be; None for any other kind.

    Raises:
        ValueError: there is no such folder, and it is no Hub id.
    """
    if name is None:
        return None
    if not Path(name).exists() and str(name).startswith(("/", ".", "~")):
        raise ValueError(f"{name} does not exist; expected the folder of a checkpoint, or a Hub id")
    place = {key: kwargs[key] for key in _PLACE if kwargs.get(key) is not None}
    config = cached_file(name, "config.json", **place, _raise_exceptions_for_missing_entries=False)
    if config is None or not is_published_config(read_json(Path(config))):
        return None
    if Path(name).is_dir():
        return Path(name)
    patterns = ["*.json", "*.safetensors", "tokenizer.model"]
    return Path(snapshot_download(str(name), allow_patterns=patterns, **place))


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ValueError: it holds none; the file is named.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} does not read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}, expected a JSON object")
    return content
