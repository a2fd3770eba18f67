"""The measured quality of protocol `strict`'s reading does not fall, and the document says what it is today."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from benchmarks import reading_quality as quality

AGAIN = "docs/reading_quality.md is old: python -m benchmarks.reading_quality"


def documented(start: str) -> list[str]:
    """The document's rows about some answers, read by `strict`."""
    rows = quality.DOCUMENT.read_text("utf-8").splitlines()
    return [row for row in rows if row.startswith(f"| {start}") and "| strict |" in row]


def rows(start: str, tallies: dict[tuple[str, str], quality.Tally]) -> list[str]:
    return [f"| {start} | {reader} | {form} | {tally.cells()} |" for (reader, form), tally in tallies.items()]


@pytest.mark.parametrize("half", quality.SETS)
def test_our_own_answers_are_read(half: str) -> None:
    cases = list(quality.own_answers(half))
    tallies = quality.tallies(cases, {"strict": quality.strict})
    tally = tallies["strict", "all"]
    assert tally.right >= 0.99 * tally.read
    assert tally.right >= 0.98 * tally.given
    empty = sum(case.reading is None for case in cases)
    assert documented(f"{half}:") == rows(f"{half}: {len(cases)} answers, {empty} give nothing", tallies), AGAIN


def test_the_answers_of_our_own_are_many_and_hard() -> None:
    cases = [case for half in quality.SETS for case in quality.own_answers(half)]
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
    tallies = quality.tallies(quality.SOURCES[source](), {"strict": quality.strict})
    tally = tallies["strict", "all"]
    assert tally.right >= (0.98 if "MathVista" not in source else 0.85) * tally.read
    by_form = {key: each for key, each in tallies.items() if key[1] != "all"}
    assert documented(f"{source} |") == rows(source, by_form), AGAIN
