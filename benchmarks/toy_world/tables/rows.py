"""Rows and files: the columns that all of VLMEvalKit's tables share, and how a table is written."""

from __future__ import annotations

import base64
import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...files import replacing
from ..questions import LETTERS, Question
from ..render import png
from ..scene import Scene

Row = dict[str, str]

YES_NO_SUFFIX = " Please answer yes or no."


class Entry(NamedTuple):
    """A row of a table and the question behind it (for the priors)."""

    row: Row
    scene: Scene
    question: Question


def encoded(scene: Scene) -> str:
    """The picture as VLMEvalKit's tables hold it."""
    return base64.b64encode(png(scene)).decode()


def options(choices: Sequence[str]) -> Row:
    return dict(zip(LETTERS, choices, strict=False))


def choice_row(index: int, scene: Scene, question: Question) -> Row:
    """The columns that every multiple-choice table has."""
    return {
        "index": str(index),
        "image": encoded(scene),
        "question": question.text,
        **options(question.choices),
        "answer": question.letter,
    }


def write_table(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """A TSV with the columns that any row has; absent cells stay empty. The file is complete or not there."""
    rows = list(rows)
    columns = sorted(dict.fromkeys(column for row in rows for column in row), key=_column_order)
    with replacing(path) as file:
        writer = csv.DictWriter(file, columns, restval="", delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _column_order(column: str) -> tuple[int, str]:
    """Index, question, options in order; then the others as they come (the sort is stable)."""
    first = {"index": (0, ""), "question": (1, "")}
    return first.get(column, (2, column) if column in LETTERS else (3, ""))
