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
