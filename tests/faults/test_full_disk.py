"""A disk that takes no more ends a command with one line; what was stored stays, and the same command goes on.

The disk is a limit on the size of files: the system refuses the same calls at the same places as a full one.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from html_helpers import write_answered_run
from reports_helpers import plan
from run_helpers import TASK, ScriptedPredictor, write_table
from safetensors.torch import save_file

from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from benchmarks.command_line import exit_code
from benchmarks.errors import UserError
from benchmarks.results.folder import open_runs
from reports.pages import write_site

GO_ON = "what was stored before stays: make room and give the same command again"


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def go(tables: Path, out: Path, predictor: ScriptedPredictor | None = None) -> None:
    options = RunOptions(tasks=[TASK], data=str(tables), out=out, batch_size=4)
    run(options, predictor or ScriptedPredictor(), Progress(quiet=True))


def said(call: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert exit_code("aki-eval", call, "help") == 2
    return capsys.readouterr().err


def test_a_run_keeps_what_was_answered_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables, out = write_table(tmp_path / "tables", rows=120), tmp_path / "run"
    go(tables, tmp_path / "undisturbed")
    with no_file_above(6_000):
        line = said(lambda: go(tables, out), capsys)
    assert line.count("\n") == 1
    assert GO_ON in line
    left = (out / "small/predictions.jsonl").read_text().split("\n")[:-1]
    stored = {json.loads(text)["index"] for text in left}
    assert 4 <= len(stored) < 120
    again = ScriptedPredictor()
    go(tables, out, again)
    assert not set(again.asked) & stored
    for name in ("scores.jsonl", "predictions.jsonl"):
        assert len((out / "small" / name).read_text().splitlines()) == 120
    assert (out / "small/scores.jsonl").read_text() == (tmp_path / "undisturbed/small/scores.jsonl").read_text()


def test_scoring_leaves_the_earlier_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables, out = write_table(tmp_path / "tables", rows=120), tmp_path / "run"
    go(tables, out)
    before = {path.name: path.read_bytes() for path in (out / "small").iterdir() if path.is_file()}
    with no_file_above(2_000):
        assert GO_ON in said(lambda: go(tables, out), capsys)
    assert (out / "small/metrics.json").read_bytes() == before["metrics.json"]
    assert (out / "small/scores.jsonl").read_bytes() == before["scores.jsonl"]


def test_a_report_leaves_the_earlier_one(tmp_path: Path) -> None:
    runs = [write_answered_run(tmp_path / name, seed) for seed, name in enumerate(("first", "second"))]
    site = write_site(plan(open_runs([runs[0]])), tmp_path / "html").parent
    before = (site / "index.html").read_bytes()
    with no_file_above(3_000), pytest.raises(UserError, match="cannot write the report") as found:
        write_site(plan(open_runs([runs[1]])), tmp_path / "html")
    assert str(found.value).count("Errno") <= 1, "one cause, not a line for each file"
    assert (site / "index.html").read_bytes() == before


def test_writers_that_are_not_pythons_are_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = {"weight": torch.zeros(4096)}
    with no_file_above(1_000):
        line = said(lambda: save_file(tensors, tmp_path / "model.safetensors"), capsys)
    assert line == f"aki-eval: writing: File too large; {GO_ON}\n"


def test_another_error_is_not_called_a_disks() -> None:
    def fails() -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        exit_code("aki-eval", fails, "help")
