"""How a run grows: with 1, 4 and 16 times the questions, and with 1, 4 and 16 workers at them.

    python tests/bench/scaling.py

The model is one that answers at once (first table: what the harness itself costs, in CPU time, which a busy machine
disturbs least, and the memory of the process) or takes a fixed time a batch while the processor is free, as a GPU does
(second table: the time by the clock beside the best that so many workers could do). Workers are counted from the moment
at which all stand ready until the last answer is stored: neither starting Python nor scoring is among it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from run_helpers import TASK, ScriptedPredictor, write_table  # noqa: E402

from aki_eval.run.progress import Progress  # noqa: E402
from aki_eval.run.run import RunOptions, run  # noqa: E402


def alone(tables: Path, out: Path) -> None:
    """In a process of its own: prints CPU seconds of the run and the process's peak memory."""
    start = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run(RunOptions(tasks=[TASK], data=str(tables), out=out), ScriptedPredictor(), Progress(quiet=True))
    assert result.results[0].complete
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"cpu": time.process_time() - start, "peak": peak / 1024, "imports": before / 1024}))


def together(tables: Path, out: Path, workers: int, seconds: float) -> float:
    """Seconds from the first question until the last chunk is done."""
    arguments = [
        sys.executable,
        str(TESTS / "run_worker.py"),
        str(tables),
        str(out),
        str(out.parent / "log"),
        str(seconds),
    ]
    out.parent.mkdir()
    hold = out.parent / "hold"
    hold.touch()
    processes = [subprocess.Popen(arguments, env=os.environ | {"JOIN": "1"}) for _ in range(workers)]
    while len(list((out / ".workers/1").glob("[0-9]*"))) < workers:
        time.sleep(0.05)
    time.sleep(1.0)
    hold.unlink()
    start = time.time()
    codes = [process.wait() for process in processes]
    assert set(codes) == {0}, codes
    return max(claim.stat().st_mtime for claim in (out / ".workers/1/claims").iterdir()) - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=0.4, help="A batch of four questions takes them.")
    parser.add_argument("--questions", type=int, default=160, help="For each worker.")
    parser.add_argument("--alone", nargs=2, type=Path)
    given = parser.parse_args()
    if given.alone:
        alone(*given.alone)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        first = None
        for factor in (1, 4, 16):
            rows = factor * given.rows
            tables = write_table(root / f"tables{factor}", rows=rows, pictures=rows // 4)
            command = [sys.executable, __file__, "--alone", str(tables), str(root / f"run{factor}")]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            first = first or found
            print(
                f"{rows:6} questions: {found['cpu']:6.2f} s of CPU, {1000 * found['cpu'] / rows:.2f} ms each, "
                f"{found['cpu'] / first['cpu'] / factor:.2f} of proportional; "
                f"{found['peak'] - found['imports']:.0f} MB beyond imports"
            )
        for workers in (1, 4, 16):
            rows = workers * given.questions
            tables = write_table(root / f"tables of {workers}", rows=rows, pictures=rows // 4)
            taken = together(tables, root / f"team{workers}" / "run", workers, given.seconds)
            best = given.questions / 4 * given.seconds
            compared = f"the best possible {best:.1f} s, {taken / best:.2f} times that"
            print(f"{workers:3} workers, {rows:5} questions: {taken:6.1f} s, {compared}")


if __name__ == "__main__":
    main()
