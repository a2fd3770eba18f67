"""Choices with one reading, by their options, question or words: each notices a change that other cases let pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from answer_readers import PETS

from benchmarks.reading import read_choice
from benchmarks.reading.choice import _reader

CASES = json.loads((Path(__file__).parent / "data" / "reading_choice_asked.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["why"] for case in CASES])
def test_choice(case: dict[str, Any]) -> None:
    assert read_choice(case["reply"], case.get("options", PETS), case.get("question", "")) == case["reading"]


def test_a_letter_alone_makes_no_patterns_of_the_texts() -> None:
    """Which cost more than all else in scoring a benchmark, and most models answer so."""
    texts = (("A", "a lone heron"), ("B", "two geese"))
    assert read_choice("B.", dict(texts)) == "B"
    made = {"any_text", "named", "echoed"} & set(vars(_reader(texts)))
    assert not made
    assert read_choice("The picture shows a lone heron near water.", dict(texts)) == "A"
    assert "any_text" in vars(_reader(texts))
