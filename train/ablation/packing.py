"""An experiment's runs in one small file beside its report, so that whoever reads the report can ask again.

    tar xJf runs.tar.xz && aki-eval compare steps-2000/runs/it_it-seed* -- steps-2000/runs/mma-seed*

What is kept of a run is its record, its metrics, what every question was worth and what its image tokens knew; answers
in full are not. Runs of one table differ in a few characters a line, so the second costs a seventh of the first.
"""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.files import beside

FILE = "runs.tar.xz"
KEPT = ("run.json", "*/metrics.json", "*/scores.jsonl", "inside/layers.json")
FOLDERS = ("runs", "cross")


def pack(out: Path, budgets: Iterable[Path], report: Path) -> Path:
    """Writes `report/runs.tar.xz`, the same bytes for the same runs; names in it begin with the budget's folder.

    Raises:
        OSError: a file cannot be read or written.
    """
    path = report / FILE
    preset: Any = 9 | lzma.PRESET_EXTREME  # typeshed knows 0 to 9 alone
    with beside(path) as scratch, tarfile.open(scratch, "w:xz", preset=preset) as archive:
        for file in _kept(budgets):
            entry = tarfile.TarInfo(file.relative_to(out).as_posix())
            entry.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(entry, content)
    return path


def _kept(budgets: Iterable[Path]) -> Iterator[Path]:
    """By pattern, so that like stands beside like: a compressor looks back only so far."""
    for pattern in KEPT:
        for folder in budgets:
            for name in FOLDERS:
                yield from sorted(folder.glob(f"{name}/*/{pattern}"), key=lambda file: (file.parent.name, str(file)))
