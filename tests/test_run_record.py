"""run.json: one record, strict, and every version of it that was ever written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from record_helpers import record
from typer.testing import CliRunner

from aki_eval.cli import make_app
from benchmarks.errors import UserError
from benchmarks.results.folder import open_run
from benchmarks.results.record import RunRecord, read_record
from benchmarks.results.store import RunStore
from benchmarks.tasks import TASKS

OLD = Path(__file__).parent / "data" / "run_format_1"
"""Folders that the first version wrote: `run` (three tasks of the toy world, three samples each) and an import."""


@pytest.mark.parametrize("name", ["run", "imported"])
def test_old_run_folders_open(name: str) -> None:
    before = json.loads((OLD / name / "run.json").read_text())
    run = read_record(OLD / name / "run.json").model_dump()
    assert before.pop("format") == 1
    assert run.pop("format") == 2
    tasks = before.pop("tasks")
    assert {task: {key: run["tasks"][task][key] for key in fields} for task, fields in tasks.items()} == tasks
    assert all(session.pop("workers") == [] for session in run["sessions"]), "nobody knows who worked then"
    assert {key: run[key] for key in before} == before
    assert open_run(OLD / name).record == read_record(OLD / name / "run.json")


def test_old_run_folders_keep_their_answers_and_are_written_anew(tmp_path: Path) -> None:
    shutil.copytree(OLD / "run", tmp_path / "run")
    folder = RunStore(tmp_path / "run")
    run = folder.read_run()
    assert run is not None
    answers = {task: folder.predictions(task) for task in run.tasks}
    assert {task: len(own) >= 3 for task, own in answers.items()} == {"pope": True, "cv_bench": True, "mm_vet": True}
    folder.write_run(run)
    assert json.loads((tmp_path / "run/run.json").read_text())["format"] == 2
    assert folder.read_run() == run
    assert {task: folder.predictions(task) for task in run.tasks} == answers


def test_old_run_folders_are_reported() -> None:
    done = CliRunner().invoke(make_app("report"), ["report", str(OLD / "run")])
    assert done.exit_code == 0
    assert "tiny" in done.output or "run" in done.output
    assert set(open_run(OLD / "run").results) == {"pope", "cv_bench", "mm_vet"} <= set(TASKS)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    run = RunRecord.of(record("m", ["pope"], model={"name": "m", "kind": "aki", "weights_sha256": "0"}), "here")
    (tmp_path / "run.json").write_text(run.to_json())
    assert read_record(tmp_path / "run.json") == run
    written = json.loads(run.to_json())
    assert written["model"] == {"name": "m", "kind": "aki", "weights_sha256": "0"}  # only what was said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sessions": [{"started": "now"}]}, "sessions.0.finished is missing"),
        ({"data": {"source": "toy", "tables": {"A": {"sha256": "0", "num_rows": 1.5}}}}, "num_rows is 1.5, expected"),
        ({"mask_self_test": {}}, "mask_self_test.passed is missing"),
        ({"model": {"name": 7, "kind": "aki"}}, "model.name is 7, expected a valid string"),
        ({"colour": "red"}, "colour is no setting that anything reads"),
        ({"format": 99}, "written in format 99"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record(**changes)))
    with pytest.raises(UserError, match=r"run\.json") as raised:
        read_record(tmp_path / "run.json")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
