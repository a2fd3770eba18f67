"""The paper's numbers as data, and the tables that set runs beside them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from record_helpers import record
from reports_helpers import all_metrics, edit_json, metric, plan, write_json, write_run
from rich.console import Console

from benchmarks.errors import UserError
from benchmarks.results.folder import open_run, open_runs
from benchmarks.tasks import COLUMNS
from reports import paper
from reports.cli import parse_formats, report
from reports.paper_tables import all_tables, main_table, subtask_table
from reports.render import markdown, terminal
from reports.tables import LETTERS, Cell, Column, Row, Table, _letter


def row(table: Table, label: str) -> tuple[Cell, ...]:
    return next(row.cells for row in table.rows if row.label == label)


def column(table: Table, label: str) -> dict[str, Cell]:
    place = [column.label for column in table.columns].index(label)
    return {row.label: row.cells[place] for row in table.rows}


# The paper as data.


def test_twelve_columns_are_the_benchmarks_columns() -> None:
    ours = [(entry.task, entry.metric) for entry in paper.entries("main")]
    assert ours == [(column.task, column.metric) for column in COLUMNS]


NUM_CELLS = {"1": 96, "2": 132, "7": 80, "8": 35, "9": 50, "10": 20, "11": 185, "12": 65, "13": 80, "14": 35, "15": 25}


@pytest.mark.parametrize(("number", "num_cells"), NUM_CELLS.items())
def test_every_printed_cell_is_there_once(number: str, num_cells: int) -> None:
    cells = paper.values(number)
    assert len(cells) == num_cells
    assert len({(cell.model, cell.task, cell.metric) for cell in cells}) == num_cells
    assert all(cell.table == number and cell.version == "v1" for cell in cells)


def test_values_differ_from_print_only_where_disputed() -> None:
    changed = {
        (cell.table, cell.model, cell.task, cell.metric): (cell.printed, cell.value)
        for number in paper.NUMBERS
        for cell in paper.values(number)
        if cell.value is not None and float(cell.printed) != cell.value
    }
    assert changed[("1", "mma", "mme", "perception")] == ("1363.7", 1344.9)
    assert changed[("1", "mma", "mmbench", "overall")] == ("71.8", 70.3)
    assert changed[("8", "aki_4b", "mmbench", "category/RR")] == ("0.65", 65.0)
    assert changed[("13", "dot", "pope", "popular/accuracy")] == ("82.5", 84.1)
    disputed = {
        (cell.table, cell.model, cell.task, cell.metric)
        for number in paper.NUMBERS
        for cell in paper.values(number)
        if cell.note
    }
    assert set(changed) <= disputed
    assert len(changed) == 11


def test_third_version_is_kept_apart() -> None:
    assert {cell.version for cell in paper.listing_v3()} == {"v3"}
    assert {cell.dispute for cell in paper.listing_v3()} == {"unverified"}


# Tables.


def test_main_table_sets_runs_beside_the_paper(tmp_path: Path) -> None:
    table = main_table("1", plan(open_runs([write_run(tmp_path / "mine")])))
    labels = [each.label for each in table.rows]
    assert labels[0] == "(I&T)PT + (I&T)SFT"
    gain = "MMA (Ours) over CCA [44], relative"
    assert labels[7:] == ["MMA (Ours)", gain, "AKI-4B (Ours)", "mine", "mine − AKI-4B (Ours)"]
    assert row(table, "AKI-4B (Ours)")[0].value == 1491.9
    mine = row(table, "mine")
    assert [cell.value for cell in mine] == [50.0] * 12
    assert mine[0].interval == "±2.0"
    assert mine[0].num_scored == 100


def test_peers_stand_in_the_papers_groups() -> None:
    table = main_table("2", plan([]))
    sections = list(dict.fromkeys(each.section for each in table.rows))
    assert sections == [
        "3B model comparisons / Proprietary",
        "3B model comparisons / Open-source",
        "7B model comparisons",
    ]
    assert row(table, "VILA-1.5-3B [24]")[2].number == "62.4*"
    assert row(table, "MM1-3B† [34]")[9].number == "-"


@pytest.mark.parametrize("number", ["7", "9", "11", "12"])
def test_tables_across_keep_the_papers_rows(number: str, tmp_path: Path) -> None:
    table = subtask_table(number, plan(open_runs([write_run(tmp_path / "mine")])))
    assert [each.label for each in table.rows] == [entry.label for entry in paper.entries(number)]
    assert [each.label for each in table.columns][:5] == [each.label for each in paper.models("appendix")]


def test_mmmu_splits_stay_apart(tmp_path: Path) -> None:
    metrics = all_metrics()
    metrics["mmmu"] = {"val": metric(30.0), "dev": metric(40.0), "val/Art & Design": metric(31.0)}
    table = subtask_table("11", plan(open_runs([write_run(tmp_path / "mine", metrics)])))
    assert column(table, "mine (val)")["Overall"].value == 30.0
    assert column(table, "mine (dev)")["Overall"].value == 40.0
    assert column(table, "mine (val)")["Art & Design"].value == 31.0
    assert column(table, "mine (dev)")["Art & Design"].value is None
    assert row(main_table("1", plan(open_runs([tmp_path / "mine"]))), "mine")[5].value == 30.0


def test_pope_has_a_row_for_each_model_and_split(tmp_path: Path) -> None:
    table = subtask_table("13", plan(open_runs([write_run(tmp_path / "mine")])))
    assert [each.label for each in table.columns] == ["Split", "Accuracy", "Precision", "Recall", "Overall"]
    assert len(table.rows) == 4 * 7
    assert [cell.text for cell in [each.cells[0] for each in table.rows[:4]]] == [
        "Popular",
        "Adversarial",
        "Random",
        "Overall",
    ]


def test_other_protocols_stand_beside_the_headline(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    same, other = {"2d": metric(50.0)}, {"2d": metric(61.0), "3d": metric(62.0)}
    protocols = {"official": all_metrics()["cv_bench"], "cambrian": other, "kit": {**all_metrics()["cv_bench"], **same}}
    edit_json(run / "cv_bench" / "metrics.json", protocols=protocols)
    labels = [each.label for each in subtask_table("15", plan(open_runs([run]))).rows]
    assert labels[-3:] == ["mine", "mine · cambrian", "mine − AKI-4B"]


def test_other_readings_stand_below_the_run_in_the_main_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine", {"pope": {"f1": metric(80.0)}, "mm_vet": {"overall": metric(40.0)}})
    protocols = {"kit": {"f1": metric(80.0)}, "strict": {"f1": metric(81.0)}}
    edit_json(run / "pope" / "metrics.json", protocols=protocols)
    table = main_table("1", plan(open_runs([run])))
    assert [each.label for each in table.rows][-3:-1] == ["mine", "mine · strict"]
    strict = row(table, "mine · strict")
    assert strict[7].number == "81.0"
    assert "Protocol strict" in strict[7].notes[0]
    assert {cell.number for place, cell in enumerate(strict) if place != 7} == {""}


def test_both_splits_of_mmmu_show_other_readings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine", {"mmmu": {"val": metric(30.0), "dev": metric(40.0)}})
    strict = {"val": metric(31.0), "dev": metric(40.0)}
    edit_json(
        run / "mmmu" / "metrics.json", protocols={"kit": {"val": metric(30.0), "dev": metric(40.0)}, "strict": strict}
    )
    labels = [each.label for each in subtask_table("11", plan(open_runs([run]))).columns]
    assert labels[5:] == ["mine (val)", "mine (val) · strict", "mine (dev)", "mine − AKI-4B"]


def test_notes_become_letters_in_reading_order(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "mine",
        judge={"name": "offline", "comparable": False},
        subset={"size": 8, "name": None, "seed": 2503},
    )
    table = main_table("2", plan(open_runs([run])))
    assert list(table.footnotes.values())[:3] == ["a", "b", "c"]
    assert "Judged by offline: not comparable to GPT-4." in table.footnotes
    assert "Subset: size 8, seed 2503." in table.footnotes
    mine = row(table, "mine")[4]
    assert table.marks(mine.notes) == ",".join(table.footnotes[note] for note in mine.notes)


def test_unscored_samples_are_said(tmp_path: Path) -> None:
    metrics = {"mm_vet": {"overall": metric(None, num=218, unscored=218)}, "pope": {"f1": metric(80.0, unscored=3)}}
    table = main_table("1", plan(open_runs([write_run(tmp_path / "mine", metrics)])))
    mine = row(table, "mine")
    assert mine[8].number == "–"
    assert mine[8].notes == ("218 of 218 samples are unscored: left out, not counted as wrong.",)
    assert mine[7].number == "80.0"
    assert mine[7].notes == ("3 of 100 samples are unscored: left out, not counted as wrong.",)
    assert mine[0].number == "–"


def test_toy_numbers_carry_a_warning(tmp_path: Path) -> None:
    tables = all_tables(plan(open_runs([write_run(tmp_path / "demo", source="toy")])))
    assert len(tables) == 11
    assert all("not comparable with the paper" in table.notices[0] for table in tables)


def test_local_tables_are_marked(tmp_path: Path) -> None:
    table = main_table("1", plan(open_runs([write_run(tmp_path / "mine", source="/somewhere")])))
    assert "Measured on local tables, which may differ from the official ones." in row(table, "mine")[0].notes


# Renderers.


def test_markdown_shows_value_interval_count_and_marks(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a_b|c", judge={"name": "offline", "comparable": False})
    text = markdown.render(main_table("1", plan(open_runs([run]))))
    line = next(line for line in text.splitlines() if "a\\_b" in line)
    assert line.startswith("| **a\\_b\\|c** | 50.0 ±2.0 (n 100)<sup>")
    assert "MME<sub>P</sub>" in text
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {14}


def test_terminal_shows_every_table(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=180)
    for table in all_tables(plan(open_runs([write_run(tmp_path / "mine")]))):
        terminal.show(table, console)
    text = stream.getvalue()
    assert "Table 15." in text
    assert "AKI-4B" in text
    assert "±2.0" in text


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_narrow_terminals_get_the_table_in_parts(width: int, tmp_path: Path) -> None:
    stream = io.StringIO()
    terminal.show(main_table("2", plan(open_runs([write_run(tmp_path / "mine")]))), Console(file=stream, width=width))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    honeybee = [line for line in lines if line.startswith("Honeybee-C-7B")]
    assert (len(honeybee) == 1) == (width == 200)
    numbers = [word for line in honeybee for word in line.split()[2:]]
    assert numbers == ["1584.2", "307.1", "70.1", "64.5", "67.1", "35.3", "-", "83.2", "34.9", "-", "-", "-"]


def test_report_writes_files_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "mine")
    report([run], formats="term,md", out=tmp_path / "out")
    assert "next: aki-eval view" in capsys.readouterr().out
    first = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    report([run], formats="md", out=tmp_path / "out")
    assert (tmp_path / "out" / "tables.md").read_text(encoding="utf-8") == first


# What is refused.


def test_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="'docx' is no format; choose from term"):
        parse_formats("md,docx")


def test_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run folder: it has no run\.json"):
        open_run(tmp_path)


def test_run_without_scores_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", record())
    with pytest.raises(UserError, match="aki-eval score"):
        open_run(tmp_path)


def test_other_format_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    edit_json(run / "run.json", format=99)
    with pytest.raises(UserError, match="format 99, this version reads up to 2"):
        open_run(run)


def test_damaged_metrics_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    edit_json(run / "pope" / "metrics.json", protocols={"kit": {"f1": {"value": 1.0}}})
    with pytest.raises(UserError, match="ci95 is missing"):
        open_run(run)
    for value in (float("nan"), "80.0", [80.0]):
        edit_json(run / "pope" / "metrics.json", protocols={"kit": {"f1": {**metric(1.0), "value": value}}})
        with pytest.raises(UserError, match=re.escape(f"value is {value!r}")):
            open_run(run)
    edit_json(run / "pope" / "metrics.json", task="mme")
    with pytest.raises(UserError, match="is about 'mme', expected 'pope'"):
        open_run(run)


def test_same_folder_twice_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    with pytest.raises(UserError, match="same run folder"):
        open_runs([run, tmp_path / "." / "mine"])


def test_damaged_score_line_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    good = '{"index": "1", "protocol": "kit", "value": 1.0, "cluster": "1", "later_field": 3}\n'
    (run / "mme" / "scores.jsonl").write_text(good + '{"index": "2"', encoding="utf-8")
    with pytest.raises(UserError, match="line 2, is damaged"):
        open_run(run).scores("mme")


def test_prediction_cut_short_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    whole = '{"index": "1", "prompt": "p", "prediction": "yes"}\n'
    (run / "mme" / "predictions.jsonl").write_text(whole + '{"ind', encoding="utf-8")
    (run / "mme" / "predictions.rank1.jsonl").write_text(whole.replace("1", "2"), encoding="utf-8")
    error = '{"index": "1", "prompt": "p", "prediction": null, "error": "out of memory"}\n'
    (run / "mme" / "predictions.rank2.jsonl").write_text(error, encoding="utf-8")
    predictions = open_run(run).predictions("mme")
    assert {index: each.text for index, each in predictions.items()} == {"1": "yes", "2": "yes"}


def test_tasks_that_were_not_run_are_named_once(tmp_path: Path) -> None:
    runs = plan(open_runs([write_run(tmp_path / "mine", {"pope": {"f1": metric(80.0)}})]))
    remark = "mine: nothing measured on mme, mmbench, seed_image, llava_bench"
    assert main_table("1", runs).remarks[0].startswith(remark)
    assert not any("nothing measured" in line for line in subtask_table("13", runs).remarks)


def test_answered_but_unscored_task_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine")
    (run / "mme" / "metrics.json").unlink()
    opened = open_run(run)
    assert opened.unscored == ("mme",)
    assert "mme answered but not scored" in main_table("1", plan([opened])).notices[0]


@pytest.mark.parametrize(
    ("value", "bounds", "shown"),
    [
        (50.0, (48.0, 52.0), "±2.0"),
        (50.0, (48.0, 51.91), "±2.0"),  # sides of 2.0 and 1.91 differ by less than 5 %
        (50.0, (48.0, 51.89), "(48.0 to 51.9)"),
        (100.0, (53.8, 100.0), "(53.8 to 100.0)"),
        (0.0, (0.0, 0.0), "±0.0"),
    ],
)
def test_an_interval_that_is_not_even_shows_its_bounds_in_every_format(
    value: float, bounds: tuple[float, float], shown: str
) -> None:
    cell = Cell(value=value, ci95=bounds)
    assert cell.interval == shown
    column = Column(label="x", kind="run")
    table = Table(key="k", title="t", corner="c", columns=(column,), rows=(Row(label="r", cells=(cell,)),))
    assert f"{cell.number} {shown}" in markdown.render(table)
    assert Cell(value=1.0, ci95=(-0.2, 3.0), signed=True).interval == "(-0.2 to +3.0)"


def test_there_are_letters_for_as_many_notes_as_there_are() -> None:
    """A table of 80 runs has over 600: one letter, two, three."""
    number = len(LETTERS)
    found = [_letter(position) for position in range(number + number**2 + 5)]
    assert len(set(found)) == len(found)
    assert (found[0], found[number], found[number + 1]) == ("a", "aa", "ab")
    assert found[number + number**2 - 1] == "zz"
    assert found[number + number**2 :] == ["aaa", "aab", "aac", "aad", "aae"]
