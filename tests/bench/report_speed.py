"""How long reports take on a run of 30,000 stored samples: all tables in four formats, and the HTML report.

    python tests/bench/report_speed.py [SCRATCH_FOLDER]

Seen on two CPU cores: 0.1 s and 1.5 s (0.5 s with the start of Python; 5 s with 24,000 pictures copied). The aims are
3 s for all tables and 30 s for the HTML report.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from reports_helpers import all_metrics, write_lines, write_run

from benchmarks.tasks import TASKS
from reports.cli import make_plan
from reports.formats import Output, produce
from reports.pages import write_site
from reports.paper_tables import all_tables

SAMPLES_PER_TASK = 3000


def write_big_run(path: Path, seed: int) -> Path:
    """A run folder with scores and predictions of every task; samples in clusters of two."""
    rng = random.Random(seed)
    write_run(path, all_metrics())
    for name, task in TASKS.items():
        groups = [[metric] for metric in all_metrics()[name] if "/" in metric] or [[]]
        scores, predictions = [], []
        for index in range(SAMPLES_PER_TASK):
            value = float(rng.random() < 0.6)
            fields = {"index": str(index), "cluster": str(index // 2), "target": "A", "answer": "A" if value else "B"}
            own = {"protocol": task.headline, "value": value, "groups": groups[index // 2 % len(groups)]}
            scores.append(
                {**fields, **own, "reason": None, "parts": {"reference": 1.0} if name == "llava_bench" else {}}
            )
            predictions.append(
                {"index": str(index), "prompt": "<image>\nWhich one is it? " * 5, "prediction": "A", "error": None}
            )
        write_lines(path / name / "scores.jsonl", scores)
        write_lines(path / name / "predictions.jsonl", predictions)
    return path


def timed(what: str, work: Callable[[], object]) -> None:
    start = time.perf_counter()
    work()
    print(f"{what}: {time.perf_counter() - start:.1f} s")


def main(scratch: Path) -> None:
    first = write_big_run(scratch / "first", 1)

    def tables() -> None:
        plan = make_plan([first], None, "aki_4b")
        for name in ("md", "tex", "csv", "json"):
            produce(name, all_tables(plan), plan, Output(scratch / "out"))

    timed("all tables of one run, four formats", tables)
    timed("HTML report of one run", lambda: write_site(make_plan([first], None, "aki_4b"), scratch / "html"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
