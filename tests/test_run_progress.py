"""What a person sees: bars on a terminal, lines in a log, the plan before, the summary after."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from run_helpers import TASK, ScriptedPredictor, write_table

from aki_eval.run import progress as progress_module
from aki_eval.run.dry_run import show_plan
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from aki_eval.run.summary import explain_incomplete, show_results
from benchmarks.errors import UserError
from benchmarks.records import Prediction, Prompt


def fails(index: str) -> Prediction:
    return Prediction(index=index, prompt="", text=None, error="x")


def answers(index: str) -> Prediction:
    return Prediction(index=index, prompt="", text="x")


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=200))
    monkeypatch.setattr(progress_module, "PLAIN_SECONDS", 0.0)
    with progress.predicting({"mme": 4, "pope": 2}):
        progress.advance("mme", [answers("1"), fails("2")], 1)
        progress.advance("mme", [answers("3"), answers("4")], 2)
    first, second = out.getvalue().splitlines()
    assert first.startswith("mme 2/4, all 2/6, ")
    assert first.endswith("s left 50% word for word right 1 failed")
    assert second.startswith("mme 4/4, all 4/6, ")
    assert "75% word for word right" in second
    assert "\x1b" not in out.getvalue()


def test_few_lines_while_nothing_much_happens() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=200))
    with progress.predicting({"mme": 100}):
        for number in range(99):
            progress.advance("mme", [answers(str(number))])
    assert out.getvalue() == ""


def test_a_bar_for_each_task_and_for_all_on_a_terminal() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=160, force_terminal=True))
    with progress.predicting({"mme": 4, "pope": 2}):
        progress.advance("mme", [answers("1"), fails("2")], 1)
    text = out.getvalue()
    for expected in ("all", "mme", "pope", "2/4", "2/6", "0/2", "samples/s", "1 failed", "50% word for word right"):
        assert expected in text


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=True)
    with progress.predicting({"mme": 1}):
        progress.advance("mme", [answers("1")])
        progress.say("something")
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    tables = write_table(tmp_path / "tables")
    return RunOptions(tasks=[TASK], data=str(tables), out=tmp_path / "run", max_failure_rate=1.0)


def test_the_plan_counts_and_shows_a_prompt_and_touches_nothing(options: RunOptions) -> None:
    out = io.StringIO()
    predictor = ScriptedPredictor()
    show_plan(options, predictor, Console(file=out, width=160))
    assert "<user><image>Question 11?" in out.getvalue() or "<user><image>Question 10?" in out.getvalue()
    (row,) = (line.split() for line in out.getvalue().splitlines() if "small │" in line)
    assert [cell for cell in row if cell.isdigit()] == ["12", "3", "0", "12", "8"]
    assert predictor.asked == []
    assert not options.out.exists()


def test_the_plan_knows_what_is_answered_and_refuses_what_the_run_would_refuse(options: RunOptions) -> None:
    run(options, ScriptedPredictor(), Progress(quiet=True))
    out = io.StringIO()
    show_plan(options, ScriptedPredictor(), Console(file=out, width=160))
    (row,) = (line.split() for line in out.getvalue().splitlines() if "small │" in line)
    assert [cell for cell in row if cell.isdigit()] == ["12", "3", "12", "0", "8"]
    other = ScriptedPredictor()
    other.version = "2"
    with pytest.raises(UserError, match=r"model\.version"):
        show_plan(options, other, Console(file=out))


def test_what_is_missing_is_said_and_decides_the_exit_code(
    options: RunOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(prompt: Prompt) -> str:
        if prompt.index in "37":
            raise RuntimeError("broken")
        return "fine"

    results = run(options, ScriptedPredictor(answer), Progress(quiet=True)).results
    show_results(Console(width=160), options.out, results)
    assert explain_incomplete(options.out, results, allow_partial=False) == 1
    assert explain_incomplete(options.out, results, allow_partial=True) == 0
    assert "small: 2 samples failed" in capsys.readouterr().err
