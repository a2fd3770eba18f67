"""Where tables lie."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UserError

OFFICIAL = "official"
TOY = "toy"


def official_root() -> Path:
    """Where VLMEvalKit keeps its tables: $LMUData, or LMUData in the home folder."""
    return Path(
        os.environ.get("LMUData")  # noqa: SIM112 (the kit's name)
        or Path.home() / "LMUData"
    )


def table_folder(text: str) -> Path:
    """The value of an option such as `--root`: a folder that is there or can be made.

    Raises:
        UserError: it is empty, or a file stands in its way.
    """
    if not str(text).strip():  # a default comes as a Path
        raise UserError("it is empty; name a folder")
    path = Path(text)
    in_the_way = next((place for place in (path, *path.parents) if place.exists()), None)
    if in_the_way is not None and not in_the_way.is_dir():
        raise UserError(f"{in_the_way} is a file; name a folder")
    return path


def data_root(source: str) -> Path:
    """The folder of tables behind `toy`, `official` or a path.

    Raises:
        UserError: the path is no folder.
    """
    if source == TOY:
        from ..toy_world import ensure_tables

        return ensure_tables()
    root = official_root() if source == OFFICIAL else Path(source)
    if not source.strip() or not root.is_dir():
        hint = "aki-eval data fetch" if source == OFFICIAL else "--data takes toy, official or a folder of tables"
        raise UserError(f"no folder of tables at {root}; {hint}")
    return root
