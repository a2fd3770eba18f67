"""Several processes at one run, started by torchrun: deaths, resuming with another number. More in test_workers.py."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

from predictor_helpers import write_checkpoint
from run_helpers import write_table

from benchmarks.results.store import RunStore

WORKER = Path(__file__).with_name("run_worker.py")


def torchrun(
    warm: Path, tables: Path, processes: int, seconds: float, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [warm / "python", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [str(WORKER), str(tables), str(tables.parent / "run"), str(tables.parent / "log"), str(seconds)]
    return subprocess.run(
        command + arguments, capture_output=True, text=True, env=os.environ | environment, timeout=120
    )


def test_processes_share_die_and_are_resumed_by_another_number_of_processes(warm: Path, tmp_path: Path) -> None:
    tables = write_table(tmp_path / "tables", rows=90, pictures=30)
    folder = RunStore(tmp_path / "run")

    died = torchrun(warm, tables, 3, 0.4, DYING_RANK="1")  # in its second batch
    assert died.returncode != 0
    first = set(folder.predictions("small"))
    assert 0 < len(first) < 90
    assert len(list((folder.root / "small").glob("predictions.*-*.jsonl"))) >= 2, "each rank has a file of its own"

    done = torchrun(warm, tables, 2, 0.1)
    assert done.returncode == 0, done.stderr
    asked = Counter((tmp_path / "log").read_text().split())
    assert set(asked) == {str(index) for index in range(90)}
    assert asked.total() <= 90 + 4 * 3  # at most the batch in flight of each of the three processes that ended early
    assert [path.name for path in (folder.root / "small").glob("predictions*")] == ["predictions.jsonl"]
    metrics = json.loads((folder.root / "small/metrics.json").read_text())
    assert metrics["protocols"]["kit"]["overall"]["value"] == 100.0
    sessions = json.loads((folder.root / "run.json").read_text())["sessions"]
    assert [session["world_size"] for session in sessions] == [3, 2]


def test_the_command_line_under_torchrun(warm: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model")
    command = [warm / "python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    arguments = ["run", "--bench", "pope,mm_vet", "--model", str(checkpoint), "--data", "toy", "--max-new-tokens", "4"]
    done = subprocess.run(
        [*command, warm / "aki-eval", *arguments, "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("95 % interval") == 1, "only one process speaks"
    session = json.loads((tmp_path / "run/run.json").read_text())["sessions"][0]
    assert session["world_size"] == 2
    assert session["num_predicted"] == {"pope": 286, "mm_vet": 104}
    assert json.loads((tmp_path / "run/pope/metrics.json").read_text())["complete"] is True
