"""What says that a folder of weights is whole: `stage.json`, written last, with the checksum of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.files import write_atomically

SPECIFICATION = "stage.json"
FILES = "files"
AT_ONCE = 8


def write_specification(folder: Path, content: Mapping[str, Any]) -> None:
    """What a checkpoint or model was made with, and what it consists of. Written last and at once."""
    paths = [path for path in sorted(folder.rglob("*")) if _belongs(path)]
    with ThreadPoolExecutor(AT_ONCE) as pool:  # 48 GB of AKI-4B lie in many files, and all processes wait
        files = dict(zip((str(path.relative_to(folder)) for path in paths), pool.map(_sha256, paths), strict=True))
    write_atomically(folder / SPECIFICATION, json.dumps({**content, FILES: files}, indent=1) + "\n")


def _belongs(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(SPECIFICATION)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(folder: Path) -> str | None:
    """What is wrong with a folder that was once whole, in a few words; None: nothing.

    A folder of the time before there were checksums passes as far as its `stage.json` can be read.
    """
    try:
        content = json.loads((folder / SPECIFICATION).read_text("utf-8"))
        if FILES not in content and content.keys() - {"model", "stage"}:
            return f"{SPECIFICATION} is not what was written"
        files = content.get(FILES, {})
        if missing := next((name for name in files if not (folder / name).is_file()), None):
            return f"{missing} is missing"
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = pool.map(_sha256, (folder / name for name in files))
            if wrong := next((name for name, digest in zip(files, found, strict=True) if digest != files[name]), None):
                return f"{wrong} is not what was written"
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        return f"{SPECIFICATION} cannot be read ({error})"
    return None
