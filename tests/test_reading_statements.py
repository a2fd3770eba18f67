"""What the readers share: what counts as stated, where a sentence ends, and which of several statements holds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.reading.statements import Statement, Strength, sentences, settled, stated, without_questions


def test_the_strongest_statement_holds_wherever_it_stands() -> None:
    names = ("MENTION", "LEAD", "ALONE", "ANSWER", "FINAL", "BOXED")
    for weak, strong in pairwise(Strength[name] for name in names):
        said = [Statement(strong, "A", 0, 5), Statement(weak, "B", 6, 9)]
        assert settled(said, "The A or B") == "A"


def test_a_contradiction_holds_only_behind_a_word_of_correction() -> None:
    def last_of_two(text: str, ends: int, begins: int) -> str | None:
        statements = [Statement(Strength.ANSWER, "A", 0, ends), Statement(Strength.ANSWER, "B", begins, len(text))]
        return settled(statements, text)

    assert last_of_two("It is A, it is B", 7, 9) is None
    assert last_of_two("It is A, wait, it is B", 7, 15) == "B"
    assert last_of_two("It is A, so B", 9, 9) == "B"
    assert last_of_two("So it is A, it is B", 10, 12) is None


def test_sentences_end_at_marks_and_not_at_dots_of_names_numbers_and_items() -> None:
    text = "By J. Smith. It is 5 m. Item: 3. Then 2.5 dogs! And; that?\nEnd"
    parts = ["By J. Smith.", " It is 5 m.", " Item: 3. Then 2.5 dogs!", " And; ", "that?", "\n", "End"]
    assert [part for _, part in sentences(text)] == parts
    assert all(text[start:].startswith(part) for start, part in sentences(text))


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("B?", "B?"),
        ("Yes, B?", "Yes, B?"),
        ("Is it B?", ""),
        ("B? C?", ""),
        ("B! Is that right? It is.", "B! It is."),
        ("", ""),
    ],
)
def test_questions_are_left_out_unless_they_are_all_there_is(text: str, rest: str) -> None:
    assert without_questions(text) == rest


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The answer is B", [("ANSWER", "answer is ", "B")]),
        ("The final answer is B", [("FINAL", "final answer is ", "B")]),
        ("The final solution is B", [("ANSWER", "solution is ", "B")]),
        ("The final value is 3", [("ANSWER", "final value is ", "3")]),
        ("The answer - 5", [("ANSWER", "answer - ", "5")]),
        ("The answer -5", []),
        ("The answer- 5", []),
        ("The answer this B", []),
        ("Optional is 5", []),
        ("Adoption is 5", []),
        ("The answer is not A. The answer is B", [("ANSWER", "answer is ", "B")]),
        ("Detailed answer:\n2 and 3\nThe answer is 5", [("ANSWER", "answer is ", "5")]),
        ("Here comes a detailed answer:\n2 and 3", []),
        ("Detailed answer: 5", [("ANSWER", "answer: ", "5")]),
        ("The answer is:\n5", [("ANSWER", "answer is:\n", "5")]),
    ],
)
def test_what_is_called_the_answer(text: str, found: list[tuple[str, str, str]]) -> None:
    assert [(strength.name, text[start:at], text[at:]) for strength, start, at in stated(text)] == found
