"""Scores of published answers: what others measured on data that nobody here made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import real_answers
from real_answers import Answered, real_folder

from benchmarks.records import Metric
from benchmarks.scoring import metrics_of, score_task, why_not_comparable
from benchmarks.tasks import TASKS


@pytest.fixture(scope="module")
def real() -> Path:
    folder = real_folder()
    if folder is None:
        pytest.skip(real_answers.MISSING)
    return folder


def metric(answered: Answered, name: str, protocol: str = "kit") -> dict[str, Any]:
    task, samples, predictions, _ = answered
    scores = score_task(task, samples, predictions, None, [protocol])
    found: dict[str, Any] = metrics_of(task, scores)["protocols"][protocol][name]
    return found


def test_mmbench_keeps_every_question(real: Path, tmp_path: Path) -> None:
    """VLMEvalKit's own evaluate() gives 67.687 on these answers, 67.7 is published."""
    found = metric(real_answers.mmbench(real, tmp_path), "overall")
    assert found["value"] == pytest.approx(100 * 796 / 1176)
    assert found["value"] == pytest.approx(67.687, abs=5e-4)
    assert (found["num_samples"], found["num_unscored"]) == (4377, 0)


def test_bard_on_mathvista_needs_an_extractor(real: Path, tmp_path: Path) -> None:
    found = metric(real_answers.mathvista(real, "bard", tmp_path), "overall")
    assert found["value"] == pytest.approx(0.4)
    assert found["num_unread"] > 900
    assert why_not_comparable(TASKS["mathvista"], "kit", Metric(**found)) is not None
    low, high = found["unread_bounds"]
    assert low <= 34.8 <= high  # where the official score lies


def test_pope_counts_its_nine_thousand_questions(real: Path, tmp_path: Path) -> None:
    """Half of each split is yes: all yes has the F1 of 2/3, and half of the questions right."""
    answered = real_answers.pope(real, tmp_path, "Yes")
    assert len(answered.samples) == 5127
    assert sum(len(sample.groups) for sample in answered.samples) == 9000
    assert metric(answered, "f1")["value"] == pytest.approx(200 / 3)
    assert metric(answered, "accuracy")["value"] == pytest.approx(50.0)


def test_mmmu_reads_every_row(real: Path, tmp_path: Path) -> None:
    """36.7 is published; the official script guesses where it cannot read."""
    answered = real_answers.mmmu(real, tmp_path)
    assert [sample.index for sample in answered.samples if sample.fault] == []
    found = metric(answered, "val")
    assert (found["num_samples"], found["num_unscored"]) == (900, 0)
    assert found["value"] == pytest.approx(36.33, abs=0.005)
