"""The command `aki-eval report`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.console import PlainConsole
from benchmarks.errors import UserError
from benchmarks.files import out_folder
from benchmarks.printable import printable
from benchmarks.results.folder import open_runs

from .audit import audit_table, third_version
from .formats import FORMATS, Output, print_tables, produce
from .laboratory import laboratory_tables
from .other_tables import OTHERS
from .paper_tables import (
    TITLES,
    Plan,
    all_tables,
    main_table,
    main_tables,
    other_table,
    pair_tables,
    reference_row,
    subtask_table,
)
from .picture_modes import MODES
from .sides import SidesCommand, groups_of, open_arms
from .steps import step_table
from .styles import SCREEN, STYLES
from .summary import show_summary
from .tables import Table
from .task_option import TaskFiles
from .training_log import is_training

MEANT_AS_A_PATTERN = 3
"""Folders from which on `runs/*` is more likely than a list."""


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN_DIR... [-- RUN_DIR...]",
            help="Run folders, side by side. With -- between them: each group is one recipe's training seeds. "
            "Or folders of trainings: loss, learning rate, gradient norm, held-out loss.",
        ),
    ] = None,
    formats: Annotated[str, typer.Option("--format", help=f"Comma-separated: {', '.join(FORMATS)}.")] = "term",
    out: Annotated[
        Path | None, typer.Option(parser=out_folder, metavar="PATH", help="Folder to write files into. Default: print.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="Run to compare the others with. Default: the first.")] = None,
    reference: Annotated[str, typer.Option(help="The paper's row that runs are compared with.")] = "aki_4b",
    pictures: Annotated[
        str, typer.Option(help=f"In the HTML report: {', '.join(MODES)}. Thumbnails are WebP, at most 384 pixels.")
    ] = "thumbnails",
    push: Annotated[str | None, typer.Option(help="Hub repository to propose the model card's results to.")] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Recompute the paper's arithmetic: what contradicts.")] = False,
    style: Annotated[str, typer.Option(help=f"Of LaTeX tables and figures: {', '.join(STYLES)}.")] = SCREEN.name,
    task: TaskFiles = None,
    everything: Annotated[bool, typer.Option("--all", help="On the terminal every table, not one screen.")] = False,
    numbers: Annotated[
        str | None,
        typer.Option("--table", metavar="N[,N]", help="Only these of the paper's tables, such as 7 or 1,15."),
    ] = None,
) -> None:
    """The runs' numbers beside the paper's: one screen, or every table in the formats asked for."""
    wanted = parse_formats(formats)
    if runs and all(map(is_training, runs)):
        from .training_report import report_trainings

        report_trainings(runs, wanted, Output(out))
        return
    plan = make_plan(runs or [], baseline, reference)
    chosen = parse_tables(numbers)
    tables = choose_tables(plan, chosen) if plan.runs or not audit or chosen else []
    if audit:
        tables += [audit_table(), third_version()]
    if push is not None and "model-card" not in wanted:
        raise UserError("--push publishes a model card: add model-card to --format")
    if style not in STYLES:
        raise UserError(f"--style {style!r}: expected one of {', '.join(STYLES)}")
    mode = next((each for each in MODES if each == pictures), None)
    if mode is None:
        raise UserError(f"--pictures {pictures!r}: expected one of {', '.join(MODES)}")
    one_screen = not (everything or chosen or audit)
    for name in wanted:
        if name == "term" and one_screen and plan.grouped:
            print_tables(
                [*(t for t in main_tables(plan) if t.key != "table2"), *pair_tables(plan), *laboratory_tables(plan)]
            )
        elif name == "term" and one_screen and (by_step := step_table(plan)):
            print_tables([by_step])
        elif name == "term" and one_screen:
            show_summary(PlainConsole(), plan)
        else:
            produce(name, tables, plan, Output(out, mode, push, STYLES[style]))


report.command_class = SidesCommand  # type: ignore[attr-defined]


def make_plan(paths: Sequence[Path], baseline: Path | None, reference: str) -> Plan:
    """Opens the runs; a baseline that is not among them comes first.

    Raises:
        UserError: a folder that is no run, or a reference that is no row of the paper.
    """
    reference_row(reference)
    groups = groups_of(paths)
    if len(groups) > 1:
        return _grouped(groups, baseline, reference)
    paths = _run_folders(paths)
    known = {path.resolve(): place for place, path in enumerate(paths)}
    if baseline is not None and baseline.resolve() not in known:
        paths, known = [baseline, *paths], {baseline.resolve(): 0}
    runs = tuple(open_runs(paths))
    return Plan(runs, runs[known[baseline.resolve()]] if baseline else None, reference)


def _run_folders(paths: Sequence[Path]) -> Sequence[Path]:
    """Of `runs/*`, what is a run; the rest is named. One or two folders are meant as they are given."""
    found = [path for path in paths if (path / "run.json").is_file()]
    if len(paths) < MEANT_AS_A_PATTERN or not found or len(found) == len(paths):
        return paths
    others = ", ".join(printable(str(path)) for path in paths if path not in found)
    typer.echo(f"aki-eval: left out, no run folders: {others}", err=True)
    return found


def _grouped(groups: Sequence[Sequence[Path]], baseline: Path | None, reference: str) -> Plan:
    """Arms side by side; the baseline is one of their runs, and stands for its arm."""
    arms = tuple(open_arms(groups))
    runs = tuple(run for arm in arms for run in arm.runs)
    own = None
    if baseline is not None:
        own = next((run for run in runs if run.path.resolve() == baseline.resolve()), None)
        if own is None:
            raise UserError(f"--baseline {baseline} is in none of the groups: name a run of the arm to compare with")
    return Plan(runs, own, reference, arms)


def parse_tables(text: str | None) -> list[str]:
    """Numbers of the paper's tables out of a comma-separated list; none of None.

    Raises:
        UserError: the paper has no such table, or it is none of results.
    """
    names = [name.strip().removeprefix("table") for name in (text or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in (*TITLES, OTHERS)]
    if unknown or (text is not None and not names):
        raise UserError(f"--table {text!r}: expected some of {', '.join(TITLES)}, {OTHERS}, separated by commas")
    return names


def choose_tables(plan: Plan, numbers: Sequence[str]) -> list[Table]:
    """All tables, or those of the given numbers."""
    if not numbers:
        by_step = step_table(plan)
        return [*([by_step] if by_step else []), *all_tables(plan), *laboratory_tables(plan)]
    return [_table(number, plan) for number in numbers]


def _table(number: str, plan: Plan) -> Table:
    if number == OTHERS:
        return other_table(plan)
    return main_table(number, plan) if number in {"1", "2"} else subtask_table(number, plan)


def parse_formats(text: str, known: Collection[str] = FORMATS) -> list[str]:
    """Names of formats out of a comma-separated list.

    Raises:
        UserError: a name that is no format.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = unknown[0] if unknown else text
        raise UserError(f"--format {found!r} is no format; choose from {', '.join(known)}")
    return names
