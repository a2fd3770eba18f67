"""The audit recomputes the paper's arithmetic and finds what is known to be wrong, and only that."""

from __future__ import annotations

from typing import Any

import pytest

from reports import paper
from reports.audit import audit_table, findings
from reports.audit.arithmetic import attainable
from reports.audit.gains import relative_gains
from reports.audit.pope import pope_f1


def verdicts(table: str, model: str, check: str) -> list[tuple[str, str, str]]:
    return [
        (each.printed, each.recomputed, each.verdict)
        for each in findings()
        if (each.table, each.model) == (table, model) and each.check.startswith(check)
    ]


@pytest.mark.parametrize(
    ("table", "model", "check", "expected"),
    [
        ("7", "mma", "total against", ("1363.7", "1344.9", "contradicts")),
        ("8", "mma", "total against", ("71.8", "70.3", "contradicts")),
        ("14", "mma", "total against", ("30.2", "30.1", "contradicts")),
        ("7", "cca", "total against", ("1212.7", "1212.7", "agrees")),
        ("1", "mma", "MME perception", ("1363.7", "1344.9", "contradicts")),
        ("8", "mma", "six abilities", ("70.3", "70.27", "agrees")),
        ("8", "aki_4b", "six abilities", ("73.1", "72.09", "contradicts")),
        ("9", "aki_4b", "nine dimensions", ("69.4", "67.15", "contradicts")),
        ("10", "dot", "three kinds", ("47.5", "48.99", "contradicts")),
        ("11", "cca", "Tech & Engineering", ("32", "32.86", "contradicts")),
        ("12", "baseline_it_it", "five tasks", ("24.2", "224 of 1000 = 22.4", "contradicts")),
        ("12", "aki_4b", "five tasks", ("32.1", "301 of 1000 = 30.1", "contradicts")),
        ("12", "mma", "five tasks", ("26.4", "264 of 1000 = 26.4", "agrees")),
        ("15", "dot", "2D", ("52.2", "52.15", "agrees")),
        ("2", "blip_3_4b", "MME_C equals", ("302.9", "302.9", "unlike")),
        ("2", "aki_4b", "RealWorldQA", ("58.9", "58.82 or 58.95", "unattainable")),
    ],
)
def test_known_finding(table: str, model: str, check: str, expected: tuple[str, str, str]) -> None:
    assert verdicts(table, model, check)[0] == expected


def test_mean_gain_is_over_eleven_of_twelve() -> None:
    [(printed, recomputed, verdict)] = verdicts("1", "mma", "mean gain")
    assert printed == "7.2%"
    assert recomputed == "6.53% over all 12; 7.20% over the 11 gains only"
    assert verdict == "contradicts"
    assert relative_gains(headline=True)["mme", "perception"] == pytest.approx(12.45, abs=0.01)


def test_shifted_pope_row_is_solved() -> None:
    [found] = [each for each in pope_f1() if each.verdict != "agrees"]
    assert found.model == "dot"
    assert "accuracy 84.1 or 84.2, precision 92.2 or 92.3, F1 82.5" in found.recomputed


def test_validation_and_development_splits_are_told_apart() -> None:
    assert verdicts("1", "cca", "MMMU")[0][2] == "agrees"
    assert verdicts("1", "mma", "MMMU")[0][1] == "headline possible on val and dev; Table 11 is dev"
    assert verdicts("1", "baseline_it_it", "MMMU")[0] == (
        "31.1",
        "headline possible on val; Table 11 is dev",
        "unlike",
    )


@pytest.mark.parametrize(("text", "questions", "expected"), [("66.7", 3, True), ("66.6", 3, False), ("31", 150, True)])
def test_attainable(text: str, questions: int, expected: bool) -> None:
    assert attainable(text, questions) is expected


def test_a_mended_number_is_no_longer_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is computed from the cells: with other cells it says something else."""
    original = paper.by_metric

    def mended(table: str, model: str) -> dict[Any, Any]:
        cells = dict(original(table, model))
        if (table, model) == ("1", "mma"):
            old = cells["mme", "perception"]
            cells["mme", "perception"] = paper.PaperValue(**{**vars(old), "printed": "1344.9"})
        return cells

    monkeypatch.setattr(paper, "by_metric", mended)
    assert verdicts("7", "mma", "total against")[0] == ("1344.9", "1344.9", "agrees")
    assert verdicts("1", "mma", "MME perception") == [("1344.9", "1344.9", "agrees")]


def test_table_lists_only_what_does_not_agree() -> None:
    table = audit_table()
    assert {row.cells[-1].text for row in table.rows} == {"contradicts", "unlike", "unattainable"}
    assert len(audit_table(everything=True).rows) == len(findings()) > len(table.rows)
