"""VSR (Liu et al. 2023): statements on where things are, asked as yes/no questions.

The annotations hold statements ("The cat is on the left of the sofa."), AKI is trained on questions. The original cut
each statement at every "is", also inside words, and wrote "Is" in front whatever the verb: "The dish is next to the
island." became "Is the d h next to the land?". Here the verb moves as a word. `vsr_original` asks as the original did.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .. import templates
from ..samples import Skip
from .base import Example, InstructionSet, Row, rows_of

ANNOTATIONS = "vsr/train.jsonl"
IMAGES = "coco/{split}/{name}"
ANSWERS = {0: "no", 1: "yes"}
VERB = re.compile(r"^(?P<subject>.+?) (?P<verb>is|are) (?P<rest>.+)$")


def read(root: Path) -> Iterator[Row | Skip]:
    """The pictures are COCO's, of the split that `image_link` names."""
    with (root / ANNOTATIONS).open("rb") as file:
        yield from rows_of(filter(bytes.strip, file), _rows, ANNOTATIONS)


def _rows(line: bytes) -> Iterator[Row]:
    """The record in a line.

    Raises:
        ValueError: it is not JSON in UTF-8.
    """
    statement = json.loads(line.decode("utf-8"))
    split, name = statement["image_link"].rsplit("/", 2)[1:]
    yield {
        "image": IMAGES.format(split=split, name=name),
        "statement": statement["caption"],
        "answer": ANSWERS[statement["label"]],
    }


def as_question(statement: str) -> str:
    """Of "The cat is on the sofa.": "Is the cat on the sofa?"; without "is" or "are" the statement is quoted whole."""
    words = statement.strip().rstrip(".")
    words = words[:1].lower() + words[1:]
    found = VERB.match(words)
    if found is None:
        return f"Is it true that {words}?"
    return f"{found['verb'].capitalize()} {found['subject']} {found['rest']}?"


def as_original_question(statement: str) -> str:
    pieces = [piece.strip().lower().replace(".", "?") for piece in statement.split("is")]
    return " ".join(["Is", *pieces])


def to_example(row: Row, rng: random.Random) -> Example:
    return _example(row, as_question(row["statement"]))


def to_original_example(row: Row, rng: random.Random) -> Example:
    return _example(row, as_original_question(row["statement"]))


def _example(row: Row, question: str) -> Example:
    return Example(image=row["image"], prompt=templates.YES_NO.format(question=question), answer=row["answer"])


VSR = InstructionSet(name="vsr", title="VSR", annotations=(ANNOTATIONS,), read=read, to_example=to_example)
VSR_ORIGINAL = replace(VSR, name="vsr_original", title="VSR (original questions)", to_example=to_original_example)
