"""`aki-eval judge-calibrate RUN --labels FILE`: the judge against people's grades, and the score corrected by them."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.calibration import Calibration, calibrate
from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder, open_run
from benchmarks.results.jsonl import read_lines
from reports.formats import print_tables, write
from reports.render import markdown
from reports.tables import Cell, Column, Row, Table

FORMATS = ("term", "md", "json")
RANGES = {"mm_vet": (0.0, 1.0), "llava_bench": (1.0, 10.0)}
"""Of grades, by task."""


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run whose answers a judge has graded.")],
    labels: Annotated[Path, typer.Option(help="People's grades: .csv or .jsonl with index and grade.")],
    bench: Annotated[str, typer.Option(help=f"One of {', '.join(RANGES)}.")] = "mm_vet",
    format: Annotated[str, typer.Option(help=f"One of {', '.join(FORMATS)}.")] = "term",
    out: Annotated[Path | None, typer.Option(help="Folder to write md and json into. Default: print.")] = None,
) -> None:
    """Agreement with people, bias by capability, and the score by people's measure, from a few of their grades."""
    if format not in FORMATS:
        raise UserError(f"--format {format!r}: expected one of {', '.join(FORMATS)}")
    if bench not in RANGES:
        raise UserError(f"--bench {bench!r}: no judge grades its answers; expected one of {', '.join(RANGES)}")
    opened = open_run(run)
    if bench not in opened.results:
        raise UserError(f"{run} holds no scores of {bench}; it has {', '.join(opened.results)}")
    result = opened.results[bench]
    found = calibrate(opened.scores(bench, result.headline), read_labels(labels, *RANGES[bench]))
    if format == "json":
        content = {"run": opened.label, "task": bench, "judge": _judge(opened, bench), **asdict(found)}
        write(out, "judge-calibration.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        return
    table = calibration_table(found, f"{bench}: {_judge(opened, bench)} against people's grades, {opened.label}")
    if format == "term":
        print_tables([table])
    else:
        write(out, "judge-calibration.md", markdown.render(table))


def _judge(run: RunFolder, task: str) -> str:
    judge = run.results[task].judge
    return str(judge.get("name")) if judge else "no judge"


def read_labels(path: Path, lowest: float, highest: float) -> dict[str, float]:
    """People's grades by index.

    Raises:
        UserError: no such file, a line without index or grade, a grade out of range, or a sample twice.
    """
    if not path.is_file():
        raise UserError(f"--labels: no file {path}; expected .csv or .jsonl with index and grade")
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    else:
        rows = list(read_lines(path, appended=False))
    found: dict[str, float] = {}
    for number, row in enumerate(rows, 1):
        index, cell = row.get("index"), row.get("grade")
        try:
            grade = float(str(cell))
        except ValueError:
            raise UserError(f"{path}, row {number}: grade is {cell!r}, expected a number") from None
        if index is None or not lowest <= grade <= highest:
            raise UserError(
                f"{path}, row {number}: index {index!r}, grade {grade:g}; expected {lowest:g} to {highest:g}"
            )
        if str(index) in found:
            raise UserError(f"{path}, row {number}: sample {index} is graded twice; give one grade, such as the mean")
        found[str(index)] = grade
    return found


def calibration_table(found: Calibration, title: str) -> Table:
    """Grades in the benchmark's own unit."""

    def row(label: str, value: float | None, ci95: tuple[float, float] | None, count: int) -> Row:
        interval = "–" if ci95 is None else f"{ci95[0]:.3f} to {ci95[1]:.3f}"
        shown = "–" if value is None else f"{value:.3f}"
        return Row(label=label, cells=(Cell(text=shown), Cell(text=interval), Cell(text=str(count))))

    return Table(
        key="judge-calibration",
        title=title,
        corner="",
        columns=tuple(Column(label=name, kind="run") for name in ("value", "95 % interval", "answers")),
        rows=(
            row("Krippendorff's alpha", found.alpha, found.alpha_ci95, found.num_labels),
            row("mean grade, judge", found.judged, found.judged_ci95, found.num_answers),
            row("mean grade, corrected", found.corrected, found.corrected_ci95, found.num_answers),
            *(row(f"judge - people, {bias.group}", bias.value, bias.ci95, bias.num_labels) for bias in found.biases),
        ),
        remarks=(
            "Corrected by prediction-powered inference (arXiv 2301.09633; weight of the judge's grades "
            f"{found.weight:.2f}, arXiv 2311.01453). It holds where the labelled answers were drawn at random.",
        ),
    )
