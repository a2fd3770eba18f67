"""A-OKVQA (Schwenk et al. 2022): multiple choice about COCO 2017 pictures; the answer is the option's letter."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import templates
from ..samples import Skip
from .base import Example, InstructionSet, Row, read_json, rows_of, shuffled

ANNOTATIONS = "aokvqa/aokvqa_v1p0_train.json"
IMAGES = "coco/train2017/{image_id:012d}.jpg"


def read(root: Path) -> Iterator[Row | Skip]:
    return rows_of(read_json(root / ANNOTATIONS, what="A-OKVQA's train split"), _rows, ANNOTATIONS)


def _rows(question: Mapping[str, Any]) -> Iterator[Row]:
    """A question with its choices, and the right one as the answer.

    Raises:
        IndexError: the right choice is none of the choices.
    """
    _ = question["choices"][question["correct_choice_idx"]]
    yield {
        "image": IMAGES.format(image_id=question["image_id"]),
        "question": question["question"],
        "choices": question["choices"],
        "answer": question["correct_choice_idx"],
    }


def to_example(row: Row, rng: random.Random) -> Example:
    choices, letter = shuffled(row["choices"], row["answer"], rng)
    prompt = templates.CHOICE.format(question=row["question"], options=templates.options(choices))
    return Example(image=row["image"], prompt=prompt, answer=letter)


AOKVQA = InstructionSet(name="aokvqa", title="A-OKVQA", annotations=(ANNOTATIONS,), read=read, to_example=to_example)
