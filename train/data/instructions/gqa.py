"""GQA (Hudson and Manning 2019), balanced train questions: short answers about the structure of a picture."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import templates
from ..samples import Skip
from .base import Example, InstructionSet, Row, rows_of
from .json_files import stream_mapping

ANNOTATIONS = "gqa/train_balanced_questions.json"
IMAGES = "gqa/images/{image_id}.jpg"


def read(root: Path) -> Iterator[Row | Skip]:
    """Question by question: the file is 1 GB, and 5 GB when it is parsed at once."""
    return rows_of((question for _, question in stream_mapping(root / ANNOTATIONS)), _rows, ANNOTATIONS)


def _rows(question: Mapping[str, Any]) -> Iterator[Row]:
    yield {
        "image": IMAGES.format(image_id=question["imageId"]),
        "question": question["question"],
        "answer": question["answer"],
    }


def to_example(row: Row, rng: random.Random) -> Example:
    prompt = templates.SHORT_ANSWER.format(question=row["question"])
    return Example(image=row["image"], prompt=prompt, answer=row["answer"])


GQA = InstructionSet(name="gqa", title="GQA", annotations=(ANNOTATIONS,), read=read, to_example=to_example)
