"""Protocol `strict`: what a person reads is read, nothing else is, and nothing that a model says may raise."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from answer_readers import PETS, PIECES, READERS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.reading import read_choice, read_list, read_number, read_phrase, read_yes_no
from benchmarks.reading.plain import LONGEST

CASES = Path(__file__).parent / "data"


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["why"]) for case in json.loads((CASES / name).read_text("utf-8"))]


@pytest.mark.parametrize("case", cases("reading_choice.json"))
def test_choice(case: dict[str, Any]) -> None:
    assert read_choice(case["reply"], PETS) == case["reading"]


@pytest.mark.parametrize("case", cases("reading_yes_no.json"))
def test_yes_no(case: dict[str, Any]) -> None:
    assert read_yes_no(case["reply"]) == case["reading"]


@pytest.mark.parametrize("case", cases("reading_number.json"))
def test_number(case: dict[str, Any]) -> None:
    assert read_number(case["reply"]) == case["reading"]


def test_options_that_are_the_letters_of_other_options() -> None:
    turned = {"A": "(c)", "B": "(d)", "C": "(a)", "D": "(b)"}
    assert read_choice("The answer is (b).", turned) == "D"
    assert read_choice("The answer is (B).", turned) == "B"


def test_an_option_that_names_others() -> None:
    options = {"A": "sand", "B": "water", "C": "both A and B", "D": "neither A nor B"}
    assert read_choice("both A and B", options) == "C"
    assert read_choice("Both A and B.", options) == "C"
    assert read_choice("D. neither A nor B", options) == "D"


def test_two_options_of_one_text_are_told_apart_by_letter_only() -> None:
    options = {"A": "9", "B": "12", "C": "18", "D": "18"}
    assert read_choice("18", options) is None
    assert read_choice("(D) 18", options) == "D"


@pytest.mark.parametrize(
    ("question", "answer", "reading"),
    [
        ("Is there a dog in the image?", "There is no dog in the image.", "No"),
        ("Is there a dog in the image?", "There is a dog in the image.", "Yes"),
        ("Is there a dog in the image?", "There is a cat in the image.", None),
        ("Is Coral the roughest?", "Coral is not the roughest, as it is ranked third.", "No"),
        ("Is Coral less than Olive?", "Coral is less than Olive.", "Yes"),
        ("Is Coral less than Olive?", "Olive is less than Coral.", None),
        ("Is Coral less than Olive?", "Coral is greater than Olive.", "No"),
        ("Is Coral less than Olive?", "Is Coral less than Olive?", None),
        ("Are there fewer buses than cars?", "There are fewer busses than cars.", "Yes"),
        ("Is there a dog?", "No doubt there is a dog.", "Yes"),
        ("Is there a dog?", "There is no doubt that there is a dog.", "Yes"),
        ("Is there a dog?", "The image lacks a dog.", "No"),
        ("Is there a dog?", "There might be a dog behind the fence.", None),
        ("Is there a dog?", "Yes, there isn't.", None),
        ("Is there a dog?", "No, it cannot be determined.", None),
        ("Is there a dog?", "There's one behind the tree.", "Yes"),
    ],
)
def test_the_question_said_again(question: str, answer: str, reading: str | None) -> None:
    assert read_yes_no(answer, question) == reading
    assert read_choice(answer, {"A": "Yes", "B": "No"}, question) == {"Yes": "A", "No": "B", None: None}[reading]


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        ("[1, 2.50]", "[1, 2.5]"),
        ("```python\n[1, 2]\n```", "[1, 2]"),
        ("[1, two]", None),
        ("[1, 2] or [3, 4]", None),
        ("It peaked between 2007 and 2008.", "[2007, 2008]"),
        ("The graph shows the years from 2005 to 2016.", None),
    ],
)
def test_list(answer: str, reading: str | None) -> None:
    assert read_list(answer) == reading


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        ("Embryonic.", "embryonic"),
        ("The answer is trans-1-chloro-4-methylcyclohexane.", "trans-1-chloro-4-methylcyclohexane"),
        ("Let us see.\n\nThe final answer is: \\boxed{MgS}", "mgs"),
        ("The answer is red. It is on the left.", "red"),
        ("So the answer is a red and yellow kite. The answer is a blue one.", None),
        ("So the answer is a red and yellow kite. No: rather, the answer is a blue one.", "blue one"),
        ("Let us see.\nIt is a kite.", "kite"),
        ("Let us see.\nSomething like a red kite.", None),
        ("Let us see.\nThus, the big old red kite.", "big old red kite"),
        ("Thus, the also-ran.", "also-ran"),
        ("One of the many words that a dog may bark at night.", "one of the many words that a dog may bark at night"),
        ("One of the many words that a dog may bark at late night.", None),
        ("I cannot tell.", None),
        ("First we look at the picture.\nThen we look at the legend and compare the two, which takes a while.", None),
        ("", None),
    ],
)
def test_phrase(answer: str, reading: str | None) -> None:
    assert read_phrase(answer) == reading


ANSWERS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(st.characters(codec=None), max_size=200),
    st.floats().map(str),
    st.integers().map(str),
    st.lists(st.floats(), max_size=5).map(str),
)


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answer=ANSWERS)
@example(answer="9" * 310)
@example(answer="9" * 5000)
@example(answer="-" + "9" * 5000 + "." + "9" * 5000)
@example(answer="1e999999999")
@example(answer="1/0")
@example(answer="\ud800\udfff")
@example(answer="[" * 3000)
@example(answer="\\boxed{" * 3000)
@example(answer="²/⁵ ①⑩ ٣٤ ௧ Ⅳ 〇")
def test_nothing_that_a_model_says_raises(reader: str, answer: str) -> None:
    READERS[reader](answer)


LONG = {
    "a letter": "B",
    "a digit": "9",
    "digits and dots": "9.",
    "thousands": "1,000,",
    "spaces": " ",
    "lines": "\n",
    "answers": "The answer is ",
    "answers with colons": "answer:",
    "letters and commas": "A, B and ",
    "boxes": "\\boxed{",
    "empty boxes": "\\boxed{}",
    "reasoning": "<think>",
    "stars": "**",
    "a star and a letter": "*B",
    "dashes": "- ",
    "rejections": "not A, ",
    "if": "if ",
    "conclusions": "so ",
    "numbers": "there are 3 or ",
    "equations": "x = 3 + ",
    "brackets": "((",
    "html": "<b ",
    "tables": "a|b|",
    "questions": "Q: a\nA: ",
    "code": "```\n",
    "options": "A. cat B. dog ",
    "quotes": "' ",
    "words": "very ",
}
SECONDS = 5.0
"""An ordinary answer takes a millisecond. A quadratic rule takes minutes here, an exponential one for ever."""


OURS = ("choice", "yes/no", "number", "list", "phrase")


@pytest.mark.parametrize("piece", LONG)
def test_long_answers_are_read_in_time(piece: str) -> None:
    """As long as ours look at; what is longer loses its middle first."""
    answer = LONG[piece] * (LONGEST // len(LONG[piece]))
    for name in OURS:
        started = time.process_time()
        READERS[name](answer)
        assert time.process_time() - started < SECONDS, name


@pytest.mark.parametrize("reader", READERS)
def test_a_million_characters_are_read_in_time(reader: str) -> None:
    answer = ("The answer is B. " * 60_000)[:1_000_000]
    started = time.process_time()
    READERS[reader](answer)
    assert time.process_time() - started < SECONDS
