"""Views of answers: counts that are there, under names that say what they count."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from reports_helpers import plan
from run_helpers import ScriptedPredictor

from aki_eval.judges import JudgeOptions
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from benchmarks.records import Prompt, Score
from benchmarks.results.folder import RunFolder, open_run
from benchmarks.tasks import TASKS
from reports import notices
from reports.links import NO_OTHER, samples_link
from reports.pages import write_site
from reports.view_plots import write_view_figures
from reports.views import AnswerView, _reliability, confusion_of, said_filter, views_of


def always(prompt: Prompt) -> str:
    return "B" if "Options:" in prompt.text else "Yes"


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("views") / "run"
    tasks = [TASKS[name] for name in ("pope", "real_world_qa", "mm_vet")]
    options = RunOptions(tasks=tasks, data="toy", out=out, judge=JudgeOptions(name="offline"))
    run(options, ScriptedPredictor(always), Progress(quiet=True))
    return open_run(out)


def by_title(found: list[AnswerView]) -> dict[str, dict[str, int]]:
    return {view.title: {bar.label: bar.count for bar in view.bars} for view in found}


def test_who_always_says_yes(answered: RunFolder) -> None:
    scores = answered.scores("pope", "kit")
    found = by_title(views_of(answered, "pope"))
    wrong = sum(score.target == "No" for score in scores)
    assert found["Said where No is right"] == {"Yes": wrong, "No": 0}
    assert found["Said where Yes is right"] == {"Yes": len(scores) - wrong, "No": 0}
    assert found["Tokens of an answer"] == {"1": len(scores)}
    assert found["How answers ended"] == {"ended by itself": len(scores), "cut at the limit": 0}
    assert "Grades of the judge" not in found


def test_who_always_says_b(answered: RunFolder) -> None:
    (letters,) = (view for view in views_of(answered, "real_world_qa") if view.title == "Letters said")
    scores = answered.scores("real_world_qa", "kit")
    bars = {bar.label: bar for bar in letters.bars}
    assert {name: bar.count for name, bar in bars.items() if bar.count} == {"B": len(scores)}
    right = sum(score.target == "B" for score in scores)
    assert bars["B"].share == 100
    assert bars["B"].beside == pytest.approx(100 * right / len(scores))


def test_grades_fall_into_bars(answered: RunFolder) -> None:
    scores = answered.scores("mm_vet", answered.results["mm_vet"].headline)
    grades = by_title(views_of(answered, "mm_vet"))["Grades of the judge"]
    assert sum(grades.values()) == sum(score.value is not None for score in scores)
    assert grades["0 to 0.1"] == sum((score.value or 0) < 0.1 for score in scores)
    assert grades["0.9 to 1"] == sum((score.value or 0) >= 0.9 for score in scores)


def test_reliability_is_read_off_the_bars() -> None:
    scores = [
        Score(
            index=str(place),
            protocol="likelihood",
            value=float(place < 3),
            cluster=str(place),
            parts={"confidence": 0.9 if place < 4 else 0.4},
        )
        for place in range(6)
    ]
    (view,) = _reliability(scores)
    assert [(bar.label, bar.count, bar.share, bar.beside) for bar in view.bars] == [
        ("0.40 to 0.47", 2, 0.0, pytest.approx(40)),
        ("0.87 to 0.93", 4, 75.0, pytest.approx(90)),
    ]


def test_figures_are_drawn(answered: RunFolder, tmp_path: Path) -> None:
    names = {path.name for path in write_view_figures([answered], tmp_path)}
    assert {f"answers_{task}.{kind}" for task in answered.results for kind in ("png", "svg", "pdf")} == names


def test_the_pages_show_them(answered: RunFolder, tmp_path: Path) -> None:
    site = write_site(plan([answered]), tmp_path / "html").parent
    page = (site / "benchmark-real_world_qa.html").read_text("utf-8")
    assert "Letters said" in page
    assert "What the answers look like" in page


def test_what_is_said_by_what_is_right(answered: RunFolder) -> None:
    scores = answered.scores("real_world_qa", "kit")
    confusion = confusion_of(answered, "real_world_qa")
    assert confusion is not None
    assert confusion.said[: len(confusion.right)] == confusion.right
    column = confusion.said.index("B")
    for right, row in zip(confusion.right, confusion.counts, strict=True):
        assert row[column] == sum(score.target == right for score in scores)
        assert sum(row) == row[column]
    assert confusion_of(answered, "pope") is None
    assert confusion_of(answered, "mm_vet") is None


def test_counts_lead_to_their_answers(answered: RunFolder, tmp_path: Path) -> None:
    site = write_site(plan([answered]), tmp_path / "html").parent
    pope = unescape((site / "benchmark-pope.html").read_text("utf-8"))
    wrong = sum(score.target == "No" for score in answered.scores("pope", "kit"))
    link = samples_link("pope", a=answered.label, b=NO_OTHER, protocol="kit", read="Yes", target="No")
    assert f'{link}">{wrong}</a>' in pope
    letters = unescape((site / "benchmark-real_world_qa.html").read_text("utf-8"))
    assert "Said, by what is right" in letters
    for right in ("A", "B"):
        number = sum(score.target == right for score in answered.scores("real_world_qa", "kit"))
        assert f'&protocol=kit&read=B&target={right}">{number}</a>' in letters
    assert "read=A&" not in letters  # nothing stands behind a nought


def test_an_unread_answer_is_found_by_its_result() -> None:
    assert said_filter("unread", "A") == {"result": "unread", "target": "A"}
    assert said_filter("B") == {"read": "B"}


def test_figures_say_as_much_beforehand_as_leaves_room(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line {number}" for number in range(6)]
    monkeypatch.setattr(notices, "notices", lambda runs: tuple(lines[: len(runs)]))
    assert notices.for_figure([None] * 4) == tuple(lines[:4])  # type: ignore[list-item]
    assert (
        notices.for_figure([None] * 6)
        == (  # type: ignore[list-item]
            *lines[:3],
            "3 more to know before any number: on top of every table.",
        )
    )
