"""Every reader of answers by name, and what answers are made of: for the tests and for `tests/fuzz.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import kit
from benchmarks.judged import Unreadable
from benchmarks.reading import read_choice, read_list, read_number, read_phrase, read_yes_no
from benchmarks.reading.plain import plain
from benchmarks.records import Sample
from benchmarks.tasks import cv_bench, llava_bench, mathvista, mm_vet, mmmu

PETS = {"A": "cat", "B": "dog", "C": "horse", "D": "bird"}


def asked(target: str, choices: dict[str, str] | None = None, **cells: str) -> Sample:
    row = {"index": "0", "answer": target, "answer_option": "A", "choices": "['1', '2']", **cells}
    return Sample(
        index="0", images=(), question="How many?", target=target, choices=choices or {}, cluster="0", row=row
    )


INTEGER = asked("14", answer_type="integer", question_type="free_form")
DECIMAL = asked("0.67", answer_type="float", precision="2", question_type="free_form")
LISTED = asked("[1, 2]", answer_type="list", question_type="free_form")
OPEN = asked("['24/7', '3.429']")
CHOICE = asked("B", PETS)


def unless_unreadable(parse: Callable[[str], Any], reply: str) -> Any:
    """What a judge's reply says; None for the one exception that says it cannot be read."""
    try:
        return parse(reply)
    except Unreadable:
        return None


READERS: dict[str, Callable[[str], Any]] = {
    "plain": plain,
    "choice": lambda answer: read_choice(answer, PETS, "Is it a dog?"),
    "choice of numbers": lambda answer: read_choice(answer, {"A": "1.5", "B": "$2$", "C": "1:3"}, ""),
    "choice of yes and no": lambda answer: read_choice(answer, {"A": "Yes", "B": "No"}, "Is it a dog?"),
    "yes/no": lambda answer: read_yes_no(answer, "Is there a dog in the image?"),
    "number": read_number,
    "list": read_list,
    "phrase": read_phrase,
    "mathvista integer": lambda answer: mathvista.strict(INTEGER, answer),
    "mathvista decimal": lambda answer: mathvista.strict(DECIMAL, answer),
    "mathvista list": lambda answer: mathvista.strict(LISTED, answer),
    "mathvista choice": lambda answer: mathvista.strict(CHOICE, answer),
    "mmmu open": lambda answer: mmmu.strict(OPEN, answer),
    "cv_bench official": lambda answer: cv_bench.equal_letter(CHOICE, answer),
    "cv_bench cambrian": lambda answer: cv_bench.normalised_letter(CHOICE, answer),
    "mm_vet grade": lambda reply: unless_unreadable(mm_vet.parse_grade, reply),
    "llava_bench grades": lambda reply: unless_unreadable(llava_bench.parse_grades, reply),
    "kit choice": lambda answer: kit.read_choice(answer, PETS),
    "kit yes/no": kit.read_yes_no,
    "kit mathvista": lambda answer: kit.mathvista_prefetch(INTEGER.row, answer),
    "kit mathvista decimal": lambda answer: kit.mathvista_is_right(DECIMAL.row, answer),
}

PIECES = [
    *"ABCDEabcd().,:;!?*_`#|/\\{}[]<>$%^-+=~'\" \n\t0123456789",
    *"，。：；（）［］【】−–—½²√π°≈→是否不选答案Ｂⓑ🅱\u200b\ufeff\x00\x1b\ud800\udfff\ue000\ue001",
    "answer",
    "The answer is ",
    "Answer: ",
    "final answer",
    "option ",
    "not ",
    "is correct",
    "is wrong",
    " and ",
    " or ",
    "cat",
    "dog",
    "yes",
    "no",
    "therefore",
    "between",
    "\\boxed{",
    "\\text{",
    "\\frac{1}{0}",
    "<think>",
    "</think>",
    "[THINK]",
    "<answer>",
    "</answer>",
    "```",
    "nan",
    "inf",
    "1e999",
    "×10^-999",
    "9" * 310,
    "1,000",
    "3/4",
    "million",
    "\nQuestion:",
]
