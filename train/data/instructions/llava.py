"""LLaVA-Instruct-150k (Liu et al. 2023): conversations about COCO pictures.

Each pair of turns is its own sample without the earlier turns, and each carries the picture (paper, appendix B.1;
original code). The placeholder in the turn is taken out, because the chat template puts one in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..samples import Skip
from .base import Example, InstructionSet, Row, read_json, rows_of

ANNOTATIONS = "llava/llava_instruct_150k.json"
PLACEHOLDER = re.compile(r"(?:^\s*<image>\s*)|(?:\s*<image>\s*$)|(?P<inside>\s*<image>\s*)")
IMAGES = "coco/train2017/{name}"


def read(root: Path) -> Iterator[Row | Skip]:
    """One row a pair of turns."""
    return rows_of(read_json(root / ANNOTATIONS, what="LLaVA-Instruct-150k"), _rows, ANNOTATIONS)


def _rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """The turns of a conversation.

    Raises:
        ValueError: it is not human, gpt, human, gpt, ...
    """
    turns = record["conversations"]
    if [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        raise ValueError(f"conversation {record['id']} does not alternate between human and gpt")
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        yield {
            "image": IMAGES.format(name=record["image"]),
            "question": without_placeholder(question["value"]),
            "answer": answer["value"],
        }


def without_placeholder(text: str | None) -> str | None:
    """The turn without `<image>`, wherever it stands: at an end with its line break, in a sentence as a space."""
    if text is None or "<image>" not in text:
        return text
    return PLACEHOLDER.sub(lambda found: " " if found["inside"] else "", text).strip()


def to_example(row: Row, rng: random.Random) -> Example:
    return Example(image=row["image"], prompt=row["question"], answer=row["answer"])


LLAVA = InstructionSet(name="llava", title="LLaVA-150k", annotations=(ANNOTATIONS,), read=read, to_example=to_example)
