"""`aki-eval gate RUN --baseline RUN_OR_FILE`: GO, NO-GO or INCONCLUSIVE, for people and for CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from benchmarks.errors import UserError
from benchmarks.results.folder import open_run
from reports.formats import print_tables, write
from reports.render import markdown
from reports.tables import Cell, Column, Row, Table

from .baseline import open_baseline, write_baseline
from .gate_policy import DEFAULT, read_policy
from .gating import EXIT_CODES, Decision, decide
from .pairing import WARNING


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run to be let through.")],
    baseline: Annotated[Path | None, typer.Option(help="Run folder, or a file of --write-baseline.")] = None,
    policy: Annotated[
        Path, typer.Option(help="TOML: allowed drops and confidence.", show_default="gate.toml (built in)")
    ] = DEFAULT,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="For a pull request's comment.")] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML: a test case for each metric.")] = None,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="Decide although data, prompts or judge differ.")
    ] = False,
    write_to: Annotated[
        Path | None, typer.Option("--write-baseline", help="Store the run's scores as a baseline instead.")
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
    decision = decide(opened, open_baseline(baseline), read_policy(policy), allowed=allow_different)
    table = decision_table(decision)
    print_tables([table])
    for path, text in ((markdown_file, markdown.render(table)), (junit, junit_xml(decision))):
        if path is not None:
            write(path.parent, path.name, text)
    return EXIT_CODES[decision.verdict]


def decision_table(decision: Decision) -> Table:
    names = ("baseline", "run", "run - baseline", "between", "allowed drop")
    columns = tuple(Column(label=name, kind="run") for name in names)
    return Table(
        key="gate",
        title=f"{decision.verdict}: {decision.run} against {decision.baseline}",
        corner="metric",
        columns=(*columns, Column(label="verdict", kind="run", text=True), Column(label="why", kind="run", text=True)),
        rows=tuple(
            Row(
                label=f"{check.task} {check.metric}",
                cells=(
                    Cell(value=check.baseline),
                    Cell(value=check.run),
                    Cell(value=check.difference, signed=True),
                    Cell(text=f"{check.bounds[0]:+.2f} .. {check.bounds[1]:+.2f}") if check.bounds else Cell(),
                    Cell(text=f"{check.allowed_drop:g}"),
                    Cell(text=check.verdict),
                    Cell(text=check.reason),
                ),
            )
            for check in decision.checks
        ),
        notices=(WARNING, *decision.warnings) if decision.warnings else (),
        remarks=(_remark(decision),),
    )


def _remark(decision: Decision) -> str:
    if decision.policy.decide_by == "difference":
        return "Decided by the difference itself: a frozen model, or an allowance that holds all the noise there is."
    return (
        f"Bounds of the paired, clustered difference: the lower at {decision.policy.confidence:.0%} one-sided "
        f"confidence, the upper corrected for {len(decision.checks)} metrics."
    )


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
