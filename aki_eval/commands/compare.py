"""`aki-eval compare RUN_A RUN_B`, or `A1 A2 ... -- B1 B2 ...`: what two runs, or two recipes, say about each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.errors import UserError
from benchmarks.printable import printable
from benchmarks.results.comparison import Comparison, Different, compare
from benchmarks.results.folder import RunFolder
from benchmarks.results.looking import blind_questions
from reports.asked import asked
from reports.cli import parse_formats
from reports.comparison_tables import count_table, flip_table, making_table, metric_table, verdict
from reports.formats import print_tables, write
from reports.links import Links, links_between
from reports.render import markdown
from reports.sides import SidesCommand, two_sides
from reports.tables import Table
from reports.task_option import TaskFiles

from .options import TablesOut

FORMATS = ("term", "md", "json")


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_A RUN_B | RUN_A... -- RUN_B...",
            help="Two runs, or two arms: a recipe's runs by training seed on each side of --. Shown is B minus A.",
        ),
    ],
    format: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(FORMATS)}.")] = "term",
    out: TablesOut = None,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Sub-scores too, not only the columns.")] = False,
    flips: Annotated[int, typer.Option(help="Questions to list for each task; json always lists all.")] = 5,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="Compare although data, prompts or judge differ.")
    ] = False,
    only: Annotated[
        Literal["needs-picture"] | None,
        typer.Option(help="Leave out what either model answers without the picture (--probe no_image)."),
    ] = None,
    task: TaskFiles = None,
    report: Annotated[
        str | None,
        typer.Option("--links", help="Folder or address of both runs' HTML report. Default: where `view` serves it."),
    ] = None,
) -> None:
    """Two runs or arms, paired: is the difference real, and which questions flipped?"""
    wanted = parse_formats(format, FORMATS)
    first, second = two_sides(runs)
    without = _answered_blind([*first.runs, *second.runs]) if only is not None else None
    different: Different = "allow" if allow_different else "refuse"
    comparison = compare(first, second, different=different, without=without)
    if without is not None:
        count = sum(map(len, without.values()))
        typer.echo(f"left out: {count} questions that a model here answers without the picture", err=True)
    if {"term", "md"} & set(wanted):
        one, two = first.runs[0], second.runs[0]
        links = None if comparison.arms else links_between((one.label, one.path), (two.label, two.path), report)
        tables = comparison_tables(
            comparison, flips, all_metrics=all_metrics, questions=lambda task: asked(one, task), links=links
        )
        closing = _closing(comparison, all_metrics=all_metrics)
    for name in wanted:
        if name == "json":
            content = comparison.as_json(all_metrics=all_metrics)
            write(out, "compare.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        elif name == "md":
            shown = [*(markdown.render(table) for table in tables), "\n\n".join(closing) + "\n"]
            write(out, "compare.md", "\n".join(shown))
        else:
            print_tables(tables)
            typer.echo("\n" + "\n".join(printable(line) for line in closing))


command.command_class = SidesCommand  # type: ignore[attr-defined]


def _answered_blind(runs: Sequence[RunFolder]) -> dict[str, set[str]]:
    """By task, what any of the models answers without the picture.

    Raises:
        UserError: one of them was not asked without it. Leaving out what only the others answer blind would take
            questions away from these alone.
    """
    found: dict[str, set[str]] = {}
    for run in runs:
        blind = blind_questions(run)
        if blind is None:
            raise UserError(
                f"--only needs-picture: {run.label} was not asked without the picture; aki-eval run ... --out "
                f"{run.path} --probe no_image does it"
            )
        for task, indices in blind.items():
            found.setdefault(task, set()).update(indices)
    return found


def _closing(comparison: Comparison, *, all_metrics: bool) -> list[str]:
    """The verdict on all metrics, and where those are that were not shown."""
    shown = comparison.metrics if all_metrics else comparison.columns
    lines = [f"Verdict: {verdict(comparison)}"]
    if more := len(comparison.metrics) - len(shown):
        lines.append(f"--all-metrics shows {more} sub-score{'' if more == 1 else 's'} as well.")
    return lines


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
