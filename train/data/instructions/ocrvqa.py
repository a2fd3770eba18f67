"""OCR-VQA (Mishra et al. 2019): questions about book covers; split 1 trains."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import templates
from ..samples import Skip
from .base import Example, InstructionSet, Row, rows_of
from .json_files import stream_mapping

ANNOTATIONS = "ocrvqa/dataset.json"
IMAGES = "ocrvqa/images/{key}{extension}"
TRAIN = 1


def read(root: Path) -> Iterator[Row | Skip]:
    """One row a question. Pictures are named as the download script names them: id and the address's extension."""
    return rows_of(stream_mapping(root / ANNOTATIONS), _rows, ANNOTATIONS)


def _rows(entry: tuple[str, Mapping[str, Any]]) -> Iterator[Row]:
    """The questions about a book's cover, with their answers.

    Raises:
        ValueError: there are more or fewer answers than questions.
    """
    key, book = entry
    if book["split"] == TRAIN:
        image = IMAGES.format(key=key, extension=Path(book["imageURL"]).suffix)
        for question, answer in zip(book["questions"], book["answers"], strict=True):
            yield {"image": image, "question": question, "answer": answer}


def to_example(row: Row, rng: random.Random) -> Example:
    prompt = templates.SHORT_ANSWER.format(question=row["question"])
    return Example(image=row["image"], prompt=prompt, answer=row["answer"])


OCRVQA = InstructionSet(name="ocrvqa", title="OCRVQA", annotations=(ANNOTATIONS,), read=read, to_example=to_example)
