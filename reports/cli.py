"""The commands `aki-eval report` and `aki-eval view`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.records import UserError

from .audit import audit_table
from .layouts import Plan, all_tables, reference_row
from .render import flat, latex, markdown, terminal
from .run_folder import open_runs
from .tables import Table

FORMATS = ("term", "md", "tex", "csv", "json", "html")


def report(
    runs: Annotated[list[Path] | None, typer.Argument(metavar="RUN_DIR...", help="Run folders, side by side.")] = None,
    formats: Annotated[str, typer.Option("--format", help=f"Comma-separated: {', '.join(FORMATS)}.")] = "term",
    out: Annotated[Path | None, typer.Option(help="Folder to write files into. Default: print.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Run to compare the others with. Default: the first.")] = None,
    reference: Annotated[str, typer.Option(help="The paper's row that runs are compared with.")] = "aki_4b",
    audit: Annotated[bool, typer.Option("--audit", help="Recompute the paper's arithmetic: what contradicts.")] = False,
) -> None:
    """Every table of the paper, the runs' numbers beside the printed ones."""
    wanted = parse_formats(formats)
    plan = make_plan(runs or [], baseline, reference)
    tables = all_tables(plan) if plan.runs or not audit else []
    if audit:
        tables.append(audit_table())
    for name in wanted:
        produce(name, tables, plan, out)


def make_plan(paths: Sequence[Path], baseline: Path | None, reference: str) -> Plan:
    """Opens the runs; a baseline that is not among them comes first.

    Raises:
        UserError: a folder that is no run, or a reference that is no row of the paper.
    """
    reference_row(reference)
    known = {path.resolve(): place for place, path in enumerate(paths)}
    if baseline is not None and baseline.resolve() not in known:
        paths, known = [baseline, *paths], {baseline.resolve(): 0}
    runs = tuple(open_runs(paths))
    return Plan(runs, runs[known[baseline.resolve()]] if baseline else None, reference)


def parse_formats(text: str) -> list[str]:
    """Names of formats out of a comma-separated list.

    Raises:
        UserError: a name that is no format.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        found = unknown[0] if unknown else text
        raise UserError(f"--format {found!r} is no format; choose from {', '.join(FORMATS)}")
    return names


def produce(name: str, tables: list[Table], plan: Plan, out: Path | None) -> None:
    """One format: the terminal is printed to, the others go to a file of `out` or are printed without it."""
    if name == "term":
        print_tables(tables)
    elif name == "md":
        write(out, "tables.md", "\n".join(markdown.render(table) for table in tables))
    elif name == "tex":
        write(out, "tables.tex", latex.document(tables))
        for table in tables if out else []:
            write(out, f"{table.key}.tex", latex.render(table))
    elif name == "csv":
        write(out, "tables.csv", flat.to_csv(tables))
    elif name == "json":
        write(out, "tables.json", flat.to_json(tables, plan.runs))
    elif name == "html":
        from .html import write_site

        if out is None:
            raise UserError("--format html writes a folder of pages: say where with --out")
        typer.echo(write_site(plan, out / "html"))


def print_tables(tables: list[Table]) -> None:
    """To the terminal; into a file or pipe with a fixed width, so that the output does not depend on the machine."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    for table in tables:
        terminal.show(table, console)


def write(out: Path | None, name: str, content: str) -> None:
    """Into the folder `out`, or to standard output without one.

    Raises:
        UserError: the folder cannot be written.
    """
    if out is None:
        typer.echo(content, nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out / name}: {error.strerror}; choose another --out") from error
