"""Comparisons and gates on terminals of 80, 100 and 160 columns: no shreds, and verdicts beside their metrics."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from record_helpers import record
from reports_helpers import write_json, write_lines
from rich.cells import cell_len
from rich.console import Console
from scored_run_helpers import score, write_scored_run

from aki_eval.commands.compare import _closing, command, comparison_tables
from aki_eval.commands.gate import decision_table
from benchmarks.results.comparison import compare
from benchmarks.results.folder import RunFolder, open_runs
from benchmarks.results.gate import decide
from benchmarks.results.gate_policy import DEFAULT, read_policy
from reports.asked import asked, in_short
from reports.links import links_between
from reports.render import markdown, terminal
from reports.tables import Table

WIDTHS = (80, 100, 160)


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    """Two runs with long names on two tasks; every third question of the first is lost."""
    paths = []
    for name, step in (("a_run_with_a_rather_long_name", 1), ("another_run_with_a_long_name", 3)):
        own = [score(str(number), float(number % step == 0), answer="A", target="A") for number in range(60)]
        path = write_scored_run(tmp_path / name, {"real_world_qa": own})
        write_json(path / "run.json", record(name))
        prompts = [f"<image>Answer with a letter. What is number {number}? Options: A B" for number in range(60)]
        lines = [{"index": str(number), "prompt": text, "prediction": "A"} for number, text in enumerate(prompts)]
        write_lines(path / "real_world_qa" / "predictions.jsonl", lines)
        paths.append(path)
    return open_runs(paths)


def shown(tables: Sequence[Table], width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    for table in tables:
        terminal.show(table, console)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_verdict_stands_beside_its_metric(width: int, runs: list[RunFolder]) -> None:
    lines = shown([decision_table(decide(runs[1], runs[0], read_policy(DEFAULT)))], width)
    assert max(map(cell_len, lines)) <= width
    verdicts = {line.split()[0]: line.split()[1] for line in lines if line.startswith(("RealWorldQA", "MME-P"))}
    assert {"RealWorldQA", "MME-P"} <= set(verdicts)
    first = next(line for line in lines if line.startswith("RealWorldQA"))
    assert first.split()[1] in {"GO", "NO-GO", "INCONCLUSIVE"}


@pytest.mark.parametrize("width", WIDTHS)
def test_a_flip_has_its_question_and_its_link(width: int, runs: list[RunFolder]) -> None:
    comparison = compare(*runs)
    links = links_between(*((run.label, run.path) for run in runs), "https://example.org/report")
    tables = comparison_tables(comparison, 2, questions=lambda task: asked(runs[0], task), links=links)
    lines = shown(tables, width)
    assert max(cell_len(line) for line in lines if "http" not in line) <= width
    place = next(number for number, line in enumerate(lines) if line.startswith("lost real_world_qa 1 "))
    assert " ".join(lines[place].split()) == "lost real_world_qa 1 target A read in A A in B A worth 1 -> 0"
    assert lines[place + 1].strip() == "What is number 1? Options: A B"
    address = urlsplit(lines[place + 2].strip())
    assert (address.netloc, address.path) == ("example.org", "/report/samples.html")
    assert parse_qs(address.fragment) == {
        "task": ["real_world_qa"],
        "a": ["a_run_with_a_rather_long_name"],
        "b": ["another_run_with_a_long_name"],
        "id": ["1"],
    }


def test_no_column_of_a_table_is_a_character_wide(runs: list[RunFolder]) -> None:
    for width in WIDTHS:
        tables = [*comparison_tables(compare(*runs), 0), decision_table(decide(runs[1], runs[0], read_policy(DEFAULT)))]
        lines = shown(tables, width)
        assert not any(len(line.split()) == 1 and len(line.strip()) == 1 for line in lines)


def test_the_gates_markdown_links_to_what_was_lost(runs: list[RunFolder]) -> None:
    links = links_between(*((run.label, run.path) for run in runs), None)
    text = markdown.render(decision_table(decide(runs[1], runs[0], read_policy(DEFAULT)), links))
    row = next(line for line in text.splitlines() if line.startswith("| RealWorldQA"))
    assert "[lost](http://127.0.0.1:8765/samples.html#task=real_world_qa&a=" in row
    assert "result=lost)" in row
    assert "The links open while" in text


def test_instructions_are_no_question(tmp_path: Path, runs: list[RunFolder]) -> None:
    assert asked(runs[0], "real_world_qa")["7"] == "What is number 7? Options: A B"


@pytest.mark.parametrize("question", ["what color is the circle?", "Complete the sentence."])
def test_a_question_that_many_samples_share_is_no_instruction(question: str) -> None:
    head = "<|system|>\nA chat with an assistant.<|end|>\n<|user|>\n<image>\nAnswer with a letter. "
    prompts = {str(number): f"{head}{question}\nOptions:\nA. {number}\nB. blue square\n" for number in range(40)}
    assert in_short(prompts)["7"] == f"{question} Options: A. 7 B. blue square"


def test_the_links_are_explained_before_the_first_of_them(runs: list[RunFolder]) -> None:
    links = links_between(*((run.label, run.path) for run in runs), None)
    lines = shown(comparison_tables(compare(*runs), 2, links=links), 100)
    first = next(number for number, line in enumerate(lines) if "http://127.0.0.1" in line)
    assert any("The links open while" in line for line in lines[:first])


def test_compare_ends_with_a_verdict_and_where_the_rest_is(
    runs: list[RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    command([run.path for run in runs])
    assert capsys.readouterr().out.rstrip().splitlines()[-1] == (
        "Verdict: 1 of 1 difference lies beyond noise after Holm's correction."
    )
    comparison = compare(*runs)
    part = replace(comparison.metrics[0], metric="part", is_column=False)
    closing = _closing(replace(comparison, metrics=[*comparison.metrics, part]), all_metrics=False)
    assert closing[1] == "--all-metrics shows 1 sub-score as well."
