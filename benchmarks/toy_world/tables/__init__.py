"""The eleven tables of the toy world, in the columns of VLMEvalKit's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..scene import Split
from ..version import VERSION
from .choice import cv_bench_2d, cv_bench_3d, mmbench, real_world_qa, seed_bench
from .math_vista import math_vista
from .mmmu import mmmu
from .open_answers import llava_bench, mm_vet
from .rows import Entry, write_table
from .skills import SKILLS_TABLE, skills
from .yes_no import mme, pope

TABLES: dict[str, Callable[[Split], Iterator[Entry]]] = {
    "MME": mme,
    "MMBench_DEV_EN": mmbench,
    "SEEDBench_IMG": seed_bench,
    "LLaVABench": llava_bench,
    "MMMU_DEV_VAL": mmmu,
    "MathVista_MINI": math_vista,
    "POPE": pope,
    "MMVet": mm_vet,
    "RealWorldQA": real_world_qa,
    "CV-Bench-2D": cv_bench_2d,
    "CV-Bench-3D": cv_bench_3d,
}
"""VLMEvalKit's table name -> its rows, about scenes of a split."""
ALL_TABLES: dict[str, Callable[[Split], Iterator[Entry]]] = {**TABLES, SKILLS_TABLE: skills}


def default_root() -> Path:
    """Where the toy world's files lie: in the user's cache folder, by version."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "aki" / "toy_world" / VERSION


def ensure_tables(root: Path | None = None, split: Split = "eval") -> Path:
    """The folder of the eleven tables (`<name>.tsv`) and the skills'. Missing ones are written, always the same bytes.

    Without `root` they live under the user's cache folder, by version; those about test scenes in one of their own.

    Raises:
        OSError: that cannot be written.
    """
    if root is None:
        root = default_root() if split == "eval" else default_root() / split
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    for name, entries in ALL_TABLES.items():
        path = root / f"{name}.tsv"
        if not path.exists():
            write_table(path, (entry.row for entry in entries(split)))
    return root
