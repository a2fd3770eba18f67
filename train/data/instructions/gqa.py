"""GQA (Hudson and Manning 2019), balanced train questions: short answers about the structure of a picture."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from .. import templates
from .base import Example, InstructionSet, Row
from .json_files import read_mapping

ANNOTATIONS = "gqa/train_balanced_questions.json"
IMAGES = "gqa/images/{image_id}.jpg"


def read(root: Path) -> Iterator[Row]:
    for question in read_mapping(root / ANNOTATIONS, what="GQA's balanced train questions").values():
        yield {
            "image": IMAGES.format(image_id=question["imageId"]),
            "question": question["question"],
            "answer": question["answer"],
        }


def to_example(row: Row, rng: random.Random) -> Example:
    prompt = templates.SHORT_ANSWER.format(question=row["question"])
    return Example(image=row["image"], prompt=prompt, answer=row["answer"])


GQA = InstructionSet(name="gqa", title="GQA", annotations=(ANNOTATIONS,), read=read, to_example=to_example)
