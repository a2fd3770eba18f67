"""What a person sees: bars on a terminal, lines in a log, the plan before, the summary after."""

from __future__ import annotations

import io
import re
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
from benchmarks.tasks import TASKS


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
    assert re.fullmatch(r"mme 2/4, [\d.]+/s, 50% exact match; all 2/6, 0 s left, 1 failed", first)
    assert re.fullmatch(r"mme 4/4, [\d.]+/s, 75% exact match; all 4/6, 0 s left, 1 failed", second)
    assert "\x1b" not in out.getvalue()


def test_few_lines_while_nothing_much_happens() -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=200))
    with progress.predicting({"mme": 100}):
        for number in range(99):
            progress.advance("mme", [answers(str(number))])
    assert out.getvalue() == ""


@pytest.mark.parametrize("width", [80, 100, 160])
def test_one_line_for_the_task_at_work_one_for_all_and_one_for_each_that_is_done(width: int) -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=width, force_terminal=True, color_system=None, legacy_windows=False))
    with progress.predicting({"mme": 2, "seed_image": 14233, "pope": 9000}):
        progress.advance("mme", [answers("1"), fails("2")], 1)
        progress.advance("seed_image", [answers(str(number)) for number in range(1000)], 700)
    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").split("\n")
    assert max(map(len, lines)) <= width
    drawn = [line.split() for line in lines if " left" in line]
    assert [line[0] for line in drawn[-2:]] == ["seed_image", "all"]
    seed, together = drawn[-2:]
    assert ("1,000/14,233" in seed, seed[-3:]) == (True, ["70%", "exact", "match"])
    assert ("1,002/23,235" in together, together[-2:]) == (True, ["1", "failed"])
    (done,) = (line.split() for line in lines if " in " in line and line.startswith("mme"))
    assert (done[1], done[-3:]) == ("2/2", ["50%", "exact", "match"])
    assert not any(line.startswith("pope") for line in lines)


def test_the_rate_is_that_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 samples in 10 seconds, then 100 in 100: the second task's rate is 1/s, not the 1.8/s of both."""
    clock = iter([0.0, 10.0, 110.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    progress = Progress(Console(file=out, width=200))
    with progress.predicting({"mme": 100, "pope": 100, "mmmu": 200}):
        progress.advance("mme", [answers(str(number)) for number in range(100)])
        progress.advance("pope", [answers(str(number)) for number in range(100)])
    assert out.getvalue().splitlines() == [
        "mme 100/100, 10.0/s; all 100/400, 30 s left",
        "pope 100/100, 1.0/s; all 200/400, 2 min left",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(41.6, "42 s"), (100, "2 min"), (5999, "1 h 40"), (11100, "3 h 05")])
def test_times_are_readable(seconds: float, text: str) -> None:
    assert progress_module.duration(seconds) == text


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
    options: RunOptions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(prompt: Prompt) -> str:
        if prompt.index in "37":
            raise RuntimeError("broken")
        return "fine"

    results = run(options, ScriptedPredictor(answer), Progress(quiet=True)).results
    monkeypatch.setitem(TASKS, TASK.name, TASK)
    show_results(Console(width=160), options.out, results)
    assert explain_incomplete(options.out, results, allow_partial=False) == 1
    assert explain_incomplete(options.out, results, allow_partial=True) == 0
    assert "small: 2 samples failed" in capsys.readouterr().err
