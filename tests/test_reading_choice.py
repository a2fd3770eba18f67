"""Choices with one reading, by their options, question or words: each notices a change that other cases let pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from answer_readers import PETS

from benchmarks.reading import read_choice

CASES = json.loads((Path(__file__).parent / "data" / "reading_choice_asked.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_choice(case: dict[str, Any]) -> None:
    assert read_choice(case["reply"], case.get("options", PETS), case.get("question", "")) == case["reading"]
