"""`aki-eval judge-position RUN`: does the place in which a judge is shown an answer decide its grade?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results.folder import open_run
from benchmarks.results.position import Effect, PositionEffects, position
from reports.comparison_tables import difference_cell, p_text
from reports.formats import print_tables, write
from reports.render import markdown
from reports.tables import DASH, Cell, Column, Row, Table

from .options import TableFormat, TablesOut


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run scored with --protocols swapped.")],
    format: Annotated[TableFormat, typer.Option(help="Tables for the terminal, Markdown, or JSON.")] = "term",
    out: TablesOut = None,
) -> None:
    """LLaVA-Bench with the reference first and with it second, by the same judge: how far the order moves the score."""
    found = position(open_run(run))
    if format == "json":
        write(out, "judge-position.json", json.dumps(found.as_json(), ensure_ascii=False, indent=1) + "\n")
        return
    table = position_table(found)
    if format == "term":
        print_tables([table])
    else:
        write(out, "judge-position.md", markdown.render(table))


def position_table(found: PositionEffects) -> Table:
    names = ("reference first", "reference second", "difference", "p, Holm", "both orders")
    rows = []
    for metric in found.metrics:
        value, interval = found.both_orders[metric.metric]
        rows.append(
            Row(
                label=metric.metric,
                cells=(
                    Cell(value=metric.a, ci95=metric.ci95_of("a")),
                    Cell(value=metric.b, ci95=metric.ci95_of("b")),
                    difference_cell(metric),
                    Cell(text=p_text(metric.p_holm)),
                    Cell(value=value, ci95=interval),
                ),
            )
        )
    left_out = f" {found.num_left_out} answers were not graded in both orders." if found.num_left_out else ""
    return Table(
        key="judge-position",
        title=f"llava_bench: {found.judge} in both orders, {found.run}",
        corner="metric",
        columns=tuple(Column(label=name, kind="run") for name in names),
        rows=tuple(rows),
        remarks=(
            f"The first place is worth {_grades(found.first_place)} grades of 1 to 10: to the answer "
            f"{_grades(found.answer_first)}, to the reference {_grades(found.reference_first)}.",
            f"Which of the two is graded higher changes with the order in {found.num_turned} of {found.num_answers} "
            f"answers.{left_out}",
            "both orders: the score over the grades of both, in which an advantage of a place cancels out.",
        ),
    )


def _grades(effect: Effect) -> str:
    if effect.value is None:
        return DASH
    interval = "" if effect.ci95 is None else f" [{effect.ci95[0]:+.2f}, {effect.ci95[1]:+.2f}]"
    return f"{effect.value:+.2f}{interval}"
