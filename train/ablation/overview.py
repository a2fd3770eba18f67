"""What several training budgets say together: whether a row is ahead, and whether it is so at each of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.files import write_atomically

from .learning_curves import LearningCurve, draw
from .plan import AblationPlan
from .results import BASES, SKILLS, mean_cell, share_right
from .rows import AblationRow
from .work import run_name


class TrainedBudget(NamedTuple):
    """A training budget with what was trained of it. `missing`: what there was no time for."""

    folder: Path
    plan: AblationPlan
    done: list[dict[str, Any]]
    missing: list[str]

    def report(self, out: Path) -> Path:
        return out / "report" / self.folder.name

    def of_row(self, row: str) -> list[dict[str, Any]]:
        return [each for each in self.done if each["row"] == row]


Cell = Callable[[TrainedBudget, AblationRow], str]
"""What a table says of a row at a budget."""


def write_overview(out: Path, budgets: Sequence[TrainedBudget], rows: Sequence[AblationRow]) -> Path:
    """`OUT/report/README.md` over the budgets' own reports; returns its path."""
    report = out / "report"
    parts = [
        "# Ablation of orders and masks\n",
        "A training budget is a number of fine-tuning steps; each has its own report. What every question was worth in "
        "every run is in [runs.tar.xz](runs.tar.xz), to be compared again by `aki-eval compare`.\n",
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
    for base in BASES:
        found = {
            (each.folder, row.name): _metrics(path)
            for each in budgets
            for row in rows
            if row.name != base and (path := _compared(report, each, row, base))
        }
        wanted = [row for row in rows if any((each.folder, row.name) in found for each in budgets)]
        if skills := {place: text for place, metrics in found.items() if (text := _skills(metrics))}:
            parts += [
                f"\n## All skills minus {base}: points, 95 % interval, p before correction\n",
                _table(budgets, wanted, _looked_up(skills)),
            ]
        if found:
            parts += [
                f"\n## Against {base}: columns better and worse, after Holm's correction\n",
                _table(budgets, wanted, _looked_up({place: _verdict(metrics) for place, metrics in found.items()})),
            ]
    if _draw_curves(report, budgets, rows):
        parts.append("\n## Score against training steps, all budgets\n\n![Learning curves](curves.png)")
    parts += ["\n## Minutes of training, mean over seeds\n", _table(budgets, rows, _minutes)]
    path = report / "README.md"
    write_atomically(path, "\n".join(parts) + "\n")
    return path


def _seeds(budget: TrainedBudget, rows: Sequence[AblationRow]) -> str:
    counts: dict[int, list[str]] = {}
    for row in rows:
        if own := budget.of_row(row.name):
            counts.setdefault(len(own), []).append(row.name)
    return "; ".join(f"{num} seed{'s' if num > 1 else ''} of {', '.join(names)}" for num, names in counts.items())


def _table(budgets: Sequence[TrainedBudget], rows: Sequence[AblationRow], cell: Cell) -> str:
    lines = [
        "| row | " + " | ".join(f"{each.plan.sft_steps:,} steps" for each in budgets) + " |",
        "|---|" + "---:|" * len(budgets),
    ]
    for row in rows:
        if any(each.of_row(row.name) for each in budgets):
            lines.append(f"| {row.title} | " + " | ".join(cell(each, row) for each in budgets) + " |")
    return "\n".join(lines)


def _right(budget: TrainedBudget, row: AblationRow) -> str:
    runs = [budget.folder / "runs" / run_name(row.name, each["seed"]) for each in budget.of_row(row.name)]
    return mean_cell([100 * share_right(run) for run in runs])


def _minutes(budget: TrainedBudget, row: AblationRow) -> str:
    own = budget.of_row(row.name)
    return f"{mean(each['training_seconds'] for each in own) / 60:.1f}" if own else "–"


def _compared(report: Path, budget: TrainedBudget, row: AblationRow, base: str) -> Path | None:
    path = report / budget.folder.name / "compare" / f"{row.name}-minus-{base}" / "compare.json"
    return path if path.is_file() else None


def _looked_up(cells: Mapping[tuple[Path, str], str]) -> Cell:
    """Cells by a budget's folder and a row's name; what is not there is a dash."""
    return lambda budget, row: cells.get((budget.folder, row.name), "–")


def _verdict(metrics: Sequence[Mapping[str, Any]]) -> str:
    columns = [each for each in metrics if each["is_column"]]
    better, worse = (list(_named(columns, sign)) for sign in (1, -1))
    untested = sum(each["p"] is None for each in columns)
    tied = len(columns) - len(better) - len(worse) - untested
    return "; ".join(
        [
            *([f"▲ {', '.join(better)}"] if better else []),
            *([f"▼ {', '.join(worse)}"] if worse else []),
            f"{tied} of {len(columns)} cannot be told apart",
            *([f"{untested} cannot be compared"] if untested else []),
        ]
    )


def _skills(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    """The difference over the table of skills with its interval and p; None where it was not asked or not tested."""
    for each in metrics:
        if (each["task"], each["metric"]) == (SKILLS, "overall") and each["p"] is not None:
            low, high = each["ci95"]
            return f"{each['difference']:+.1f} ({low:+.1f} to {high:+.1f}), p {each['p']:.3f}"
    return None


def _metrics(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["metrics"]
    return found


def _named(columns: Sequence[Mapping[str, Any]], sign: int) -> Iterator[str]:
    """Differences beyond noise of one sign, as `POPE +3.1`."""
    for each in columns:
        if each["significant"] and each["difference"] * sign > 0:
            yield f"{each['label']} {each['difference']:+.1f}"


STYLES = ("-", "--", ":", "-.")
"""Of lines, by budget."""


def _draw_curves(report: Path, budgets: Sequence[TrainedBudget], rows: Sequence[AblationRow]) -> bool:
    """`curves.png`: means over seeds, a colour for each row, a kind of line for each budget. False without any."""
    found = [(each, report / each.folder.name / "curves.json") for each in budgets]
    known = [(each, json.loads(path.read_text("utf-8"))) for each, path in found if path.is_file()]
    if not known:
        return False
    curves = [
        LearningCurve(f"{row.name}, {budget.plan.sft_steps:,} steps", seeds.get(row.name, {}), f"C{place % 10}", style)
        for style, (budget, seeds) in zip(cycle(STYLES), known, strict=False)
        for place, row in enumerate(rows)
    ]
    draw(report / "curves.png", curves, height=5.5, font_size=6, marker_size=3)
    return True
