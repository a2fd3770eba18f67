"""The paper's numbers as data (Wang et al., arXiv 2503.02597): every printed cell of Tables 1, 2 and 7 to 15.

`tableN.csv` holds one printed cell a line: `printed` is the text in the paper, `value` the number to set beside a new
one. They differ where the paper contradicts itself; then `dispute` names the kind of contradiction and `note` says why.
All of it is the paper's first version; `listing_v3.csv` holds what a public listing shows for the third one, never
confirmed by a table of it. `rows.csv` is the order and wording of the rows, `models.csv` that of the models.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent
NUMBERS = ("1", "2", "7", "8", "9", "10", "11", "12", "13", "14", "15")


@dataclass(frozen=True, kw_only=True)
class PaperValue:
    """One printed cell. `value` is None where the paper prints a dash; points for MME, percent elsewhere."""

    table: str
    model: str
    task: str
    metric: str
    printed: str
    value: float | None
    version: str
    split: str
    protocol: str
    mark: str
    dispute: str
    note: str


@dataclass(frozen=True, kw_only=True)
class PaperLine:
    """One line (or column) of a table: which metric it shows and how the paper words it."""

    table: str
    section: str
    label: str
    task: str
    metric: str
    num_questions: int | None


@dataclass(frozen=True, kw_only=True)
class PaperModel:
    """A row of the paper. `section` is the group it is printed in."""

    table: str
    model: str
    label: str
    section: str


@dataclass(frozen=True, kw_only=True)
class Improvement:
    """A cell of Table 1's last row, as printed; only the audit reads it."""

    task: str
    metric: str
    printed: str


def _read(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _value(row: dict[str, str]) -> PaperValue:
    fields: dict[str, str] = dict(row)
    number = fields.pop("value")
    return PaperValue(value=float(number) if number else None, **fields)


@lru_cache
def values(table: str) -> tuple[PaperValue, ...]:
    """All cells of a table of the first version, in the order in which they are printed."""
    return tuple(_value(row) for row in _read(f"table{table}.csv"))


@lru_cache
def listing_v3() -> tuple[PaperValue, ...]:
    """What a public listing shows for the third version (arXiv v3 of 2026-05-15, ICML 2026), and others quote of it.

    Unverified: never a reference.
    """
    return tuple(_value(row) for row in _read("listing_v3.csv"))


@lru_cache
def by_metric(table: str, model: str) -> dict[tuple[str, str], PaperValue]:
    """One model's cells of one table by (task, metric)."""
    return {(cell.task, cell.metric): cell for cell in values(table) if cell.model == model}


@lru_cache
def entries(table: str) -> tuple[PaperLine, ...]:
    """The lines of a table in the paper's order; `main` are the twelve columns of Tables 1 and 2."""
    return tuple(
        PaperLine(
            table=row["table"],
            section=row["section"],
            label=row["label"],
            task=row["task"],
            metric=row["metric"],
            num_questions=int(row["num_questions"]) if row["num_questions"] else None,
        )
        for row in _read("rows.csv")
        if row["table"] == table
    )


@lru_cache
def models(table: str) -> tuple[PaperModel, ...]:
    """The models of Table 1, Table 2, or (`appendix`) Tables 7 to 15, in the paper's order."""
    return tuple(PaperModel(**row) for row in _read("models.csv") if row["table"] == table)


def model(table: str, key: str) -> PaperModel:
    """One row of the paper by its key."""
    return next(each for each in models(table) if each.model == key)


@lru_cache
def improvements() -> tuple[Improvement, ...]:
    """Table 1's last row as printed. Tables never show it: gains are computed, with the comparator named."""
    return tuple(Improvement(**row) for row in _read("improvements.csv"))
