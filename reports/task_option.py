"""The option by which commands on run folders get the code of benchmarks that are in nobody's package."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.catalogue import from_file


def _load(files: list[str] | None) -> list[str] | None:
    """Makes their tasks known by name."""
    for file in files or ():
        from_file(file, "--task")
    return files


TaskFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="FILE.py[:NAME]",
        callback=_load,
        help="A benchmark of your own, where comparing or showing a run needs its code.",
    ),
]
