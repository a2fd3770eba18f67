"""Foreign text in each kind of output: no escape sequence, no markup, no formula gets through."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from reports_helpers import metric, plan, write_run
from rich.console import Console
from rich.table import Table as Grid

from benchmarks.console import PlainConsole
from benchmarks.printable import for_json, for_spreadsheet, printable
from benchmarks.results.folder import open_runs
from reports.cli import report
from reports.render import flat, latex, markdown, terminal
from reports.tables import Cell, Column, Row, Table

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\x85\u202eevil\u2066\ud800\x7f\x00"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
FORMULAS = ('=HYPERLINK("http://evil")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "  =1", "\r=1")


def table(text: str) -> Table:
    cells = (Cell(text=text, notes=(text,)), Cell(value=1.5, signed=True))
    columns = (Column(label=text, notes=(text,)), Column(label="difference", kind="difference"))
    row = Row(label=text, cells=cells, section=text, notes=(text,), kind="run")
    return Table(key="t", title=text, corner=text, columns=columns, rows=(row,), notices=(text,), remarks=(text,))


def as_terminal(shown: Table) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    terminal.show(shown, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


KINDS = {
    "term": as_terminal,
    "md": markdown.render,
    "tex": latex.render,
    "csv": lambda shown: flat.to_csv([shown]),
    "json": lambda shown: flat.to_json([shown], []),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_escape_sequence_gets_through(kind: str) -> None:
    shown = KINDS[kind](table(ESCAPES))
    assert not RAW.search(shown)
    assert "evil" in shown, "what it said is still to be read"
    shown.encode("utf-8")


def test_json_still_says_what_was_there() -> None:
    assert json.loads(for_json(json.dumps([ESCAPES], ensure_ascii=False))) == [ESCAPES]


@pytest.mark.parametrize("text", ["Größe ≥ 5 °C, 答え, é, 👍🏽, العربية", "a\u200db"])
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text == for_spreadsheet(text)


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_spreadsheet_computes_nothing(formula: str) -> None:
    lines = list(csv.DictReader(io.StringIO(flat.to_csv([table(formula)]))))
    for line in lines:
        for name, value in line.items():
            computes = value.lstrip().startswith(("=", "+", "-", "@"))
            assert not computes or re.fullmatch(r"[+-]?\d+(\.\d+)?", value), (name, value)
    assert lines[1]["shown"] == "+1.5", "numbers stay numbers"


def test_markup_in_a_name_is_text() -> None:
    console = PlainConsole(
        file=io.StringIO(), width=200, force_terminal=True, color_system="truecolor", highlight=False
    )
    grid = Grid(title="runs/[red]a[/red]")
    grid.add_column("[b]folder[/b]")
    grid.add_row("runs/[link=http://evil]x[/link] \x1b[2J")
    console.print(grid)
    console.print("runs/[bold]b[/] :smile: [/nothing]", ESCAPES)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("runs/[red]a[/red]", "[b]folder[/b]", "[link=http://evil]x[/link] \\x1b[2J", "[bold]b[/] :smile: [/n"):
        assert text in re.sub("\x1b\\[[0-9;]*m", "", shown)
    assert "\x1b[2J" not in shown
    assert "\x1b]" not in shown


def test_a_run_folders_name_cannot_speak_to_the_terminal(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "run\x1b]0;owned\x07[red]"
    run = write_run(folder, {"pope": {"f1": metric(80.0)}})
    report([run], formats="term,md,csv,json")
    said = capsys.readouterr().out
    assert not RAW.search(said)
    assert "[red]" in said


def test_two_runs_of_one_name_have_a_card_each(tmp_path: object) -> None:
    from pathlib import Path

    root = Path(str(tmp_path))
    runs = [
        write_run(root / name / "eval", {"pope": {"f1": metric(value)}}) for name, value in (("a", 80.0), ("b", 70.0))
    ]
    report(runs, formats="model-card", out=root / "out")
    cards = sorted((root / "out/model-card").glob("*/README.md"))
    assert [card.parent.name for card in cards] == ["a-eval", "b-eval"]
    assert ["80.0" in card.read_text() for card in cards] == [True, False]
    assert plan(open_runs(runs)).runs
