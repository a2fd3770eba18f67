"""`aki-eval gate RUN --baseline RUN_OR_FILE`: GO, NO-GO or INCONCLUSIVE, for people and for CI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from benchmarks.errors import UserError
from benchmarks.files import out_file
from benchmarks.results.arms import SEEDS_NOT_INCLUDED
from benchmarks.results.baseline import open_baseline, write_baseline
from benchmarks.results.folder import open_run, told_apart
from benchmarks.results.gate import EXIT_CODES, Check, Decision, decide
from benchmarks.results.gate_policy import DEFAULT, read_policy
from benchmarks.results.pairing import WARNING
from benchmarks.tasks import TASKS, metric_label
from reports.comparison_tables import difference_cell, p_text
from reports.formats import print_tables, write
from reports.links import Links, links_between
from reports.render import markdown
from reports.tables import DASH, Cell, Column, Row, Table
from reports.task_option import TaskFiles


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run to be let through.")],
    baseline: Annotated[Path | None, typer.Option(help="Run folder, or a file of --write-baseline.")] = None,
    policy: Annotated[
        Path, typer.Option(help="TOML: allowed drops and confidence.", show_default="gate.toml (built in)")
    ] = DEFAULT,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", parser=out_file, metavar="PATH", help="For a pull request's comment.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(parser=out_file, metavar="PATH", help="JUnit XML: a test case for each metric.")
    ] = None,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="Decide although data, prompts or judge differ.")
    ] = False,
    write_to: Annotated[
        Path | None,
        typer.Option(
            "--write-baseline", parser=out_file, metavar="PATH", help="Store the run's scores as a baseline instead."
        ),
    ] = None,
    task: TaskFiles = None,
    report: Annotated[
        str | None,
        typer.Option("--links", help="Folder or address of both runs' HTML report, for the links in --markdown."),
    ] = None,
) -> int:
    """GO, NO-GO or INCONCLUSIVE against a baseline (exit code 0, 1 or 3)."""
    opened = open_run(run)
    if write_to is not None:
        write_baseline(opened, write_to)
        typer.echo(f"wrote {write_to}: {', '.join(opened.results)}")
        return 0
    if baseline is None:
        raise UserError("--baseline is missing: a run folder, or a file that --write-baseline made of one")
    other, opened = told_apart([open_baseline(baseline), opened])
    decision = decide(opened, other, read_policy(policy), allowed=allow_different)
    print_tables([decision_table(decision)])
    # A baseline's file holds scores and no answers: there is nothing to be linked to, unless somebody says where.
    linked = report is not None or baseline.is_dir()
    links = links_between((other.label, other.path), (opened.label, opened.path), report) if linked else None
    for path, text in (
        (markdown_file, markdown.render(decision_table(decision, links))),
        (junit, junit_xml(decision)),
    ):
        if path is not None:
            write(path.parent, path.name, text)
    return EXIT_CODES[decision.verdict]


def decision_table(decision: Decision, links: Links | None = None) -> Table:
    """The verdict on each metric beside it, then what it rests on. `links`: to the questions behind the differences."""
    names = ("verdict", "run - baseline", "allowed drop", "why", "baseline", "run", "between", "p", "test")
    words = ("verdict", "why", "test")
    return Table(
        key="gate",
        title=f"{decision.verdict}: {decision.run} against {decision.baseline}",
        corner="metric",
        columns=(
            *(Column(label=name, kind="run", text=name in words, wrap=name == "why") for name in names),
            *((Column(label="questions", kind="run", text=True),) if links else ()),
        ),
        rows=tuple(_row(check, links) for check in decision.checks),
        notices=(WARNING, *decision.warnings) if decision.warnings else (),
        remarks=(
            _remark(decision),
            "run - baseline with its 95 % interval; p: of no difference at all, as `aki-eval compare` gives it. The "
            "verdict does not follow from p.",
            f"Every verdict here: {SEEDS_NOT_INCLUDED}.",
            *((links.remark,) if links else ()),
        ),
    )


def _remark(decision: Decision) -> str:
    if decision.policy.decide_by == "difference":
        return "Decided by the difference itself: a frozen model, or an allowance that holds all the noise there is."
    return (
        "between: bounds of the paired difference by the named test, the lower at "
        f"{decision.policy.confidence:.0%} one-sided confidence, the upper for {len(decision.checks)} metrics."
    )


def _row(check: Check, links: Links | None) -> Row:
    compared = check.compared
    difference, *values = (
        (Cell(), Cell(), Cell(), Cell(), Cell())
        if compared is None
        else (
            replace(difference_cell(compared), p_holm=None, significant=None, notes=()),
            Cell(value=compared.a),
            Cell(value=compared.b),
            Cell(text=p_text(compared.p)),
            Cell(text=compared.test or DASH),
        )
    )
    between = Cell(text=f"{check.bounds[0]:+.2f} .. {check.bounds[1]:+.2f}") if check.bounds else Cell()
    words = (Cell(text=f"{check.allowed_drop:g}"), Cell(text=check.reason))
    cells = (Cell(text=check.verdict), difference, *words, *values[:2], between, *values[2:])
    return Row(
        label=_label(check),
        cells=(*cells, *((Cell(text="lost", link=links.filtered(check.task, "lost")),) if links else ())),
    )


def _label(check: Check) -> str:
    if check.compared is not None:
        return check.compared.label
    return metric_label(TASKS[check.task], check.metric) if check.task in TASKS else f"{check.task} {check.metric}"


def junit_xml(decision: Decision) -> str:
    """NO-GO is a failure, INCONCLUSIVE an error: neither may pass for a success."""
    count = {name: sum(check.verdict == name for check in decision.checks) for name in EXIT_CODES}
    suite = ElementTree.Element(
        "testsuite",
        name="aki-eval gate",
        tests=str(len(decision.checks)),
        failures=str(count["NO-GO"]),
        errors=str(count["INCONCLUSIVE"]),
    )
    for check in decision.checks:
        case = ElementTree.SubElement(suite, "testcase", classname=check.task, name=check.metric)
        if check.verdict != "GO":
            kind = "failure" if check.verdict == "NO-GO" else "error"
            ElementTree.SubElement(case, kind, message=f"{check.verdict}: {check.reason}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
