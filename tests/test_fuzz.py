"""A small slice of `tests/fuzz.py`: seconds of what is tried by the hundred thousand when somebody runs it."""

from __future__ import annotations

from pathlib import Path

from fuzz import Findings, Nothing, attempt, fuzz_answers, fuzz_files


def test_nothing_that_a_model_says_ends_reading_or_scoring() -> None:
    found = fuzz_answers(150, 0, Findings())
    assert found.failures == {}
    assert found.tried == 150


def test_no_damaged_file_ends_in_a_traceback(tmp_path: Path) -> None:
    found = fuzz_files(160, 0, tmp_path, Findings())
    assert found.failures == {}
    assert found.outcomes["refused"] > 80
    assert found.outcomes["read"] > 15


def test_a_failure_is_found() -> None:
    found = Findings()
    attempt(found, "reader", "an answer", lambda: int("x"), Nothing)
    assert len(found.failures) == 1
    assert "ValueError at test_fuzz.py" in next(iter(found.failures))
