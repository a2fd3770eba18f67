"""A run: what it writes, resumes, refuses, and survives."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from forked import forking
from run_helpers import TASK, ScriptedPredictor, write_table
from run_worker import work

from aki_eval.run.loop import TooManyFailures
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, RunResult, run
from aki_eval.run.subset import Subset
from aki_eval.run.summary import explain_incomplete
from benchmarks.errors import UserError
from benchmarks.records import Prompt
from benchmarks.results.store import RunStore
from benchmarks.task import DataTable

KILLS = 8


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    return write_table(tmp_path / "tables")


def go(tables: Path, predictor: ScriptedPredictor | None = None, **options: Any) -> RunResult:
    given: dict[str, Any] = {
        "tasks": [TASK],
        "data": str(tables),
        "out": tables.parent / "run",
        "batch_size": 4,
    } | options
    return run(RunOptions(**given), predictor or ScriptedPredictor(), Progress(quiet=True))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_run_leaves_predictions_scores_metrics_and_what_made_them(tables: Path) -> None:
    go(tables)
    out = tables.parent / "run"
    scores = [json.loads(line) for line in (out / "small/scores.jsonl").read_text().splitlines()]
    metrics, made_by = read(out / "small/metrics.json"), read(out / "run.json")
    assert [score["value"] for score in scores] == [1.0] * 12
    assert metrics["protocols"]["kit"]["overall"]["value"] == 100.0
    assert metrics["complete"] is True
    assert metrics["data"]["tables"] == made_by["data"]["tables"]
    assert made_by["data"]["tables"]["SMALL"]["num_rows"] == 12
    assert made_by["mask_self_test"] == {"passed": True}
    assert made_by["tasks"]["small"]["max_new_tokens"] == 8
    assert made_by["sessions"][0]["num_predicted"] == {"small": 12}
    assert made_by["sessions"][0]["finished"] is not None
    assert "python" in made_by["versions"]


def test_a_second_run_asks_nothing_and_says_so(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(tables)
    before = (tables.parent / "run/run.json").read_text()
    predictor = ScriptedPredictor()
    options = RunOptions(tasks=[TASK], data=str(tables), out=tables.parent / "run")
    result = run(options, predictor, Progress())
    assert predictor.asked == []
    assert result.num_predicted == 0
    assert "nothing to predict" in capsys.readouterr().err
    assert read(tables.parent / "run/run.json")["sessions"] == json.loads(before)["sessions"]


def test_only_what_failed_or_is_missing_is_asked_again(tables: Path) -> None:
    def answer(prompt: Prompt) -> str:
        if prompt.index == "3":
            raise RuntimeError("broken")
        return f"answer to {prompt.index}"

    result = go(tables, ScriptedPredictor(answer), max_failure_rate=0.5).results[0]
    assert (result.complete, result.num_errors, result.num_missing) == (False, 1, 0)
    assert result.metrics["protocols"]["kit"]["overall"]["num_unscored"] == 1
    again = ScriptedPredictor()
    assert go(tables, again).results[0].complete
    assert again.asked == ["3"]


def test_no_failure_text_is_ever_scored(tables: Path) -> None:
    def answer(prompt: Prompt) -> str:
        raise RuntimeError(f"answer to {prompt.index}")  # the right answer, said by an error

    metric = go(tables, ScriptedPredictor(answer)).results[0].metrics["protocols"]["kit"]["overall"]
    assert (metric["value"], metric["num_scored"]) == (None, 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompts": "vlmevalkit"}, "prompts was 'aki' and would now be 'vlmevalkit'"),
        ({"subset": Subset(size=6)}, "subset was none and would now be size 6"),
        ({"max_new_tokens": 9}, r"tasks.small.max_new_tokens was 8 and would now be 9"),
    ],
)
def test_another_specification_is_refused_by_its_first_difference(
    tables: Path, change: dict[str, Any], field: str
) -> None:
    go(tables)
    predictor = ScriptedPredictor()
    with pytest.raises(UserError, match=field):
        go(tables, predictor, **change)
    assert predictor.asked == []
    go(tables, predictor, fresh=True, **change)
    assert predictor.asked


def test_another_model_and_other_tables_are_refused(tables: Path) -> None:
    go(tables)
    other = ScriptedPredictor()
    other.version = "2"
    with pytest.raises(UserError, match=r"model\.version was '1' and would now be '2'"):
        go(tables, other)
    write_table(tables, rows=13)
    with pytest.raises(UserError, match=r"data\.tables\.SMALL\.sha256"):
        go(tables)


def test_a_copied_folder_without_its_hidden_files_goes_on(tables: Path) -> None:
    go(tables)
    shutil.rmtree(tables.parent / "run/.workers")
    assert go(tables).num_predicted == 0


def test_predictions_of_nobody_knows_what_are_not_taken_up(tables: Path) -> None:
    go(tables)
    (tables.parent / "run/run.json").unlink()
    with pytest.raises(UserError, match="is an answer of another run"):
        go(tables)


def test_ctrl_c_that_a_library_swallows_still_ends_the_run_after_this_batch(tables: Path) -> None:
    def answer(prompt: Prompt) -> str:
        if len(predictor.batches) == 2:
            with suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
        return f"answer to {prompt.index}"

    predictor = ScriptedPredictor(answer)
    with pytest.raises(KeyboardInterrupt):
        go(tables, predictor)
    assert len(RunStore(tables.parent / "run").predictions("small")) == 8


def test_tasks_are_added_to_a_run(tables: Path) -> None:
    go(tables)
    other = replace(TASK, name="other")
    assert go(tables, tasks=[other]).num_predicted == 12
    assert go(tables, tasks=[TASK, other]).num_predicted == 0
    assert set(read(tables.parent / "run/run.json")["tasks"]) == {"small", "other"}


def test_a_task_without_tables_takes_no_other_with_it(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = replace(TASK, name="elsewhere", tables=(DataTable(name="Elsewhere", md5="", num_rows=1),))
    result = go(tables, tasks=[TASK, elsewhere])
    assert [outcome.task.name for outcome in result.results] == ["small"]
    assert result.left_out == {"elsewhere": f"no table Elsewhere in {tables}"}
    assert list(read(tables.parent / "run/run.json")["tasks"]) == ["small"]
    assert explain_incomplete(tables, result.results, False, left_out=result.left_out) == 1
    assert f"aki-eval: elsewhere: not run: no table Elsewhere in {tables}" in capsys.readouterr().err
    assert explain_incomplete(tables, result.results, True, left_out=result.left_out) == 0
    with pytest.raises(UserError, match="table Elsewhere not found"):
        go(tables, tasks=[elsewhere], out=tables.parent / "other")


def test_too_many_failures_stop_the_run_and_what_was_answered_stays(tables: Path) -> None:
    write_table(tables, rows=90)

    def answer(prompt: Prompt) -> str:
        if len(predictor.batches) > 5:
            raise RuntimeError("device-side assert")
        return f"answer to {prompt.index}"

    predictor = ScriptedPredictor(answer)
    with pytest.raises(TooManyFailures, match="device-side assert"):
        go(tables, predictor)
    found = RunStore(tables.parent / "run").predictions("small")
    assert sum(prediction.error is None for prediction in found.values()) == 20
    assert len(found) < 90
    again = ScriptedPredictor()
    assert go(tables, again).results[0].complete
    assert len(again.asked) == 70


def test_a_renamed_folder_is_the_same_model(tables: Path) -> None:
    go(tables)
    renamed = ScriptedPredictor()
    renamed.name = "another name"
    assert go(tables, renamed).num_predicted == 0


def test_a_subset_is_asked_and_named(tables: Path) -> None:
    predictor = ScriptedPredictor()
    metrics = go(tables, predictor, subset=Subset(size=4)).results[0].metrics
    assert len(predictor.asked) == 4  # one picture in three: four questions
    assert metrics["subset"]["size"] == 4
    assert metrics["complete"] is True


def test_answers_that_differ_in_batches_are_a_failure_on_record(tables: Path) -> None:
    predictor = ScriptedPredictor(lambda prompt: f"one of {len(predictor.batches[-1])}")
    with pytest.raises(UserError, match=r"--check-batching: 6 of 6 .* first small"):
        go(tables, predictor, check_batching=6)
    record = read(tables.parent / "run/run.json")["check_batching"]
    assert record["batch_size"] == 4
    assert record["differing"][0]["alone"] == "one of 1"


def test_answers_that_agree_are_on_record_too(tables: Path) -> None:
    go(tables, check_batching=6)
    assert read(tables.parent / "run/run.json")["check_batching"] == {
        "batch_size": 4,
        "num_samples": 6,
        "differing": [],
    }


def test_a_failed_mask_self_test_ends_the_run_before_the_first_answer(tables: Path) -> None:
    class Causal(ScriptedPredictor):
        def self_test(self) -> dict[str, Any]:
            return {
                "passed": False,
                "attention": "mma",
                "backend": "sdpa",
                "image_rows": [2, 5],
                "question_reaches_image": 0.0,
                "question_reaches_earlier_text": 0.0,
                "later_latents_reach_earlier": 0.0,
                "rows_unlike_causal": None,
                "noise": 1e-6,
            }

    predictor = Causal()
    with pytest.raises(UserError) as refused:
        go(tables, predictor)
    assert str(refused.value) == (
        "the attention mask of scripted does not do what its configuration says (mma, sdpa): question_reaches_image: "
        "declared yes, measured a change of 0 where nothing is 1e-06; first row unlike causal attention: declared row "
        "2, measured none. run.json has all that was measured"
    )
    assert predictor.asked == []
    assert read(tables.parent / "run/run.json")["mask_self_test"]["passed"] is False


def start(tables: Path, seconds_a_batch: float) -> BaseProcess:
    """Another process at the same run; made by a fork server that has everything imported, so it begins at once."""
    context = forking()
    process = context.Process(target=work, args=(tables, tables.parent / "run", tables.parent / "log", seconds_a_batch))
    process.start()
    return process


def test_killed_at_random_moments_nothing_answered_is_lost_or_asked_again(tables: Path) -> None:
    write_table(tables, rows=120)
    folder = RunStore(tables.parent / "run")
    random.seed(2503)
    for _ in range(KILLS):
        answered = set(folder.predictions("small"))
        asked_before = len(asked(tables))
        worker = start(tables, 0.02)
        while len(asked(tables)) == asked_before and worker.is_alive():
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.1))
        worker.kill()
        worker.join()
        assert answered <= set(folder.predictions("small"))
        assert not answered & set(asked(tables)[asked_before:])
    left = ScriptedPredictor()
    assert go(tables, left).results[0].complete
    assert not set(left.asked) & answered
    counts = Counter(asked(tables) + left.asked)
    assert set(counts) == {str(index) for index in range(120)}
    assert counts.total() <= 120 + 4 * KILLS  # the batch in flight, nothing else
    assert len((folder.root / "small/predictions.jsonl").read_text().splitlines()) == 120


def asked(tables: Path) -> list[str]:
    log = tables.parent / "log"
    return log.read_text().split("\n")[:-1] if log.exists() else []


def test_a_request_to_end_stops_cleanly(tables: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        worker = start(tables, 60)
        while not asked(tables):
            time.sleep(0.01)
        with pytest.raises(UserError, match="another process is working"):
            go(tables)
        assert worker.pid is not None
        os.kill(worker.pid, number)
        worker.join(20)
        assert worker.exitcode == 130
        (tables.parent / "log").unlink()
    assert go(tables).num_predicted == 12
