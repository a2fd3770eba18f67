"""`aki-eval list`."""

from __future__ import annotations

from benchmarks.tasks import COLUMNS, TASKS
from rich.console import Console
from rich.table import Table

from .inputs import official_root


def list_tasks() -> None:
    """The benchmarks, their tables on this machine, and the paper's tables."""
    root = official_root()
    table = Table(title=f"Benchmarks; official tables in {root}")
    for heading in ("--bench", "benchmark", "the paper's columns", "sub-scores in", "official tables", "judge"):
        table.add_column(heading)
    for name, task in TASKS.items():
        labels = ", ".join(column.label for column in COLUMNS if column.task == name)
        present = ", ".join(
            f"{table.name} {'present' if (root / f'{table.name}.tsv').is_file() else 'absent'}" for table in task.tables
        )
        sub_scores = f"Table {task.paper_table}" if task.paper_table else ""
        table.add_row(name, task.title, labels, sub_scores, present, "needed" if task.judged else "")
    console = Console()
    console.print(table)
    console.print(
        "aki-eval data fetch brings the official tables, aki-eval data verify checks them; --data toy needs none."
    )
