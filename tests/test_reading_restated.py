"""Yes or no by saying the question again: which words must be there, and which must not."""

from __future__ import annotations

import pytest

from benchmarks.reading.restated import _alike, opposed, restated

SEVEN = "There is a big old brown happy sleepy lazy dog."


@pytest.mark.parametrize(
    ("question", "answer", "reading"),
    [
        ("What is it?", "There is a dog.", None),
        ("Is there any?", "There is a dog.", None),
        ("Is this a photo?\nIs there a dog?", "There is a dog.", "Yes"),
        ("Is there a dog?", "There is a dog, but I am not sure.", None),
        ("Is there a dog?", "I cannot see any dog.", "No"),
        ("Is there a dog?", "I cannot see clearly enough the dog you ask about.", None),
        ("Is there a dog?", SEVEN, "Yes"),
        ("Is there a dog?", SEVEN.replace("lazy", "lazy wet"), None),
        ("Is this the dog, which barks?", "This is the dog.", None),
        ("Are the dates 3, 4 and 5 June?", "The dates are 3, 4 and 5 June.", "Yes"),
        ("Are there more cars than trucks?", "There are more cars.", "Yes"),
        ("Are there more cars than trucks?", "There are more cars than trucks.", "Yes"),
        ("Are there more cars than trucks?", "There are more cars than bikes.", None),
        ("Is the dog not brown?", "The dog is not brown.", "Yes"),
        ("Is this an even function?", "The function is even.", "Yes"),
        ("Is this an even function?", "It is an apple.", None),
        ("Is the dog brown?", "The smaller dog is brown.", None),
        ("Is the dog larger?", "The dog is large.", None),
        ("Are there flies?", "There is a fly.", "Yes"),
    ],
)
def test_the_first_sentence_says_the_question_or_denies_it(question: str, answer: str, reading: str | None) -> None:
    assert restated(answer, question) == reading


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("bus", "busses", True),
        ("fly", "flies", True),
        ("sky", "skin", False),
        ("wave", "waving", True),
        ("wave", "walk", False),
        ("flower", "floods", False),
        ("walk", "walking", True),
        ("sun", "sunrise", False),
        ("up", "upset", False),
        ("up", "up", True),
    ],
)
def test_forms_of_one_word(one: str, other: str, same: bool) -> None:
    assert _alike(one, other) == _alike(other, one) == same


def test_the_opposite_comparison_of_what_is_asked() -> None:
    assert opposed("The cat is smaller.", "Which animal is larger?")
    assert not opposed("The cat is smaller.", "Which animal is red?")
    assert not opposed("The cat is larger and the dog smaller.", "Which animal is larger?")
