"""A clock that jumps, forwards or back, changes nothing but the times on record."""

from __future__ import annotations

import ast
import random
import time
from pathlib import Path

import pytest
from run_helpers import TASK, ScriptedPredictor, results, write_table

from aki_eval.run import specification
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run

ROOT = Path(__file__).parents[2]


def test_a_run_under_a_jumping_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = write_table(tmp_path / "tables", rows=40)

    def go(out: Path) -> None:
        options = RunOptions(tasks=[TASK], data=str(tables), out=out, batch_size=4)
        run(options, ScriptedPredictor(), Progress(quiet=True))

    go(tmp_path / "steady")
    draw = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: draw.uniform(-1e9, 4e9))
    monkeypatch.setattr(specification, "now", lambda: f"{draw.randint(1970, 2099)}-01-01T00:00:00+00:00")
    go(tmp_path / "jumping")
    go(tmp_path / "jumping")
    assert results(tmp_path / "jumping") == results(tmp_path / "steady")


def test_nothing_is_decided_by_the_time_of_day() -> None:
    """Waits and deadlines ask the clock that only goes forwards."""
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ("aki_eval", "benchmarks", "model", "reports", "train")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.time"
    ]
    assert asked == []
