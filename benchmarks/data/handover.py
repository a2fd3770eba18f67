"""A table for VLMEvalKit's own loop: a copy of what our reader passed, with nothing in it that the kit would run.

The kit eval()s cells: lists of pictures and of their names (smp/misc.py `toliststr`), every index (`istype`), and
MathVista's `choices` and `skills` (dataset/utils/mathvista.py). It writes each picture under the name in `image_path`,
or under the row's index, without looking where that leads (dataset/image_base.py `dump_image`). Read in ms-vlmeval
0.0.20.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..errors import RowError, UserError
from ..files import beside
from ..kit import literal_list
from .tsv import parse_pictures, read_cells

EVALUATED = ("choices", "skills")
INDEX = re.compile(r"\w[\w.-]*")


def copy_checked(table: Path, target: Path) -> None:
    """Writes the table's cells anew to `target`, which appears when all of them passed.

    Written anew, because pandas, which the kit reads with, may cut odd bytes into other cells than our reader does.

    Raises:
        UserError: no such table, or a cell that the kit would run as code or that names a file elsewhere.
    """
    with beside(target) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        writer = None
        for row in read_cells(table):
            check_cells(row, table)
            if writer is None:
                writer = csv.DictWriter(file, list(row), delimiter="\t", lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)


def check_cells(row: Mapping[str, str], table: Path) -> None:
    """Looks through the cells that the kit would run or make paths of.

    Raises:
        UserError: a cell must not reach the kit.
    """
    place = f"{table}: row {row['index'][:40]!r}"
    if not INDEX.fullmatch(row["index"]):
        raise UserError(
            f"{place}: VLMEvalKit runs an index as Python and names a file by it; expected letters, digits, . _ and -"
        )
    try:
        parse_pictures(row["image"], row["index"])
    except RowError as error:
        raise UserError(f"{table}: {error}") from error
    for name in _listed(row.get("image_path", ""), place):
        if not _stays_inside(name):
            raise UserError(
                f"{place}: image_path {name[:60]!r} leads out of the folder of pictures; expected a relative path "
                "without .."
            )
    for column in EVALUATED:
        if _is_code(row.get(column, "")):
            raise UserError(
                f"{place}: {column} {row[column][:60]!r} is Python that VLMEvalKit would run; expected a list such as "
                "['yes', 'no']"
            )


def _listed(cell: str, place: str) -> list[str]:
    if not cell.startswith("["):
        return [cell] if cell else []
    try:
        return [str(each) for each in literal_list(cell)]
    except ValueError as error:
        raise UserError(f"{place}: image_path is {error}") from error


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _is_code(cell: str) -> bool:
    """Whether eval() would do more than read a literal. What is no expression is a SyntaxError to it, and text."""
    text = cell.lstrip(" \t")
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        return False
    except (MemoryError, RecursionError):
        return True
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return True
    return False
