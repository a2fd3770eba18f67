"""Produces each format of the report: printed, or written below a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import typer

from benchmarks.console import PlainConsole
from benchmarks.errors import UserError
from benchmarks.printable import printable

from .paper_tables import Plan, all_tables
from .picture_modes import PictureMode
from .render import flat, latex, markdown, terminal
from .styles import SCREEN, Style
from .tables import Table

FORMATS = ("term", "md", "tex", "csv", "json", "html", "figures", "model-card")


@dataclass(frozen=True)
class Output:
    """Where formats go: files below `folder`, or standard output without one. `push` names a repository on the Hub."""

    folder: Path | None
    pictures: PictureMode = "thumbnails"
    push: str | None = None
    style: Style = SCREEN

    def needed(self, name: str) -> Path:
        """The folder, for formats that write several files.

        Raises:
            UserError: there is none.
        """
        if self.folder is None:
            raise UserError(f"--format {name} writes a folder: say where with --out")
        return self.folder


def produce(name: str, tables: list[Table], plan: Plan, output: Output) -> None:
    """One format: the terminal is printed to, the others go to a file of the folder or are printed without it."""
    out = output.folder
    if name == "term":
        print_tables(tables)
    elif name == "md":
        write(out, "tables.md", "\n".join(markdown.render(table) for table in tables))
    elif name == "tex":
        write(out, "tables.tex", latex.document(tables))
        for table in tables if out else []:
            write(out, f"{table.key}.tex", latex.render(table, output.style))
            write(out, f"{table.key}_plain.tex", latex.render(table, output.style, plain=True))
    elif name == "csv":
        write(out, "tables.csv", flat.to_csv(tables))
    elif name == "json":
        write(out, "tables.json", flat.to_json(tables, plan.runs))
    elif name == "html":
        from .pages import write_site

        echo(write_site(plan, output.needed(name) / "html", pictures=output.pictures))
    elif name == "figures":
        from .chart_plots import write_figures
        from .inside_figures import write_inside_figures
        from .view_plots import write_view_figures

        folder = output.needed(name) / "figures"
        figures = (*write_figures(plan, folder, output.style), *write_view_figures(plan.runs, folder))
        for path in (*figures, *write_inside_figures(plan.arms, folder)):
            echo(path)
    elif name == "model-card":
        publish(plan, output.needed(name) / "model-card", output.push)


def echo(path: Path) -> None:
    typer.echo(printable(str(path)))


def publish(plan: Plan, out: Path, repository: str | None) -> None:
    """A model card for each run; uploaded only where a repository is named.

    Raises:
        UserError: no run, or several runs for one repository.
    """
    from .model_card import push, write_card

    if not plan.runs or (repository is not None and len(plan.runs) > 1):
        raise UserError(f"a model card is about one run, {len(plan.runs)} are given")
    folders = folder_names([run.label for run in plan.runs])
    for run in plan.runs:
        folder = out if len(plan.runs) == 1 else out / folders[run.label]
        name = repository or run.label
        for path in write_card(run, name, all_tables(Plan((run,), reference=plan.reference)), folder):
            echo(path)
        if repository is not None:
            typer.echo(push(run, folder, repository))


def folder_names(labels: Sequence[str]) -> dict[str, str]:
    """A folder's name for each label, no two the same."""
    names: dict[str, str] = {}
    for label in labels:
        plain = re.sub(r"[^\w.+@-]+", "-", label).strip("-.") or "run"
        candidates = chain([plain], (f"{plain}-{number}" for number in count(2)))
        names[label] = next(name for name in candidates if name not in names.values())
    return names


def print_tables(tables: list[Table]) -> None:
    """To the terminal, through a pager; into a file or pipe with a fixed width, whatever the machine."""
    console = PlainConsole()
    if not console.is_terminal:
        console = PlainConsole(width=180)
        for table in tables:
            terminal.show(table, console)
        return
    # As git sets it: colours, no clearing of the screen, and no pager for what fits on one.
    os.environ["LESS"] = os.environ.get("LESS", "-FX") + " -R"
    with console.pager(styles=True):
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
        (out / name).write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"cannot write {out / name}: {error.strerror}; choose another --out") from error
