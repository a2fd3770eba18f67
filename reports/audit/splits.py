"""Table 11: which of MMMU's splits a number is measured on, and disciplines against their subjects."""

from __future__ import annotations

from collections.abc import Iterator

from .. import paper
from .arithmetic import APPENDIX, Finding, Verdict, attainable, main_cell, near

DISCIPLINES = {
    "Art & Design": ("Art", "Art theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Health & Medicine": (
        "Basic medical science",
        "Clinical medicine",
        "Diagnostics & Laboratory medicine",
        "Pharmacy",
        "Public health",
    ),
    "Humanities & Social science": ("History", "Literature", "Psychology", "Sociology"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Tech & Engineering": (
        "Agriculture",
        "Architecture & Engineering",
        "Computer science",
        "Electronics",
        "Energy & Power",
        "Materials",
        "Mechanical engineering",
    ),
}
SUBJECTS = frozenset(subject for subjects in DISCIPLINES.values() for subject in subjects)


def mmmu_splits() -> Iterator[Finding]:
    """Which split a headline can stand on (900 validation or 150 development questions), and which its subjects do."""
    for model in (each.model for each in paper.models("1")):
        yield _mmmu_split(model)
    yield _mmmu_split("aki_4b")


def _mmmu_split(model: str) -> Finding:
    head = main_cell(model, "mmmu", "val")
    assert head is not None
    possible = [name for name, size in (("val", 900), ("dev", 150)) if attainable(head.printed, size)]
    split = _subjects_split(model)
    text = f"headline possible on {' and '.join(possible)}" + (f"; Table 11 is {split}" if split else "")
    verdict: Verdict = "agrees" if possible == ["val"] and split in {None, "val"} else "unlike"
    return Finding(head.table, model, "MMMU: validation split?", head.printed, text, verdict)


def _subjects_split(model: str) -> str | None:
    """Table 11's split for a model: five questions a subject (development) print as multiples of 20."""
    cells = [cell for (_, metric), cell in paper.by_metric("11", model).items() if metric.partition("/")[2] in SUBJECTS]
    if not cells:
        return None
    return "dev" if all(float(cell.printed) % 20 == 0 for cell in cells) else "val"


def mmmu_disciplines() -> Iterator[Finding]:
    """A discipline is the mean of its subjects, as every subject has equally many questions."""
    for model in APPENDIX:
        cells = {metric.partition("/")[2]: cell for (_, metric), cell in paper.by_metric("11", model).items()}
        for discipline, subjects in DISCIPLINES.items():
            mean = sum(float(cells[subject].printed) for subject in subjects) / len(subjects)
            text = cells[discipline].printed
            check = f"{discipline}: mean of {len(subjects)} subjects"
            yield Finding("11", model, check, text, f"{mean:.2f}", near(mean, float(text), 0.75))
