"""Trainings in the formats of the report: tables, curves, a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import UserError

from .formats import Output, echo, produce
from .pages.training import write_trainings
from .paper_tables import Plan
from .training_log import read_training, training_figure, training_table

FORMATS = ("term", "md", "tex", "csv", "json", "html", "figures")


def report_trainings(folders: Sequence[Path], formats: Sequence[str], output: Output) -> None:
    """Tables and curves in the formats asked for.

    Raises:
        UserError: a format that trainings do not have; nothing was logged.
    """
    if unknown := next((name for name in formats if name not in FORMATS), None):
        raise UserError(f"--format {unknown}: trainings have {', '.join(FORMATS)}")
    stages = {folder: read_training(folder) for folder in folders}
    tables = [training_table(folder, found) for folder, found in stages.items()]
    for name in formats:
        if name == "html":
            echo(write_trainings(stages, tables, output.needed(name) / "html"))
            continue
        if name != "figures":
            produce(name, tables, Plan(()), output)
            continue
        target = output.needed(name) / "figures"
        target.mkdir(parents=True, exist_ok=True)
        for table, found in zip(tables, stages.values(), strict=True):
            for kind in ("png", "pdf"):
                path = target / f"{table.key}.{kind}"
                training_figure(found).savefig(path, dpi=150)
                echo(path)
