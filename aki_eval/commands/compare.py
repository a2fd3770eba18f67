"""`aki-eval compare RUN_A RUN_B`: what the numbers of two runs say about each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results.comparison import Comparison, compare
from benchmarks.results.folder import open_runs
from reports.asked import asked
from reports.comparison_tables import count_table, flip_table, making_table, metric_table
from reports.formats import print_tables, write
from reports.links import Links, links_between
from reports.render import markdown
from reports.tables import Table

from .options import TableFormat


def command(
    run_a: Annotated[Path, typer.Argument(help="The run to compare with.")],
    run_b: Annotated[Path, typer.Argument(help="The run of interest: differences are B minus A.")],
    format: Annotated[TableFormat, typer.Option(help="Tables for the terminal, Markdown, or JSON.")] = "term",
    out: Annotated[Path | None, typer.Option(help="Folder to write md and json into. Default: print.")] = None,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Sub-scores too, not only the columns.")] = False,
    flips: Annotated[int, typer.Option(help="Questions to list for each task; json always lists all.")] = 5,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="Compare although data, prompts or judge differ.")
    ] = False,
    report: Annotated[
        str | None,
        typer.Option("--links", help="Folder or address of both runs' HTML report. Default: where `view` serves it."),
    ] = None,
) -> None:
    """Two runs, paired: is the difference real, and which questions flipped?"""
    first, second = open_runs([run_a, run_b])
    comparison = compare(first, second, different="allow" if allow_different else "refuse")
    if format == "json":
        content = comparison.as_json(all_metrics=all_metrics)
        write(out, "compare.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        return
    links = links_between((first.label, first.path), (second.label, second.path), report)
    tables = comparison_tables(
        comparison, flips, all_metrics=all_metrics, questions=lambda task: asked(first, task), links=links
    )
    if format == "term":
        print_tables(tables)
    else:
        write(out, "compare.md", "\n".join(markdown.render(table) for table in tables))


def comparison_tables(
    comparison: Comparison,
    num_flips: int,
    *,
    all_metrics: bool = False,
    questions: Callable[[str], Mapping[str, str]] | None = None,
    links: Links | None = None,
) -> list[Table]:
    """How the runs were made, the metrics, then how many questions flipped and which."""
    tables = [making_table(comparison)] if comparison.made_differently else []
    tables += [metric_table(comparison, comparison.metrics if all_metrics else comparison.columns)]
    flipped = flip_table(comparison, num_flips, questions, links)
    return [*tables, count_table(comparison, links), *([flipped] if flipped else [])]
