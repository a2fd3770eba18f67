"""The measured quality of protocol `strict`'s reading does not fall."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks import reading_quality as quality


@pytest.mark.parametrize("half", ["development", "held_out"])
def test_our_own_answers_are_read(half: str) -> None:
    tally = quality.tallies(quality.own_answers(half), {"strict": quality.strict})["strict", "all"]
    assert tally.right >= 0.99 * tally.read
    assert tally.right >= 0.98 * tally.given


def test_the_answers_of_our_own_are_many_and_hard() -> None:
    cases = [case for half in ("development", "held_out") for case in quality.own_answers(half)]
    assert len(cases) >= 300
    assert sum(case.reading is None for case in cases) >= 80
    assert set(Counter(case.form for case in cases)) == {"choice", "yes_no", "integer", "float", "list"}


def test_verdicts_on_real_disagreements_use_the_known_words() -> None:
    looked = json.loads((quality.ANSWERS / "real_disagreements.json").read_text("utf-8"))
    assert set(looked) <= set(quality.MODELS)
    assert {word for verdicts in looked.values() for word in verdicts.values()} <= set(quality.VERDICTS)


@pytest.mark.parametrize("source", quality.SOURCES)
def test_published_answers_are_read(source: str) -> None:
    if not quality.real_dir().is_dir():
        pytest.skip(f"{quality.real_dir()} is not there (set AKI_REAL_DIR)")
    tally = quality.tallies(quality.SOURCES[source](), {"strict": quality.strict})["strict", "all"]
    assert tally.right >= (0.98 if "MathVista" not in source else 0.85) * tally.read
