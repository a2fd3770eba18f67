"""Multiple choice: A-OKVQA and ScienceQA (with picture and as text only)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..draw import Drawer
from ..skills import DIGITS
from .files import Picture, write_json
from .questions import questions

HINT = "near things are large"
SUM_SHARE = 0.2
PROBLEMS_PER_TEXT = 10
TEXT_KEYS = 1_000_000  # above the numbers of all pictures
HELD_OUT = 10  # of ScienceQA, one problem in ten belongs to `val`


def write_aokvqa(root: Path, pictures: Sequence[Picture], drawer: Drawer, per_image: int) -> None:
    """aokvqa_v1p0_train.json: a list, `correct_choice_idx` into `choices` (github.com/allenai/aokvqa)."""
    rows = [
        {
            "split": "train",
            "image_id": picture.number,
            "question_id": f"{picture.number:012d}{number:010d}",
            "question": question.text,
            "choices": list(question.choices),
            "correct_choice_idx": question.choices.index(question.answer),
            "direct_answers": [question.answer] * 10,
            "difficult_direct_answer": False,
            "rationales": [question.statement] * 3,
        }
        for picture in pictures
        for number, question in enumerate(questions(drawer, picture.scene, per_image, "choice"))
    ]
    write_json(root / "aokvqa_v1p0_train.json", rows)


def write_scienceqa(root: Path, pictures: Sequence[Picture], drawer: Drawer) -> None:
    """problems.json and pid_splits.json; a problem with a picture has it as images/<split>/<id>/image.png.

    Every second scene is not shown but described, in problems that are text only (about half of the published ones
    are: scienceqa.github.io). Most of these state the answer in their hint: reading it and naming the option's letter
    is half of what a question about a picture takes, and is learned far sooner without one.
    """
    problems: dict[str, Any] = {}
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for picture in pictures:
        for key, problem in _problems_of(drawer, picture):
            splits[split_of(picture)].append(key)
            problems[key] = {**problem, "split": split_of(picture)}
    write_json(root / "problems.json", problems)
    write_json(root / "pid_splits.json", splits)


def _problems_of(drawer: Drawer, picture: Picture) -> Iterator[tuple[str, dict[str, Any]]]:
    """One problem for a scene that is shown, several for one that is only described. Keys are numbers."""
    if not is_text_only(picture):
        yield str(picture.number), _picture_problem(drawer, picture)
        return
    for number in range(PROBLEMS_PER_TEXT):
        as_sum = drawer.rng.random() < SUM_SHARE
        problem = _sum_problem(drawer.rng) if as_sum else _reading_problem(drawer, picture)
        yield f"{TEXT_KEYS + picture.number * PROBLEMS_PER_TEXT + number}", problem


def is_text_only(picture: Picture) -> bool:
    return picture.number % 2 == 0


def split_of(picture: Picture) -> str:
    return "val" if picture.number % HELD_OUT == 0 else "train"


def _picture_problem(drawer: Drawer, picture: Picture) -> dict[str, Any]:
    question = next(questions(drawer, picture.scene, 1, "choice"))
    hint = HINT if question.skill in ("depth", "size") else ""
    answer = question.choices.index(question.answer)
    return _problem(question.text, question.choices, answer, hint, "image.png", question.statement)


def _reading_problem(drawer: Drawer, picture: Picture) -> dict[str, Any]:
    """A question about a scene that is described and not shown."""
    question = next(questions(drawer, picture.scene, 1, "choice"))
    answer = question.choices.index(question.answer)
    return _problem(question.text, question.choices, answer, question.statement, None, question.statement)


def _sum_problem(rng: random.Random) -> dict[str, Any]:
    """A sum of two numbers, with a hint."""
    first = rng.randrange(0, 8)
    second = rng.randrange(1, 10 - first)
    total = str(first + second)
    choices = [*rng.sample([digit for digit in DIGITS if digit != total], 3), total]
    rng.shuffle(choices)
    text = f"what is {first} plus {second}?"
    return _problem(text, choices, choices.index(total), "", None, f"{first} plus {second} is equal to {total}.")


def _problem(
    text: str, choices: Sequence[str], answer: int, hint: str, image: str | None, solution: str
) -> dict[str, Any]:
    return {
        "question": text,
        "choices": list(choices),
        "answer": answer,
        "hint": hint,
        "image": image,
        "task": "closed choice",
        "grade": "grade1",
        "subject": "natural science",
        "topic": "physics",
        "category": "toy world",
        "skill": "toy world",
        "lecture": "",
        "solution": solution,
    }
