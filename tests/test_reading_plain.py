"""An answer as plain text: what markup, reasoning, boxes and further turns become."""

from __future__ import annotations

import pytest

from benchmarks.reading.plain import BOX_CLOSE, BOX_OPEN, plain, split_reasoning


def marked(text: str) -> str:
    """`[[5]]` for a box that stays marked."""
    return text.replace(BOX_OPEN, "[[").replace(BOX_CLOSE, "]]")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("<Answer>B\nC</Answer>", "[[B\nC]]"),
        ("<|begin_of_box|>B<|end_of_box|>", "[[B]]"),
        (r"3 \times 4", "3 × 4"),
        ("Fig.~3", "Fig. 3"),
        ("1{,}000", "1,000"),
        (r"\text{b}", "b"),
        (r"\text{\textbf{\mathrm{\emph{b}}}}", "b"),
        (r"\boxed{5}, yes", "[[5]], yes"),
        (r"\boxed{f{2}g} and h", "[[f{2}g]] and h"),
        (r"\boxed{\boxed{5}} or \boxed{6}", r"[[\boxed{5]] or [[6]]"),
        (r"\boxed{5", r"\boxed{5"),
        ("3*4, 3 * 4", "3×4, 3 × 4"),
        ("3* dogs, *4* cats", "3 dogs, 4 cats"),
        ("```\n\\boxed{5}\n```\nDone", "[[5]]\nDone"),
        ("```\n5\n```", "5"),
    ],
)
def test_markup(answer: str, text: str) -> None:
    assert marked(plain(answer)) == text


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("B\nQuestion: what now?\nC", "B"),
        ("B\nHuman: and now?\nQuestion: what?\nC", "B"),
        ("Question: which?\nB\nQuestion: and now?\nC", "Question: which?\nB"),
        ("Question: which?\nHint: look\nB", "Question: which?\nHint: look\nB"),
        ("Question: which?\nUser: B", "Question: which?\nUser: B"),
        ("Question: which?\nB\nHint: look\nQuestion: next?", "Question: which?\nB\nHint: look"),
    ],
)
def test_a_model_that_asks_itself_on_is_cut(answer: str, text: str) -> None:
    assert plain(answer) == text


@pytest.mark.parametrize(
    ("answer", "said", "unended"),
    [
        ("A<think>x</think>B", "AB", False),
        ("x</think>B", "B", False),
        ("A<think>x</think>y</think>C", "C", False),
        ("A<think>x", "A", True),
        ("A<think>x<think>y</think>B", "AB", False),
    ],
)
def test_reasoning(answer: str, said: str, unended: bool) -> None:
    assert split_reasoning(answer) == (said, unended)


def test_of_what_is_too_long_the_middle_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.reading.plain.LONGEST", 10)
    assert plain("abcdefghij") == "abcdefghij"
    assert plain("abcdefghijk") == "abcde\nghijk"
