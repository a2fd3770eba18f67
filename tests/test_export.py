"""`aki-eval export`: other tools' formats hold the run's own numbers, and say what is missing in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_helpers import ScriptedPredictor
from scored_run_helpers import scores, write_scored_run

from aki_eval.api.results import Results
from aki_eval.cli import main
from aki_eval.exports import every_eval_ever, inspect_log, lm_eval, parquet, trackers
from aki_eval.exports.rows import sample_rows
from aki_eval.judges import JudgeOptions
from aki_eval.run.inputs import find_tasks
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions
from aki_eval.run.run import run as run_all
from aki_eval.run.subset import Subset
from benchmarks.results.folder import RunFolder, open_run

INSPECT = "AKI_INSPECT_PYTHON"
"""A Python that has inspect_ai: reads what is written for it."""
SCHEMA = "AKI_EVERY_EVAL_EVER_SCHEMA"
"""eval.schema.json of every-eval-ever 0.3.0."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two tasks, one of them judged; one sample failed, one answer cannot be read."""
    folder = tmp_path_factory.mktemp("export") / "run"

    def answer(prompt: Any) -> str:
        if prompt.index == failing:
            raise ValueError("no such picture")
        return "neither" if prompt.index == unread else "Yes"

    tasks = find_tasks("pope,mm_vet")
    from benchmarks.data.load import load_samples
    from benchmarks.toy_world import ensure_tables

    failing, unread = (sample.index for sample in load_samples(tasks[0], ensure_tables())[:2])
    options = RunOptions(tasks=tasks, data="toy", out=folder, judge=JudgeOptions(name="offline"), max_failure_rate=0.5)
    run_all(options, ScriptedPredictor(answer), Progress(quiet=True))
    return open_run(folder)


def test_inspect_logs_hold_every_sample_and_no_made_up_score(run: RunFolder) -> None:
    log = inspect_log.log(run, run.results["pope"])
    f1 = run.results["pope"].protocols["kit"]["f1"]
    (kit, _) = log["results"]["scores"]
    assert kit["metrics"]["f1"]["value"] == f1.value
    assert f1.ci95 is not None
    assert kit["metrics"]["f1 ci95 low"]["value"] == f1.ci95[0]
    assert 0 < kit["metrics"]["f1 stderr"]["value"] < f1.ci95[1] - f1.ci95[0]
    assert (kit["scored_samples"], kit["unscored_samples"]) == (f1.num_scored, f1.num_unscored)
    failed = [sample for sample in log["samples"] if "error" in sample]
    assert len(failed) == 1
    assert failed[0]["scores"] == {}
    assert "no such picture" in failed[0]["error"]["message"]
    assert log["status"] == "error"
    assert log["results"]["completed_samples"] == len(log["samples"]) - 1


