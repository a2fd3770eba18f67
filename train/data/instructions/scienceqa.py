"""ScienceQA (Lu et al. 2022): multiple choice with a hint, half of it without a picture."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from .. import templates
from ..samples import Skip
from .base import Example, InstructionSet, Row, rows_of, shuffled
from .json_files import read_mapping

PROBLEMS = "scienceqa/problems.json"
SPLITS = "scienceqa/pid_splits.json"
IMAGES = "scienceqa/images/{split}/{key}/{name}"
NO_HINT = "N/A"


def read(root: Path) -> Iterator[Row | Skip]:
    """The train split, problems with and without a picture (those have an empty `image`)."""
    problems = read_mapping(root / PROBLEMS, what="ScienceQA's problems")

    def rows(key: str) -> Iterator[Row]:
        problem = problems[key]
        name = problem["image"]
        _ = problem["choices"][problem["answer"]]  # an answer that is none of the choices is an IndexError
        yield {
            "image": IMAGES.format(split=problem["split"], key=key, name=name) if name else "",
            "question": problem["question"],
            "hint": problem["hint"],
            "choices": problem["choices"],
            "answer": problem["answer"],
        }

    return rows_of(read_mapping(root / SPLITS, what="ScienceQA's splits")["train"], rows, PROBLEMS)


def to_example(row: Row, rng: random.Random) -> Example:
    """As in the original, a problem without a hint says so, and one without a picture has no `<image>`."""
    choices, letter = shuffled(row["choices"], row["answer"], rng)
    prompt = templates.CHOICE_WITH_CONTEXT.format(
        question=row["question"], context=row["hint"] or NO_HINT, options=templates.options(choices)
    )
    return Example(image=row["image"] or None, prompt=prompt, answer=letter)


SCIENCEQA = InstructionSet(
    name="scienceqa", title="ScienceQA", annotations=(PROBLEMS, SPLITS), read=read, to_example=to_example
)
