"""`python -m train.ablation.work FOLDER ROW SEED`: trains one row with one seed and has it measured.

FOLDER is a training budget's (what is trained on the toy lies beside it, as budgets share their first stages):

FOLDER/runs/ROW-seedK             the finished model on everything that is asked
FOLDER/curves/ROW-seedK/stepN     models along the way, and the finished one, on the curve's subset
FOLDER/cross/ROW-as-KIND-seedK    the finished model under another mask than its own (`cross.py`)
FOLDER/done/ROW-seedK.json        what it cost; written last
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.command_line import complain
from benchmarks.cores import cores
from benchmarks.errors import UserError
from benchmarks.files import write_atomically

from .plan import AblationPlan, read_plan
from .rows import AblationRow, choose_rows
from .training import train_row

TOY_LAYERS = 3


def run_name(row: str, seed: int) -> str:
    return f"{row}-seed{seed}"


def record_path(out: Path, row: str, seed: int) -> Path:
    return out / "done" / f"{run_name(row, seed)}.json"


def environment(num_workers: int) -> dict[str, str]:
    """Of one of so many processes: side by side each computes with its share of the cores."""
    own = dict(os.environ)
    if num_workers > 1:
        own.setdefault("OMP_NUM_THREADS", str(max(1, cores() // num_workers)))
    return own


def aki_eval(*arguments: str, num_workers: int = 1) -> None:
    """Calls the command beside this Python, as one of `num_workers`.

    Raises:
        UserError: it ended with an error; its own line is above.
    """
    program = str(Path(sys.executable).with_name("aki-eval"))
    own = environment(num_workers)
    done = subprocess.run([program, *arguments], check=False, stdout=subprocess.DEVNULL, env=own)
    if done.returncode:
        raise UserError(f"aki-eval {' '.join(arguments[:1])} ended with code {done.returncode}; its reason is above")


def work(out: Path, row: AblationRow, seed: int) -> dict[str, Any]:
    """Trains and measures; returns what it cost, which is also written down."""
    plan = read_plan(out)
    trained = train_row(plan, row, seed, out)
    began = time.perf_counter()
    name = run_name(row.name, seed)
    measure(plan, trained.points[-1].model, out / "runs" / name, plan.subset)
    curve = [{"steps": point.steps, "run": str(point.model.relative_to(out))} for point in trained.evaluated]
    for point in trained.points if plan.points and plan.is_toy else ():
        run = out / "curves" / name / f"step{point.steps}"
        if point is trained.points[-1] and plan.subset == plan.curve_subset and plan.curve_bench is None:
            run = out / "runs" / name
        else:
            measure(replace(plan, bench=plan.curve_bench or plan.bench), point.model, run, plan.curve_subset)
        curve.append({"steps": point.steps, "run": str(run.relative_to(out))})
    record = {
        "row": row.name,
        "title": row.title,
        "seed": seed,
        "training_seconds": trained.seconds,
        "evaluation_seconds": round(time.perf_counter() - began, 2),
        "steps": trained.steps,
        "samples": trained.samples,
        "model": os.path.relpath(trained.points[-1].model, out),
        "curve": curve,
    }
    path = record_path(out, row.name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(record, indent=1) + "\n")
    return record


def measure(plan: AblationPlan, model: Path, run: Path, subset: str | None, *more: str, num_workers: int = 1) -> None:
    """`aki-eval run`, which goes on where it was cut off, as one of `num_workers`. `more`: further options of it.

    Raises:
        UserError: it left no run.
    """
    aki_eval(
        "run",
        "--model",
        str(model),
        "--out",
        str(run),
        *evaluation_options(plan, subset),
        *more,
        num_workers=num_workers,
    )
    if not (run / "run.json").is_file():
        shutil.rmtree(run, ignore_errors=True)
        raise UserError(f"aki-eval left no run in {run}")


def evaluation_options(plan: AblationPlan, subset: str | None) -> list[str]:
    """Of `aki-eval run`, but for the model and the run folder."""
    options = ["--judge", plan.judge] if plan.judge is not None else []
    options += ["--subset", subset] if subset is not None else []
    options += ["--device", "cpu", "--offline"] if plan.is_toy else []
    return ["--bench", plan.bench, "--data", plan.evaluation, "--allow-partial", *options]


def main(arguments: Sequence[str]) -> int:
    """One line on stderr for what a user can fix, and exit code 2."""
    from ..toy.arithmetic import choose_kernels

    choose_kernels()
    out, row, seed = arguments
    try:
        layers = TOY_LAYERS if read_plan(Path(out)).is_toy else layers_of_recipes()
        work(Path(out), choose_rows(row, layers)[0], int(seed))
    except UserError as error:
        complain("aki-train", str(error))
        return 2
    return 0


def layers_of_recipes() -> int:
    """Of the text backbone that the paper's recipes train (Phi-3.5-mini)."""
    from model.published.facts import PHI_3_5

    return int(PHI_3_5["num_hidden_layers"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
