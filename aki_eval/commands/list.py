"""`aki-eval list`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table as Grid

from benchmarks.catalogue import installed, source_of
from benchmarks.console import PlainConsole
from benchmarks.data.fetch import read_lock
from benchmarks.data.load import is_present
from benchmarks.data.root import official_root
from benchmarks.task import DataTable
from benchmarks.tasks import TASKS, headline_labels

from ..run.inputs import ALL, INSTALLED, find_tasks


def list_tasks(
    bench: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BENCH]...", help="Names or files, as --bench takes them. Default: all and installed."),
    ] = None,
) -> None:
    """The benchmarks, the paper's columns and tables they stand for, and their official tables on this machine."""
    root = official_root()
    locked = read_lock(root)
    grid = Grid(title=f"official tables in {root}")
    grid.add_column("--bench", no_wrap=True)
    for heading in ("columns", "details", "official table", "here"):
        grid.add_column(heading)
    for task in find_tasks(",".join(bench or (ALL, INSTALLED))):
        labels = headline_labels(task).values()
        names, states = zip(*((table.name, _state(table, root, locked)) for table in task.tables), strict=True)
        details = f"Table {task.paper_table}" if task.paper_table else "" if task.name in TASKS else source_of(task)
        cells = ("\n".join(part) for part in (labels, [details], names, states))
        grid.add_row(task.name + (" *" if task.judged else ""), *cells)
    console = PlainConsole()
    console.print(grid)
    console.print(
        "* needs a judge. --data toy needs no tables; aki-eval data fetch brings the official ones.", soft_wrap=True
    )
    for fault in installed().faults.values():
        print(f"aki-eval: {fault}", file=sys.stderr)


def _state(table: DataTable, root: Path, locked: dict[str, Any]) -> str:
    """`verified` means: fetched or checked by `aki-eval data`, which locks what it has checked."""
    if not is_present(table, root):
        return "absent"
    return "present, verified" if table.name in locked else "present"
