"""Multiple choice: A-OKVQA and ScienceQA (with picture and as text only)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..draw import Drawer
from ..skills import DIGITS
from .files import Picture, write_json
from .questions import questions

HINT = "near things are large"
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

    Every third problem is text only (scienceqa.github.io).
    """
    problems: dict[str, Any] = {}
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for picture in pictures:
        key = str(picture.number)
        split = split_of(picture)
        splits[split].append(key)
        problem = _sum_problem(drawer.rng) if is_text_only(picture) else _picture_problem(drawer, picture)
        problems[key] = {**problem, "split": split}
    write_json(root / "problems.json", problems)
    write_json(root / "pid_splits.json", splits)


def is_text_only(picture: Picture) -> bool:
    return picture.number % 3 == 0


def split_of(picture: Picture) -> str:
    return "val" if picture.number % HELD_OUT == 0 else "train"


def _picture_problem(drawer: Drawer, picture: Picture) -> dict[str, Any]:
    question = next(questions(drawer, picture.scene, 1, "choice"))
    hint = HINT if question.skill in ("depth", "size") else ""
    answer = question.choices.index(question.answer)
    return _problem(question.text, question.choices, answer, hint, "image.png", question.statement)


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
