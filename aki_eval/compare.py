"""`aki-eval compare RUN_A RUN_B`: what the numbers of two runs say about each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import UserError
from benchmarks.results.folder import open_runs
from reports.formats import print_tables, write
from reports.render import markdown
from reports.tables import DASH, Cell, Column, Row, Table

from .comparison import Comparison, Flip, MetricComparison, compare
from .pairing import WARNING

FORMATS = ("term", "md", "json")


def command(
    run_a: Annotated[Path, typer.Argument(help="The run to compare with.")],
    run_b: Annotated[Path, typer.Argument(help="The run of interest: differences are B minus A.")],
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "term",
    out: Annotated[Path | None, typer.Option(help="Folder to write md and json into. Default: print.")] = None,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="Sub-scores too, not only the columns.")] = False,
    flips: Annotated[int, typer.Option(help="Questions to list for each task; json always lists all.")] = 5,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="Compare although data, prompts or judge differ.")
    ] = False,
) -> None:
    """Two runs, paired: is the difference real, and which questions flipped?"""
    if format not in FORMATS:
        raise UserError(f"--format {format!r}: expected one of {', '.join(FORMATS)}")
    first, second = open_runs([run_a, run_b])
    comparison = compare(first, second, all_metrics=all_metrics, allowed=allow_different)
    tables = comparison_tables(comparison, flips)
    if format == "term":
        print_tables(tables)
    elif format == "md":
        write(out, "compare.md", "\n".join(markdown.render(table) for table in tables))
    else:
        write(out, "compare.json", json.dumps(comparison.as_json(), ensure_ascii=False, indent=1) + "\n")


def comparison_tables(comparison: Comparison, num_flips: int) -> list[Table]:
    """How the runs were made, the metrics, then how many questions flipped and which."""
    making = [_making_table(comparison)] if comparison.made_differently else []
    return [*making, _metric_table(comparison), _count_table(comparison), *_flip_table(comparison, num_flips)]


def _making_table(comparison: Comparison) -> Table:
    return Table(
        key="made",
        title="Made differently",
        corner="run.json",
        columns=tuple(Column(label=name, kind="run", text=True) for name in (comparison.a, comparison.b)),
        rows=tuple(
            Row(label=name, cells=(Cell(text=_cut(a, 60)), Cell(text=_cut(b, 60))))
            for name, a, b in comparison.made_differently
        ),
    )


def _metric_table(comparison: Comparison) -> Table:
    names = (comparison.a, comparison.b, "B - A", "p", "p, Holm", "detectable", "pairs")
    tests = sorted({metric.test for metric in comparison.metrics if metric.test})
    return Table(
        key="compare",
        title=f"A: {comparison.a}   B: {comparison.b}",
        corner="metric",
        columns=tuple(Column(label=name, kind="run") for name in names),
        rows=tuple(_metric_row(metric) for metric in comparison.metrics),
        notices=(WARNING, *comparison.warnings) if comparison.warnings else (),
        remarks=(
            "B - A with its 95 % interval, paired question by question and clustered by picture or circular group; "
            "* significant at 5 % after Holm's correction over the metrics above.",
            f"p: {', '.join(tests) or 'none'}. detectable: the true difference found with 80 % power.",
        ),
    )


def _metric_row(metric: MetricComparison) -> Row:
    notes = (f"{metric.num_left_out} samples of {metric.task} are not scored in both runs and left out",)
    difference = Cell(
        value=metric.difference, ci95=metric.ci95, signed=True, significant=metric.significant, p_value=metric.p
    )
    return Row(
        label=metric.label,
        cells=(
            Cell(value=metric.a),
            Cell(value=metric.b),
            difference,
            Cell(text=p_text(metric.p)),
            Cell(text=p_text(metric.p_holm)),
            Cell(value=metric.detectable),
            Cell(text=f"{metric.num_pairs} in {metric.num_clusters}"),
        ),
        notes=notes if metric.num_left_out else (),
    )


def p_text(p: float | None) -> str:
    return DASH if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _count_table(comparison: Comparison) -> Table:
    rows = []
    for task in dict.fromkeys(metric.task for metric in comparison.metrics):
        own = [flip for flip in comparison.flips if flip.task == task]
        better = sum(flip.b > flip.a for flip in own)
        rows.append(Row(label=task, cells=(Cell(text=str(better)), Cell(text=str(len(own) - better)))))
    return Table(
        key="flips",
        title="Questions that flipped",
        corner="task",
        columns=(Column(label="better in B", kind="run"), Column(label="worse in B", kind="run")),
        rows=tuple(rows),
    )


def _flip_table(comparison: Comparison, num_flips: int) -> list[Table]:
    """The largest changes of every task; no table where there are none to show."""
    shown: list[Flip] = []
    for task in dict.fromkeys(flip.task for flip in comparison.flips):
        own = [flip for flip in comparison.flips if flip.task == task]
        shown += sorted(own, key=lambda flip: (-abs(flip.b - flip.a), flip.b - flip.a))[:num_flips]
    if not shown:
        return []
    table = Table(
        key="flipped",
        title=f"Flipped questions, up to {num_flips} a task",
        corner="question",
        columns=tuple(
            Column(label=name, kind="run", text=True) for name in ("target", "read in A", "read in B", "worth")
        ),
        rows=tuple(_flip_row(flip) for flip in shown),
    )
    return [table]


def _flip_row(flip: Flip) -> Row:
    texts = (flip.target, flip.answer_a, flip.answer_b, f"{flip.a:g} -> {flip.b:g}")
    return Row(
        label=f"{flip.task} {flip.index}", cells=tuple(Cell(text=_cut(text)) for text in texts), section=flip.task
    )


def _cut(text: str | None, width: int = 30) -> str:
    plain = " ".join((text or DASH).split())
    return plain if len(plain) <= width else plain[: width - 1] + "…"