@pytest.mark.skipif(INSPECT not in os.environ, reason=f"{INSPECT} names no Python that has inspect_ai")
def test_inspect_reads_its_logs(run: RunFolder, tmp_path: Path) -> None:
    paths = inspect_log.write(run, tmp_path)
    code = (
        "import sys\nfrom inspect_ai.log import read_eval_log\n"
        "for path in sys.argv[1:]:\n    log = read_eval_log(path)\n    print(log.eval.task, len(log.samples))\n"
    )
    done = subprocess.run(
        [os.environ[INSPECT], "-c", code, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [part for task in run.results for part in (task, str(len(run.scores(task, "kit"))))]


def test_every_eval_ever_has_interval_method_and_what_is_missing(run: RunFolder) -> None:
    content = every_eval_ever.content(run)
    found = {each["evaluation_result_id"]: each for each in content["evaluation_results"]}
    f1 = run.results["pope"].protocols["kit"]["f1"]
    own = found["pope/kit/f1"]
    assert own["score_details"]["score"] == f1.value
    interval = own["score_details"]["uncertainty"]["confidence_interval"]
    assert (interval["lower"], interval["upper"], interval["confidence_level"]) == (*f1.ci95, 0.95)  # type: ignore[misc]
    assert "clustered" in interval["method"]
    assert own["score_details"]["details"]["num_unscored"] == str(f1.num_unscored)
    assert own["metric_config"]["max_score"] == 100.0
    judged = found["mm_vet/kit/overall"]
    assert "not comparable" in judged["metric_config"]["additional_details"]["judge"]
    details = [each["metric_config"]["additional_details"] for each in found.values()]
    assert all(isinstance(value, str) for each in details for value in each.values())  # as the schema asks


@pytest.mark.skipif(SCHEMA not in os.environ, reason=f"{SCHEMA} names no schema")
def test_every_eval_ever_is_valid(run: RunFolder) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(every_eval_ever.content(run), json.loads(Path(os.environ[SCHEMA]).read_text()))


def test_lm_eval_results_are_shares_with_standard_errors(run: RunFolder, tmp_path: Path) -> None:
    paths = lm_eval.write(run, tmp_path)
    content = json.loads(paths[0].read_text())
    pope = run.results["pope"].protocols
    assert content["results"]["pope"]["f1,kit"] == pytest.approx(pope["kit"]["f1"].value / 100)  # type: ignore[operator]
    assert 0 < content["results"]["pope"]["f1_stderr,kit"] < 0.2
    assert content["n-samples"]["pope"]["effective"] == len(run.scores("pope", "kit"))
    lines = [json.loads(line) for line in (tmp_path / paths[1].name).read_text().splitlines()]
    assert sum(line["value"] is None for line in lines) == 1
    assert sum(line["reason"] == "unread" for line in lines) == 1


def test_parquet_is_a_row_a_sample_and_protocol(run: RunFolder, tmp_path: Path) -> None:
    from pyarrow import parquet as reader

    (path,) = parquet.write(run, tmp_path)
    frame = reader.read_table(path).to_pandas()
    assert len(frame) == sum(len(run.scores(task)) for task in run.results)
    failed = frame[(frame.task == "pope") & (frame.protocol == "kit") & frame.value.isna()]
    assert list(failed.error) == ["ValueError: no such picture"]
    assert frame.groupby("task").cluster.nunique()["pope"] > 1


def test_scalars_are_the_numbers_and_their_intervals(run: RunFolder) -> None:
    found = dict(trackers.scalars(run))
    f1 = run.results["pope"].protocols["kit"]["f1"]
    assert f1.ci95 is not None
    assert found["pope/kit/f1"] == f1.value
    assert (found["pope/kit/f1/ci95_low"], found["pope/kit/f1/ci95_high"]) == f1.ci95


@pytest.fixture
def export(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aki-eval", "export", str(run.path), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(str(ended.value.code)), said.out, said.err

    return call


def test_the_command(export: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, said, error = export("--format", "inspect,lm-eval,every-eval-ever,parquet", "--out", str(tmp_path / "out"))
    assert code == 0, error
    assert all(Path(line).exists() for line in said.splitlines())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"inspect", "lm-eval", "every-eval-ever", "parquet"}
    for arguments, part in (
        (("--format", "xlsx"), "is no format; choose from inspect"),
        (("--format", "parquet"), "say where with --out"),
        (("--format", "wandb"), "wandb is not installed; pip install wandb"),
    ):
        code, _, error = export(*arguments)
        assert (code, error.count("\n")) == (2, 1)
        assert part in error


def test_a_subset_says_so(tmp_path: Path) -> None:
    options = RunOptions(tasks=find_tasks("pope"), data="toy", out=tmp_path / "run", subset=Subset(size=10))
    run_all(options, ScriptedPredictor(lambda prompt: "Yes"), Progress(quiet=True))
    content = every_eval_ever.content(open_run(tmp_path / "run"))
    assert '"size": 10' in content["evaluation_results"][0]["score_details"]["details"]["subset"]


def test_frames_and_exports_show_the_same_of_a_sample_also_of_one_that_was_not_asked(tmp_path: Path) -> None:
    write_scored_run(tmp_path / "run", {"real_world_qa": scores([1.0, None, 0.0])})
    line = {"index": "0", "prompt": "p", "prediction": "A", "num_tokens": 1, "finish_reason": "stop", "error": None}
    (tmp_path / "run/real_world_qa/predictions.jsonl").write_text(json.dumps(line) + "\n")
    run = open_run(tmp_path / "run")
    exported = list(sample_rows(run, "real_world_qa", "kit"))
    assert [row["error"] for row in exported] == [None, "not asked", "not asked"]
    frame = Results(run).samples("real_world_qa")
    for name in frame.columns:
        shown = [None if value != value else value for value in frame[name]]  # NaN is no number
        assert shown == [row[name] for row in exported], name
