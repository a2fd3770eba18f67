"""Numbers: each rule of the reader by itself, where whole answers reach it seldom."""

from __future__ import annotations

import pytest

from benchmarks.reading import number, read_list, read_number


@pytest.mark.parametrize(
    ("answer", "question", "reading"),
    [
        ("The share is 0.57 or 57%.", "", "0.57"),
        ("The share is 0.5 or 57%.", "", None),
        ("9" * 1000, "", "9" * 1000),
        ("I add 3 and 11 and come to \\boxed{14} in the end, of 20.", "", "14"),
        ("Step 1: Find the 2 people. They hold 5 dogs.", "", "5"),
        ("They hold 3 dogs. They see 5 cats.", "", None),
        ("They hold 3 dogs. A 4 by 6 field lies behind.", "", "3"),
        ("Two women were born after the war.", "", "2"),
        ("More than two women were born.", "", None),
        ("We compare the two women in this big picture.", "", None),
    ],
)
def test_answers(answer: str, question: str, reading: str | None) -> None:
    assert read_number(answer, question) == reading


def test_a_list_is_contradicted_by_another_unless_it_is_corrected() -> None:
    assert read_list("So they are 3 and 4. They are 5 and 6.") is None
    assert read_list("They are 3 and 4. So they are 5 and 6.") == "[5, 6]"


def test_what_is_denied_is_cleared_and_a_difference_is_not() -> None:
    assert number._cleared("It is not 5 but 6").split() == ["It", "is", "but", "6"]
    assert number._cleared("It is not 5 - 3") == "It is not 5 - 3"


def test_what_stands_around_a_question_asks_nothing() -> None:
    around = "Hint: Give a year, e.g. 2010,\nor a number.\nQuestion: How many?\nChoices:\n2011\n2012"
    assert number._asked_for("In 2010 there were 5.", around).split() == ["there", "were", "5."]


def test_what_a_question_counts() -> None:
    for question in ("How many red cubes are there?", "How many red cubes?", "What number of red cubes, if any"):
        assert number._by_question("There are no cubes.", question) == ("0",)
    assert number._by_question("It began in 2010 and there were 5.", "Which year saw growth?") == ("2010",)
    assert number._by_question("It began in 2010 and there were 5.", "Which years saw growth?") is None
    assert number._by_question("Ann began in 2010 and had 5.", "Which 5 year old won?") is None


def test_number_words_that_are_part_of_another_word_are_passed_over() -> None:
    assert [token.value for token in number.tokens("a two-thirds share of five")] == ["5"]


def test_a_range_is_no_number() -> None:
    assert number._value_of("from 3 in May up to 5") == (None,)
    assert number._value_of("from 3") == ("3",)


def test_what_a_sentence_says() -> None:
    assert number._said("It is 3; there are 5.") == (None,)
    assert number._said("Over 5 dogs have 3 bones.") == ("3",)


def test_the_total_of_a_sentence() -> None:
    assert number._total("In total, 12 dogs.") == ("12",)
    assert number._total("In total, 12 dogs and 3 cats.") is None
    assert number._total("In total, many.") is None


def test_the_gap_that_a_question_leaves() -> None:
    question = "7 + (_) = 10"
    assert number._by_question("7 and 3 and 10", question) == ("3",)
    assert number._by_question("7 and 3 and 4 and 10", question) is None
    assert number._by_question("7 and 10", question) is None
    assert number._by_question("7 and 3 and 10", "7 + 10?") is None


def test_the_number_that_names_one_of_several() -> None:
    assert number._numbered("It is in week 3.", "week") == ("3",)
    assert number._numbered("It is in the 3rd week.", "week") == ("3",)
    assert number._numbered("It is in week 3 or week 4.", "week") is None


@pytest.mark.parametrize(
    ("parts", "question", "head", "value"),
    [
        (["The dogs seen in the park today were put at 7."], "How many dogs were seen in the park today?", "dog", "7"),
        (["The ratio of dogs to cats is 2."], "What is the ratio of dogs to cats?", "", "2"),
        (["The ratio of dogs to cats is 2.", "It is 2:1."], "What is the ratio of dogs to cats?", "", None),
        (["The weight of the dogs is 3.", "The weight of the dogs is 5."], "What is the weight of the dogs?", "", None),
        (["The weight of the dogs is 3.", "The weight of the dogs is 3."], "What is the weight of the dogs?", "", "3"),
    ],
)
def test_the_clauses_that_say_the_question_again(parts: list[str], question: str, head: str, value: str | None) -> None:
    assert number._closest(parts, question, head, set()) == (None if value is None else (value,))


@pytest.mark.parametrize(
    ("clause", "value"),
    [("it holds 7 dogs", "7"), ("over 5 dogs or 3", "3"), ("x + 3 or 3", None), ("7 + x", None), ("3 or 5", None)],
)
def test_the_only_number_of_a_clause(clause: str, value: str | None) -> None:
    assert number._only(clause, set()) == (None if value is None else (value,))


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("We see 1,234.", "1234"),
        ("We see 1,5 or so.", None),
        ("We see x + 3 or 3.", None),
        ("We see 3 + x or 3.", None),
    ],
)
def test_the_only_number_of_a_sentence(sentence: str, value: str | None) -> None:
    assert number._sole(sentence) == (None if value is None else (value,))


def test_stems() -> None:
    assert number.content("The dogs pass the gas station") == {"dog", "pas", "gas", "stati"}
