"""Two runs give one answer: every output that says something about them says the same numbers."""

from __future__ import annotations

import csv
import json
import random
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from scored_run_helpers import score, scores, write_scored_run

from aki_eval.commands import compare as compare_command
from aki_eval.commands import gate as gate_command
from benchmarks.errors import UserError
from benchmarks.records import Score
from benchmarks.results.comparison import MetricComparison, compare
from benchmarks.results.folder import open_run, open_runs
from benchmarks.results.gate import decide
from benchmarks.results.gate_policy import Policy
from reports.cli import report
from reports.comparison_tables import p_text
from reports.tables import interval_text


def drawn(seed: int, better: float) -> dict[str, list[Score]]:
    """RealWorldQA: five more right, none less, of 200. SEED: three questions a picture. MM-Vet: grades. CV-Bench."""
    draw = random.Random(seed)
    return {
        "real_world_qa": scores([1.0] * 80 + [float(better > 0)] * 5 + [0.0] * 115),
        "seed_image": [
            score(n, float(draw.random() < 0.6 + better), cluster=str(n // 3), groups=(f"dimension/{n % 2}",))
            for n in range(120)
        ],
        "mm_vet": [score(n, min(1.0, round(draw.random() + better, 1)), groups=("ocr",)) for n in range(40)],
        "cv_bench": [
            score(f"{source}{n}", float(draw.random() < 0.5 + better), protocol="official", groups=(source,))
            for source in ("ade20k", "coco", "omni3d")
            for n in range(30)
        ],
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    judge = {"name": "gpt-x", "comparable": True}
    data = {"source": "official", "tables": {}}
    first, second = (
        write_scored_run(root / name, drawn(seed, better), judge=judge, data=data)
        for name, seed, better in (("before", 1, 0.0), ("after", 2, 0.1))
    )
    return first, second


@pytest.fixture(scope="module")
def expected(runs: tuple[Path, Path]) -> dict[str, MetricComparison]:
    """By the label of the paper's column."""
    return {metric.label: metric for metric in compare(*open_runs(runs)).columns}


@pytest.fixture(scope="module")
def written(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report in every format that goes to a folder."""
    out = tmp_path_factory.mktemp("report")
    report(list(runs), formats="md,tex,csv,json,html,model-card", out=out)
    return out


def said(metric: MetricComparison) -> dict[str, Any]:
    low, high = metric.ci95 or (None, None)
    return {
        "value": metric.difference,
        "ci95_low": low,
        "ci95_high": high,
        "p_value": metric.p,
        "p_holm": metric.p_holm,
    }


def row(text: str, label: str) -> list[str]:
    """The cells of the first line that is a row of this label and names a test."""
    lines = [
        line for line in text.replace("\\_", "_").splitlines() if re.search(rf"{label}\b.*(McNemar|clustered t)", line)
    ]
    assert lines, f"no row of {label}"
    return [cell.strip(" \\") for cell in re.split(r"[|&]|  +", lines[0]) if cell.strip()]


def assert_shows(text: str, metrics: dict[str, MetricComparison]) -> None:
    """Difference, interval, both p-values and the test of every column stand in its row."""
    for label, metric in metrics.items():
        cells = row(text, label)
        joined = " ".join(cells)
        assert metric.difference is not None
        assert metric.ci95 is not None
        plain = joined.replace("\u2212", "-").replace("$", "").replace("\\pm", "±")
        assert f"{metric.difference:+.1f}" in plain, label
        assert interval_text(metric.difference, metric.ci95, signed=True) in plain, label
        assert p_text(metric.p) in cells, label
        assert p_text(metric.p_holm) in cells, label
        assert any(str(metric.test) in cell for cell in cells), label


def test_the_pair_is_what_it_claims_to_be(expected: dict[str, MetricComparison]) -> None:
    assert expected["RealWorldQA"].p == 0.0625
    tests = {label: metric.test for label, metric in expected.items()}
    assert tests == {
        "SEED-I": "clustered t",
        "MM-Vet": "clustered t",
        "RealWorldQA": "exact McNemar",
        "CV-Bench 2D": "clustered t",
        "CV-Bench 3D": "exact McNemar",
    }


def test_compare(
    runs: tuple[Path, Path], expected: dict[str, MetricComparison], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("term", "md"):
        compare_command.command(list(runs), format=name, out=tmp_path, all_metrics=False, flips=0)
        text = capsys.readouterr().out if name == "term" else (tmp_path / "compare.md").read_text()
        assert_shows(text, expected)
    for every in (False, True):
        compare_command.command(list(runs), format="json", out=tmp_path, all_metrics=every)
        content = json.loads((tmp_path / "compare.json").read_text())
        for metric in content["metrics"][: len(expected)]:
            own = expected[metric["label"]]
            assert {name: metric[name] for name in ("difference", "p", "p_holm", "test", "significant")} == {
                name: getattr(own, name) for name in ("difference", "p", "p_holm", "test", "significant")
            }
            assert tuple(metric["ci95"]) == own.ci95


def test_gate(
    runs: tuple[Path, Path], expected: dict[str, MetricComparison], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Policy(confidence=0.95, allowed_drop={(each.task, each.metric): 2.0 for each in expected.values()})
    decision = decide(open_run(runs[1]), open_run(runs[0]), policy)
    for check in decision.checks:
        assert check.compared is not None
        own = expected[check.compared.label]
        assert (check.compared.difference, check.compared.p, check.compared.ci95) == (own.difference, own.p, own.ci95)
    file = tmp_path / "policy.toml"
    file.write_text("[allowed_drop.real_world_qa]\noverall = 2.0\n[allowed_drop.seed_image]\noverall = 2.0\n")
    gate_command.command(runs[1], baseline=runs[0], policy=file, markdown_file=tmp_path / "gate.md")
    for text in (capsys.readouterr().out, (tmp_path / "gate.md").read_text()):
        for metric in (expected["RealWorldQA"], expected["SEED-I"]):
            cells = row(text, metric.label)
            assert p_text(metric.p) in cells
            assert metric.test in cells


def test_report_for_programs(written: Path, expected: dict[str, MetricComparison]) -> None:
    """JSON and CSV: in Table 1, and in the table of differences, the same full-precision numbers as `compare`."""
    tables = {table["key"]: table for table in json.loads((written / "tables.json").read_text())["tables"]}
    in_table_1 = next(each for each in tables["table1"]["rows"] if each["label"] == "after − before")["cells"]
    by_json = [cell for cell in in_table_1 if cell["value"] is not None]
    own = [each["cells"][2] for each in tables["differences1"]["rows"]]
    with (written / "tables.csv").open() as file:
        lines = list(csv.DictReader(file))
    by_csv = [line for line in lines if line["table"] == "table1" and line["row"] == "after − before" and line["value"]]
    assert len(by_json) == len(own) == len(by_csv) == len(expected)
    for metric, *others in zip(expected.values(), by_json, own, by_csv, strict=True):
        for other in others:
            numbers = {name: None if other[name] in ("", None) else float(other[name]) for name in said(metric)}
            assert numbers == said(metric)
            assert other["test"] == metric.test


def test_report_for_people(
    written: Path, runs: tuple[Path, Path], expected: dict[str, MetricComparison], capsys: pytest.CaptureFixture[str]
) -> None:
    report(list(runs), formats="term", everything=True)
    assert_shows(capsys.readouterr().out, expected)
    assert_shows((written / "tables.md").read_text(), expected)
    assert_shows((written / "tables.tex").read_text(), expected)
    page = unescape((written / "html" / "index.html").read_text())
    rows = re.sub(r"\s+", " ", page).replace("</tr>", "</tr>\n")
    for metric in expected.values():
        assert any(
            p_text(metric.p) in line and p_text(metric.p_holm) in line and str(metric.test) in line
            for line in rows.splitlines()
        ), metric.label


def test_no_output_marks_what_compare_does_not(written: Path, expected: dict[str, MetricComparison]) -> None:
    """▲ stands beside a difference between the runs exactly where the corrected p is below 0.05."""
    tables = {table["key"]: table for table in json.loads((written / "tables.json").read_text())["tables"]}
    cells = next(each for each in tables["table1"]["rows"] if each["label"] == "after − before")["cells"]
    shown = [cell["shown"] for cell in cells if cell["value"] is not None]
    assert ["▲" in text for text in shown] == [metric.significant for metric in expected.values()]
    assert not expected["RealWorldQA"].significant


def test_model_card_gives_the_runs_own_numbers(written: Path, runs: tuple[Path, Path]) -> None:
    """A card is about one run: its values and intervals are those of metrics.json, and nothing is compared."""
    for path in runs:
        card = (written / "model-card" / path.name / "README.md").read_text()
        for task in ("real_world_qa", "seed_image", "mm_vet"):
            own = json.loads((path / task / "metrics.json").read_text())["protocols"]["kit"]["overall"]
            low, high = own["ci95"]
            assert f"95 % interval {low:.1f} to {high:.1f}" in re.sub(r"\s+", " ", card)
        assert "after − before" not in card
        assert "McNemar" not in card


def test_runs_asked_with_other_prompts_get_the_same_refusal_everywhere(runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_scored_run(
        tmp_path / "other", {"real_world_qa": drawn(1, 0.1)["real_world_qa"]}, prompts="vlmevalkit"
    )
    same = write_scored_run(tmp_path / "same", {"real_world_qa": drawn(1, 0.0)["real_world_qa"]})
    what = "real_world_qa: prompts aki and vlmevalkit"
    with pytest.raises(UserError, match=what):
        compare_command.command([same, other])
    policy = Policy(confidence=0.95, allowed_drop={("real_world_qa", "overall"): 2.0})
    with pytest.raises(UserError, match=what):
        decide(open_run(other), open_run(same), policy)
    report([same, other], formats="json,md", out=tmp_path / "out")
    tables = {table["key"]: table for table in json.loads((tmp_path / "out" / "tables.json").read_text())["tables"]}
    cells = next(each for each in tables["table1"]["rows"] if each["label"] == "other − same")["cells"]
    assert [cell["value"] for cell in cells] == [None] * 12
    assert [cell["notes"] for cell in cells if cell["notes"]] == [[f"Not compared. {what}."]]
    assert tables["differences1"]["rows"] == []
    assert f"Not compared. {what}." in tables["differences1"]["remarks"]
