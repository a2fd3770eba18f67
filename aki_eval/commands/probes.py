"""`aki-eval probes RUN`: what the picture contributed to a run's scores, and how much the format mattered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UserError
from benchmarks.results.folder import open_run
from reports.formats import print_tables, write
from reports.probe_tables import looks_of, probe_tables
from reports.render import markdown

from .options import TableFormat, TablesOut


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run folder with runs under probes inside.")],
    format: Annotated[TableFormat, typer.Option(help="Tables for the terminal, Markdown, or JSON.")] = "term",
    out: TablesOut = None,
) -> None:
    """Column by column: the score without the picture, the gain from it, consistency, sensitivity to format."""
    found = looks_of([open_run(run)])
    if not found:
        raise UserError(f"{run} has no runs under probes; aki-eval run ... --out {run} --probe basic makes them")
    if format == "json":
        write(out, "probes.json", json.dumps(found[0].as_json(), ensure_ascii=False, indent=1) + "\n")
        return
    tables = probe_tables(found[0])
    if format == "term":
        print_tables(tables)
    else:
        write(out, "probes.md", "\n".join(markdown.render(table) for table in tables))
