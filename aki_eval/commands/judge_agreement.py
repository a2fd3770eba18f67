"""`aki-eval judge-agreement RUN [RUN_B]`: how far two judges agree on the same answers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder, open_run
from reports.formats import print_tables
from reports.render import markdown
from reports.tables import DASH, Cell, Column, Row, Table

from ..judges.agreement import KINDS, Agreement, agree, judges_in
from .options import TableFormat


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run with verdicts of judge A.")],
    other: Annotated[
        Path | None, typer.Argument(metavar="[RUN_B]", help="One with judge B's on the same answers. Default: RUN_DIR.")
    ] = None,
    judge_a: Annotated[str | None, typer.Option(help="Needed where a run holds verdicts of several judges.")] = None,
    judge_b: Annotated[str | None, typer.Option(help="As --judge-a.")] = None,
    format: Annotated[TableFormat, typer.Option(help="Tables for the terminal, Markdown, or JSON.")] = "term",
) -> None:
    """How far two judges agree on the same answers, and by how much the benchmark's number depends on them."""
    first = open_run(run)
    second = open_run(other) if other else first
    found = agreements(first, second, judge_a, judge_b)
    if format == "json":
        typer.echo(json.dumps([asdict(each) for each in found], ensure_ascii=False, indent=1))
        return
    tables = [table for each in found for table in (_offset_table(each), _largest_table(each))]
    if format == "term":
        print_tables(tables)
    else:
        typer.echo("\n".join(markdown.render(table) for table in tables))


def agreements(first: RunFolder, second: RunFolder, judge_a: str | None, judge_b: str | None) -> list[Agreement]:
    """One for each judge protocol that both sides have verdicts of.

    Raises:
        UserError: there is none, or it is not clear which judges are meant.
    """
    found = []
    for task, kinds in KINDS.items():
        for kind in kinds:
            there, here = judges_in(first, task, kind), judges_in(second, task, kind)
            if there and here and (first.path != second.path or len(there) > 1):
                a, b = _choose(there, here, judge_a, judge_b, same_run=first.path == second.path)
                found.append(agree(first, second, task, kind, a, b))
    if not found:
        raise UserError(
            f"{first.label} and {second.label} hold no verdicts of two judges on one benchmark; "
            "score the answers with both (aki-eval score RUN_DIR --judge NAME), in one run folder or in two"
        )
    return found


def _choose(
    there: list[str], here: list[str], judge_a: str | None, judge_b: str | None, *, same_run: bool
) -> tuple[str, str]:
    if same_run and len(there) == 2 and judge_a is None and judge_b is None:
        return there[0], there[1]
    chosen = []
    for option, wanted, names in (("--judge-a", judge_a, there), ("--judge-b", judge_b, here)):
        if (wanted is None and len(names) > 1) or (wanted is not None and wanted not in names):
            raise UserError(f"{option}: {wanted or 'not given'}, expected one of {', '.join(names)}")
        chosen.append(wanted or names[0])
    return chosen[0], chosen[1]


def _offset_table(found: Agreement) -> Table:
    names = (found.judge_a, found.judge_b, "B - A")
    rows = [
        Row(
            label=each.metric,
            cells=(Cell(value=each.a), Cell(value=each.b), Cell(value=each.difference, ci95=each.ci95, signed=True)),
        )
        for each in found.offsets
    ]
    return Table(
        key=f"agreement-{found.kind}",
        title=f"{found.kind}: {found.judge_a} and {found.judge_b} on {found.num_answers} answers",
        corner="metric",
        columns=tuple(Column(label=name, kind="run") for name in names),
        rows=tuple(rows),
        remarks=(
            f"{found.share_equal:.0%} of the grades equal, mean absolute difference {found.mean_absolute:.2f}, "
            f"Spearman {_number(found.spearman)}; own spread over repeats {_number(found.spread_a)} and "
            f"{_number(found.spread_b)}; {found.num_only_one} answers graded by one of the two only.",
        ),
    )


def _largest_table(found: Agreement) -> Table:
    rows = [Row(label=index, cells=(Cell(text=f"{a:g}"), Cell(text=f"{b:g}"))) for index, a, b in found.largest]
    return Table(
        key=f"largest-{found.kind}",
        title="Largest differences",
        corner="question",
        columns=(Column(label=found.judge_a, kind="run"), Column(label=found.judge_b, kind="run")),
        rows=tuple(rows),
    )


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"
