"""What several training budgets say together: whether a row is ahead, and whether it is so at each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.files import write_atomically

from .plan import AblationPlan
from .results import BASES, mean_cell, share_right
from .rows import AblationRow
from .work import run_name


class Budget(NamedTuple):
    """A training budget with what was trained of it. `missing`: what there was no time for."""

    folder: Path
    plan: AblationPlan
    done: list[dict[str, Any]]
    missing: list[str]

    def report(self, out: Path) -> Path:
        return out / "report" / self.folder.name

    def of_row(self, row: str) -> list[dict[str, Any]]:
        return [each for each in self.done if each["row"] == row]


def write_overview(out: Path, budgets: Sequence[Budget], rows: Sequence[AblationRow]) -> Path:
    """`OUT/report/README.md` over the budgets' own reports; returns its path."""
    report = out / "report"
    parts = [
        "# Ablation of orders and masks\n",
        "A training budget is a number of fine-tuning steps; each has its own:\n",
    ]
    for each in budgets:
        link = f"{each.folder.name}/README.md"
        parts.append(f"- [{each.plan.sft_steps:,} steps]({link}): {_seeds(each, rows)}")
        if each.missing:
            parts.append(f"  - not done, for want of time: {', '.join(each.missing)}")
    parts += [
        "\n## Questions right, in per cent (tasks without a judge; mean ± standard deviation over seeds)\n",
        _table(budgets, rows, _right),
    ]
    if any(_skills(report, each) for each in budgets):
        parts += [
            f"\n## All of the toy's questions, minus {BASES[0]} (95 % interval: questions and seeds; ▲ ▼ p < 0.05)\n",
            _table(budgets, rows, lambda each, row: _pooled(report, each, row)),
        ]
    for base in BASES:
        wanted = [
            row for row in rows if row.name != base and any(_compared(report, each, row, base) for each in budgets)
        ]
        if wanted:
            parts += [
                f"\n## Against {base}: columns better and worse, after Holm's correction\n",
                _table(budgets, wanted, lambda each, row, base=base: _verdict(report, each, row, base)),
            ]
    parts += ["\n## Minutes of training, mean over seeds\n", _table(budgets, rows, _minutes)]
    path = report / "README.md"
    write_atomically(path, "\n".join(parts) + "\n")
    return path


def _seeds(budget: Budget, rows: Sequence[AblationRow]) -> str:
    counts: dict[int, list[str]] = {}
    for row in rows:
        if own := budget.of_row(row.name):
            counts.setdefault(len(own), []).append(row.name)
    return "; ".join(f"{num} seed{'s' if num > 1 else ''} of {', '.join(names)}" for num, names in counts.items())


def _table(budgets: Sequence[Budget], rows: Sequence[AblationRow], cell: Any) -> str:
    lines = [
        "| row | " + " | ".join(f"{each.plan.sft_steps:,} steps" for each in budgets) + " |",
        "|---|" + "---:|" * len(budgets),
    ]
    for row in rows:
        if any(each.of_row(row.name) for each in budgets):
            lines.append(f"| {row.title} | " + " | ".join(cell(each, row) for each in budgets) + " |")
    return "\n".join(lines)


def _right(budget: Budget, row: AblationRow) -> str:
    runs = [budget.folder / "runs" / run_name(row.name, each["seed"]) for each in budget.of_row(row.name)]
    return mean_cell([100 * share_right(run) for run in runs])


def _skills(report: Path, budget: Budget) -> dict[str, Any] | None:
    """The report's table of differences by skill; None where it has none."""
    path = report / budget.folder.name / "tables.json"
    tables = json.loads(path.read_text("utf-8"))["tables"] if path.is_file() else []
    return next((table for table in tables if table["key"] == "skill_differences"), None)


def _pooled(report: Path, budget: Budget, row: AblationRow) -> str:
    """Of all questions together, as the report has it."""
    table = _skills(report, budget) or {"columns": [], "rows": []}
    names = [column["label"] for column in table["columns"]]
    for label, cell in zip(names, table["rows"][-1]["cells"] if names else (), strict=True):
        own = label.partition(" (")[0].partition("-seed")[0]
        if own == row.name and cell["value"] is not None:
            bounds = f" ({cell['ci95_low']:+.1f} to {cell['ci95_high']:+.1f})" if cell["ci95_low"] is not None else ""
            return f"{cell['shown']}{bounds}"
    return "–"


def _minutes(budget: Budget, row: AblationRow) -> str:
    own = budget.of_row(row.name)
    return f"{mean(each['training_seconds'] for each in own) / 60:.1f}" if own else "–"


def _compared(report: Path, budget: Budget, row: AblationRow, base: str) -> Path | None:
    path = report / budget.folder.name / "compare" / f"{row.name}-minus-{base}" / "compare.json"
    return path if path.is_file() else None


def _verdict(report: Path, budget: Budget, row: AblationRow, base: str) -> str:
    path = _compared(report, budget, row, base)
    if path is None:
        return "–"
    columns = [each for each in json.loads(path.read_text("utf-8"))["metrics"] if each["is_column"]]
    better, worse = (list(_named(columns, sign)) for sign in (1, -1))
    tied = len(columns) - len(better) - len(worse)
    return "; ".join(
        [
            *([f"▲ {', '.join(better)}"] if better else []),
            *([f"▼ {', '.join(worse)}"] if worse else []),
            f"{tied} of {len(columns)} cannot be told apart",
        ]
    )


def _named(columns: Sequence[Mapping[str, Any]], sign: int) -> Iterator[str]:
    """Differences beyond noise of one sign, as `POPE +3.1`."""
    for each in columns:
        if each["significant"] and each["difference"] * sign > 0:
            yield f"{each['label']} {each['difference']:+.1f}"
