"""LLaVA-Instruct-150k (Liu et al. 2023): conversations about COCO pictures.

Each pair of turns is its own sample without the earlier turns, and each carries the picture (paper, appendix B.1;
original code). The placeholder in the turn is taken out, because the chat template puts one in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from .base import Example, InstructionSet, Row, read_json

ANNOTATIONS = "llava/llava_instruct_150k.json"
IMAGES = "coco/train2017/{name}"


def read(root: Path) -> Iterator[Row]:
    """One row a pair of turns.

    Raises:
        ValueError: a conversation that is not human, gpt, human, gpt, ...
    """
    for record in read_json(root / ANNOTATIONS, what="LLaVA-Instruct-150k"):
        turns = record["conversations"]
        if [turn["from"] for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
            raise ValueError(f"conversation {record['id']} does not alternate between human and gpt")
        for question, answer in zip(turns[::2], turns[1::2], strict=True):
            yield {
                "image": IMAGES.format(name=record["image"]),
                "question": question["value"].replace("<image>\n", "").replace("\n<image>", ""),
                "answer": answer["value"],
            }


def to_example(row: Row, rng: random.Random) -> Example:
    return Example(image=row["image"], prompt=row["question"], answer=row["answer"])


LLAVA = InstructionSet(name="llava", title="LLaVA-150k", annotations=(ANNOTATIONS,), read=read, to_example=to_example)
