"""VQAv2 (Goyal et al. 2017): open questions about COCO pictures, trained with the most common answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import templates
from ..samples import Skip
from .base import Example, InstructionSet, Row, read_json, rows_of

QUESTIONS = "vqav2/v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "vqav2/v2_mscoco_train2014_annotations.json"
IMAGES = "coco/train2014/COCO_train2014_{image_id:012d}.jpg"


def read(root: Path) -> Iterator[Row | Skip]:
    """One row a question; the questions' text and the answers come in two files joined by `question_id`."""
    questions = read_json(root / QUESTIONS, what="VQAv2's questions")["questions"]
    texts = {question["question_id"]: question["question"] for question in questions}

    def rows(annotation: Mapping[str, Any]) -> Iterator[Row]:
        yield {
            "image": IMAGES.format(image_id=annotation["image_id"]),
            "question": texts[annotation["question_id"]],
            "answer": annotation["multiple_choice_answer"],
        }

    annotations = read_json(root / ANNOTATIONS, what="VQAv2's annotations")["annotations"]
    return rows_of(annotations, rows, ANNOTATIONS)


def to_example(row: Row, rng: random.Random) -> Example:
    prompt = templates.SHORT_ANSWER.format(question=row["question"])
    return Example(image=row["image"], prompt=prompt, answer=row["answer"])


VQAV2 = InstructionSet(
    name="vqav2", title="VQAv2", annotations=(QUESTIONS, ANNOTATIONS), read=read, to_example=to_example
)
