"""`aki-eval list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table as Grid

from benchmarks.console import PlainConsole
from benchmarks.data.fetch import read_lock
from benchmarks.data.load import is_present
from benchmarks.data.root import official_root
from benchmarks.task import DataTable
from benchmarks.tasks import COLUMNS, TASKS


def list_tasks() -> None:
    """The benchmarks, the paper's columns and tables they stand for, and their official tables on this machine."""
    root = official_root()
    locked = read_lock(root)
    grid = Grid(title=f"official tables in {root}")
    grid.add_column("--bench", no_wrap=True)
    for heading in ("columns", "details", "official table", "here"):
        grid.add_column(heading)
    for name, task in TASKS.items():
        labels = [column.label for column in COLUMNS if column.task == name]
        names, states = zip(*((table.name, _state(table, root, locked)) for table in task.tables), strict=True)
        details = f"Table {task.paper_table}" if task.paper_table else ""
        cells = ("\n".join(part) for part in (labels, [details], names, states))
        grid.add_row(name + (" *" if task.judged else ""), *cells)
    console = PlainConsole()
    console.print(grid)
    console.print(
        "* needs a judge. --data toy needs no tables; aki-eval data fetch brings the official ones.", soft_wrap=True
    )


def _state(table: DataTable, root: Path, locked: dict[str, Any]) -> str:
    """`verified` means: fetched or checked by `aki-eval data`, which locks what it has checked."""
    if not is_present(table, root):
        return "absent"
    return "present, verified" if table.name in locked else "present"
