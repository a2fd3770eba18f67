"""Which trainings fit into the time there is, and running them side by side.

Seed by seed, all rows of one before the next: whenever the time is over, the rows have as many seeds each as there can
be, and the same ones. What was finished by an earlier start is not done again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.errors import UserError

from .plan import AblationPlan, folder_of
from .rows import AblationRow
from .work import environment, record_path

EVALUATION_SECONDS = 90.0
"""Of ten tasks of the toy world and a curve, on a core; a guess until the first row has been measured."""


TOWER = 30
"""Steps of the vision tower that are timed: one takes hundredths of a second."""


@dataclass(frozen=True)
class Job:
    """One training with its measuring. `folder`: of its training budget; `cost`: estimated seconds, 0 if not known."""

    row: AblationRow
    seed: int
    folder: Path
    cost: float = 0.0

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}, {self.folder.name}"


@dataclass(frozen=True)
class StepSeconds:
    """What a step takes on this machine now, and what a stage takes before its first."""

    vision: float
    pretrain: float
    sft: float
    setup: float
    start: float = 0.0
    """What the vision tower takes before its first step: its pictures are drawn."""

    def of(self, plan: AblationPlan, row: AblationRow) -> float:
        """A row's training and measuring, from nothing."""
        steps = {"pretrain": plan.toy.caption_steps, "sft": plan.toy.sft_steps}
        stages = sum(self.setup + getattr(self, s.kind) * steps[s.kind] * s.share for s in row.stages)
        return float(self.start + self.vision * plan.toy.vision_steps + stages + EVALUATION_SECONDS)


def measure_steps(plan: AblationPlan) -> StepSeconds:
    """A few steps of each kind, a quarter of a minute on a free core."""
    from ..machine import Machine
    from ..run_stage import run_stage
    from ..toy import arithmetic
    from ..toy.build import caption_stage, sft_stage, untrained
    from ..toy.prepared import ensure_training_data

    few, more = 2, 6
    root = ensure_training_data(plan.toy)
    with TemporaryDirectory(prefix="aki-ablation-") as scratch, arithmetic.fixed():
        folder = Path(scratch)

        def took(do: Callable[[], Any]) -> float:
            began = time.perf_counter()
            do()
            return time.perf_counter() - began

        alone = took(lambda: untrained(replace(plan.toy, vision_steps=1), 0, folder))
        longer = took(lambda: untrained(replace(plan.toy, vision_steps=1 + TOWER), 0, folder))
        vision = max(1e-3, (longer - alone) / TOWER)
        model, processor, _ = untrained(replace(plan.toy, vision_steps=1), 0, folder)

        def stage(make: Any, steps: int, micro_batch: int) -> float:
            toy = replace(plan.toy, caption_steps=steps, sft_steps=steps)
            machine = Machine(micro_batch=micro_batch, cpu=True)
            return took(
                lambda: run_stage(make(toy, 0), model, processor, data_root=root, out=folder / "x", machine=machine)
            )

        times = {
            make: [stage(make, num, size) for num in (few, more)]
            for make, size in ((caption_stage, 32), (sft_stage, 16))
        }
    each = {make: max(1e-3, (long - short) / (more - few)) for make, (short, long) in times.items()}
    setup = max(0.0, max(short - few * each[make] for make, (short, _) in times.items()))
    return StepSeconds(vision=vision, pretrain=each[caption_stage], sft=each[sft_stage], setup=setup, start=alone)


def jobs(plans: Sequence[AblationPlan], rows: Sequence[AblationRow], num_seeds: int, out: Path) -> Iterator[Job]:
    """What is still to do, in order. `num_seeds`: of rows that do not say how many they have."""
    for seed in range(max(row.seeds_of(num_seeds) for row in rows)):
        for folder in dict.fromkeys(folder_of(out, plan) for plan in plans):
            for row in rows:
                if seed < row.seeds_of(num_seeds) and not record_path(folder, row.name, seed).exists():
                    yield Job(row, seed, folder)


def check_budget(budget: float, wanted: Sequence[Job]) -> None:
    """Raises UserError when not even the cheapest row fits into `budget` seconds."""
    least = min(wanted, key=lambda job: job.cost)
    if least.cost > budget:
        raise UserError(
            f"--budget {budget / 60:g}: the cheapest row, {least.row.name}, takes about {least.cost / 60:.1f} minutes "
            "here; give more, or fewer --steps"
        )


Start = Callable[[Job], "subprocess.Popen[Any]"]


def run_jobs(
    wanted: Sequence[Job],
    *,
    budget: float,
    num_workers: int,
    start: Start,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    pause: float = 0.5,
) -> list[Job]:
    """Runs what fits and returns what did not. A job is begun when its estimate fits into the time that is left.

    Args:
        wanted: in the order in which they are begun. Their costs are corrected by what jobs really take; of those
            whose cost is not known each is begun while there is time.
        num_workers: jobs at once.
        start: begins a job and returns its process.
        say: takes a line for people.
        clock: seconds.
        pause: seconds between looks at what runs.
        budget: seconds.

    Raises:
        UserError: a job failed; the others are ended, and what they have done is on disk.
    """
    began, pending, left_out = clock(), list(wanted), []
    running: dict[subprocess.Popen[Any], tuple[Job, float]] = {}
    factor = 1.0
    try:
        while pending or running:
            while pending and len(running) < num_workers:
                job = pending.pop(0)
                if clock() - began + factor * job.cost > budget:
                    left_out.append(job)
                    continue
                say(f"{job}: begun after {(clock() - began) / 60:.1f} minutes")
                running[start(job)] = (job, clock())
            ended = [process for process in running if process.poll() is not None]
            for process in ended:
                job, since = running.pop(process)
                if process.returncode:
                    raise UserError(f"{job}: ended with code {process.returncode}; see above")
                say(f"{job}: done in {(clock() - since) / 60:.1f} minutes")
                if job.cost:
                    factor = max(factor if factor != 1.0 else 0.0, (clock() - since) / job.cost)
            if running and not ended:
                time.sleep(pause)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
    return left_out


def start_worker(num_workers: int) -> Start:
    """Workers of their own; side by side each computes with its share of the cores."""

    def start(job: Job) -> subprocess.Popen[Any]:
        command = [sys.executable, "-P", "-m", "train.ablation.work", str(job.folder), job.row.name, str(job.seed)]
        return subprocess.Popen(command, env=environment(num_workers))

    return start


def records(folder: Path) -> list[dict[str, Any]]:
    """What is done of a training budget, as the workers wrote it down, the seeds in order."""
    found = [json.loads(path.read_text("utf-8")) for path in (folder / "done").glob("*.json")]
    return sorted(found, key=lambda each: (each["row"], each["seed"]))
