"""Where tables lie."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UserError

OFFICIAL = "official"
TOY = "toy"
TOY_TEST = "toy-test"
"""The toy world's scenes that nobody looks at before a finding."""


def official_root() -> Path:
    """Where VLMEvalKit keeps its tables: $LMUData, or LMUData in the home folder."""
    return Path(
        os.environ.get("LMUData")  # noqa: SIM112 (the kit's name)
        or Path.home() / "LMUData"
    )


def is_toy(source: object) -> bool:
    """Whether these are tables of the toy world, whose numbers say nothing about the paper's."""
    return source in (TOY, TOY_TEST)


def data_root(source: str) -> Path:
    """The folder of tables behind `toy`, `toy-test`, `official` or a path.

    Raises:
        UserError: the path is no folder.
    """
    if is_toy(source):
        from ..toy_world import ensure_tables

        return ensure_tables(split="test" if source == TOY_TEST else "eval")
    root = official_root() if source == OFFICIAL else Path(source)
    if not source.strip() or not root.is_dir():
        hint = "aki-eval data fetch" if source == OFFICIAL else "--data takes toy, official or a folder of tables"
        raise UserError(f"no folder of tables at {root}; {hint}")
    return root
