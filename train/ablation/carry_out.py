"""The experiment from its plan to its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from benchmarks.errors import UserError

from .plan import AblationPlan
from .results import write_results
from .rows import AblationRow
from .schedule import check_budget, jobs, measure_steps, records, run_jobs, start_worker


def carry_out(
    plan: AblationPlan, *, rows: Sequence[AblationRow], num_seeds: int, budget: float | None, num_jobs: int, out: Path
) -> Path:
    """Runs what fits and writes the results.

    Raises:
        UserError: not one row fits, a training failed, or nothing is done.
    """
    out = out.resolve()
    wanted = list(jobs(rows, num_seeds, out))
    seconds = float("inf") if budget is None else 60 * budget
    costs: dict[str, float] = {}
    if wanted and budget is not None and plan.is_toy:
        each = measure_steps(plan)
        costs = {row.name: each.of(plan, row) for row in rows}
        check_budget(seconds, {job.row.name: costs[job.row.name] for job in wanted})
    left_out = run_jobs(
        wanted, costs, budget=seconds, num_workers=num_jobs, start=start_worker(out, num_jobs), say=typer.echo
    )
    done = [each for each in records(out) if each["seed"] < num_seeds]
    if not done:
        raise UserError(f"nothing is done in {out}: --budget was over before the first row was")
    return write_results(out, plan, rows, done, [f"{job.row.name} seed {job.seed}" for job in left_out])
