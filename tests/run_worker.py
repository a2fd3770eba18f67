"""A process that runs the small benchmark with a slow scripted predictor: to be killed, and to be started by launchers.

    python run_worker.py TABLES RUN_DIR LOG [SECONDS_A_BATCH]

Every question asked is a line in LOG, on the disk before it is answered.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from run_helpers import TASK, ScriptedPredictor

from aki_eval.predictors import Generation
from aki_eval.run.progress import Progress
from aki_eval.run.run import RunOptions, run
from benchmarks.errors import UserError
from benchmarks.records import Prompt
from benchmarks.results import roll


class SlowPredictor(ScriptedPredictor):
    """Writes down what it is asked, then takes its time."""

    def __init__(self, log: Path, seconds: float) -> None:
        super().__init__()
        self.log = log
        self.seconds = seconds

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        with self.log.open("a") as file:
            file.write("".join(f"{prompt.index}\n" for prompt in prompts))
            file.flush()
            os.fsync(file.fileno())
        while self.log.with_name("hold").exists():
            time.sleep(0.01)
        time.sleep(self.seconds)
        if os.environ.get("DYING_RANK") == os.environ.get("RANK", "0") and len(self.batches) == 1:
            os._exit(9)
        return super().predict(prompts, max_new_tokens)


def on_another_host(name: str) -> None:
    """This process as if it ran there: its number says nothing here, and a heartbeat is all that is seen of it."""
    socket.gethostname = lambda: name
    roll._place.cache_clear()


def impatient(stale: float = 2.0) -> None:
    """A worker that takes another one for dead, and shows that it lives itself, thirty times as early."""
    roll.BEAT_SECONDS, roll.STALE_SECONDS, roll.POLL_SECONDS = stale / 20, stale, 0.1


def work(
    tables: Path,
    out: Path,
    log: Path,
    seconds: float,
    host: str | None = None,
    version: str = "1",
    dies_scoring: bool = False,
    **given: Any,
) -> None:
    """Ends the process: 0 complete, 1 incomplete, 2 refused, 9 dead, 130 stopped. Says `scored` if it was the one."""
    impatient()
    if host is not None:
        on_another_host(host)
    if dies_scoring:
        vars(sys.modules["aki_eval.run.run"])["score_inputs"] = lambda *_: os._exit(9)
    predictor = SlowPredictor(log, seconds)
    predictor.version = version
    chosen: dict[str, Any] = {"tasks": [TASK], "data": str(tables), "out": out, "batch_size": 4} | given
    options = RunOptions(**chosen)
    try:
        result = run(options, predictor, Progress(quiet=True))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    if result.scored:
        print("scored")
    sys.exit(0 if all(one.complete for one in result.results) else 1)


if __name__ == "__main__":
    tables, out, log = (Path(argument) for argument in sys.argv[1:4])
    work(tables, out, log, float(sys.argv[4]) if len(sys.argv) > 4 else 0.0, join="JOIN" in os.environ)
