"""How answers are read: VLMEvalKit's reading and the strict one, case by case, and the judge's replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kit
from benchmarks.reading import read_choice, read_yes_no
from benchmarks.records import Sample
from benchmarks.tasks import cv_bench, mathvista, mmmu

CASES = Path(__file__).parent / "data"
PETS = {"A": "cat", "B": "dog", "C": "horse", "D": "cow"}


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["why"]) for case in json.loads((CASES / name).read_text("utf-8"))]


def sample(target: str, options: dict[str, str] | None = None, **cells: str) -> Sample:
    return Sample(
        index="0",
        images=(),
        question="What?",
        target=target,
        choices=options or {},
        cluster="0",
        row={"index": "0", **cells},
    )


@pytest.mark.parametrize("case", cases("choice_cases.json"))
def test_choice(case: dict[str, Any]) -> None:
    assert kit.read_choice(case["reply"], PETS) == case["kit"]
    assert read_choice(case["reply"], PETS) == case["strict"]


@pytest.mark.parametrize("case", cases("yes_no_cases.json"))
def test_yes_no(case: dict[str, Any]) -> None:
    assert kit.read_yes_no(case["reply"]) == case["kit"]
    assert read_yes_no(case["reply"]) == case["strict"]


@pytest.mark.parametrize(
    ("answer", "official", "cambrian"),
    [
        ("B", 1, 1),
        ("(B)", 0, 1),
        ("B.", 0, 1),
        (" B", 0, 1),
        ("b", 0, 1),
        ("The answer is B", 0, 1),
        ("The answer is: (B) dog.", 0, 0),
        ("dog", 0, 0),
        ("A", 0, 0),
        ("", 0, 0),
    ],
)
def test_cv_bench(answer: str, official: float, cambrian: float) -> None:
    asked = sample("B", PETS)
    assert cv_bench.equal_letter(asked, answer)[0] == official
    assert cv_bench.normalised_letter(asked, answer)[0] == cambrian


def test_cv_bench_in_3d_accepts_the_options_text() -> None:
    asked = Sample(
        index="0", images=(), question="", target="B", choices=PETS, groups=("omni3d",), cluster="0", row={"index": "0"}
    )
    assert cv_bench.normalised_letter(asked, "Dog.")[0] == 1
    assert cv_bench.normalised_letter(asked, "cat")[0] == 0


@pytest.mark.parametrize(
    ("kind", "target", "answer", "value"),
    [
        ("integer", "14", "14", 1),
        ("integer", "14", "14.0", 1),
        ("integer", "14", "The answer is 14.", 1),
        ("integer", "1400", "1,400", 1),
        ("integer", "14", "114", 0),
        ("integer", "14", "fourteen", 1),
        ("float", "0.67", "0.671", 1),
        ("float", "0.67", "0.68", 0),
        ("list", "[2007, 2008]", "Between [2007, 2008]", 1),
        ("list", "[2007, 2008]", "[2007, 2009]", 0),
        ("text", "Two circles", "two circles.", 1),
        ("text", "None", "None", 1),
    ],
)
def test_mathvista_strict(kind: str, target: str, answer: str, value: float) -> None:
    asked = sample(target, answer_type=kind, precision="2", question_type="free_form", answer=target)
    assert mathvista.strict(asked, answer)[0] == value


def test_mathvista_kit_calls_lists_wrong_even_when_they_are_right() -> None:
    row = {"answer_type": "list", "question_type": "free_form", "answer": "[1, 2]"}
    assert not kit.mathvista_prefetch(row, "[1, 2]")
    assert not kit.mathvista_is_right(row, "[1, 2]")


@pytest.mark.parametrize(
    ("target", "answer", "kit_says", "strictly"),
    [
        ("24.32", "24.32", 1, 1),
        ("24.32", "A", 1, 0),
        ("['24/7', '3.429']", "It is 3.429", 0, 1),
        ("embryonic", "Embryonic.", 1, 1),
        ("embryonic", "not embryonic", 1, 0),
        ("8200", "8,200", 0, 1),
        ("8", "18", 1, 0),
    ],
)
def test_mmmu_open_questions(target: str, answer: str, kit_says: float, strictly: float) -> None:
    asked = sample(target)
    assert (kit.read_choice(answer, mmmu.kit_options(asked)) == mmmu.kit_target(asked)) == bool(kit_says)
    assert mmmu.strict(asked, answer)[0] == strictly
