"""The experiment from its plan to its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from benchmarks.errors import UserError

from .cross import look_again
from .overview import TrainedBudget, write_overview
from .packing import pack
from .plan import AblationPlan, budget_folders, check_plans, folder_of, read_plan, write_plan
from .results import write_results
from .rows import AblationRow
from .schedule import check_budget, jobs, measure_steps, records, run_jobs, start_worker


def carry_out(
    plans: Sequence[AblationPlan],
    *,
    rows: Sequence[AblationRow],
    num_seeds: int,
    budget: float | None,
    num_jobs: int,
    out: Path,
    cross: Sequence[str] = (),
    inside: str | None = None,
) -> Path:
    """Runs what fits and writes the results.

    Args:
        plans: one for each training budget.
        rows: what is compared.
        num_seeds: trainings of each row that does not say how many it has.
        budget: minutes; None: as long as it takes.
        num_jobs: trainings at once.
        out: folder of the experiment.
        cross: masks that models trained with one of them are measured under.
        inside: data on which finished models are looked at from inside; None: none is.

    Raises:
        UserError: another experiment is in the folder, not one row fits, a training failed, or nothing is done.
    """
    out = out.resolve()
    check_plans(out, plans)
    seconds = float("inf") if budget is None else 60 * budget
    wanted = list(jobs(plans, rows, num_seeds, out))
    if wanted and budget is not None and plans[0].is_toy:
        took = measure_steps(plans[0])
        own = {folder_of(out, plan): plan for plan in plans}
        wanted = [replace(job, cost=took.of(own[job.folder], job.row)) for job in wanted]
        check_budget(seconds, wanted)
    for plan in plans:
        write_plan(folder_of(out, plan), plan)
    own_seeds = {row.name: row.seeds_of(num_seeds) for row in rows}
    until = time.monotonic() + seconds
    left_out = run_jobs(wanted, budget=seconds, num_workers=num_jobs, start=start_worker(num_jobs), say=typer.echo)
    budgets = []
    for folder in budget_folders(out):
        plan = read_plan(folder)
        done = [each for each in records(folder) if each["seed"] < own_seeds.get(each["row"], num_seeds)]
        missing = [str(job) for job in left_out if job.folder == folder]
        if done and folder in {folder_of(out, each) for each in plans}:
            missing += look_again(
                folder, plan, done, rows, kinds=cross, inside=inside, num_workers=num_jobs, until=until
            )
        if done:
            budgets.append(TrainedBudget(folder, plan, done, missing))
    if not budgets:
        raise UserError(f"nothing is done in {out}: --budget was over before the first row was")
    for each in budgets:
        write_results(each.folder, each.report(out), each.plan, rows, each.done, each.missing)
    pack(out, [each.folder for each in budgets], out / "report")
    return write_overview(out, budgets, rows)
