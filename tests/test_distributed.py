"""Several processes at one run, started by torchrun: sharing, deaths, resuming with another number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from predictor_helpers import write_checkpoint
from run_helpers import prompt, write_table

from aki_eval.run.distributed import World, find_world
from benchmarks.results.store import RunStore

WORKER = Path(__file__).with_name("run_worker.py")


def torchrun(tables: Path, processes: int, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [str(WORKER), str(tables), str(tables.parent / "run"), str(tables.parent / "log"), "0.02"]
    return subprocess.run(
        command + arguments, capture_output=True, text=True, env=os.environ | environment, timeout=120
    )


def test_processes_share_die_and_are_resumed_by_another_number_of_processes(tmp_path: Path) -> None:
    tables = write_table(tmp_path / "tables", rows=90)
    folder = RunStore(tmp_path / "run")

    died = torchrun(tables, 3, DYING_RANK="1")  # after two batches
    assert died.returncode != 0
    first = set(folder.predictions("small"))  # in a file a rank; in one, where rank 0 had time to merge them
    assert 0 < len(first) < 90
    assert len({int(index) % 3 for index in first}) >= 2  # each rank had the questions about one of three pictures

    done = torchrun(tables, 2)
    assert done.returncode == 0, done.stderr
    asked = Counter((tmp_path / "log").read_text().split())
    assert set(asked) == {str(index) for index in range(90)}
    assert asked.total() <= 90 + 4 * 3  # at most the batch in flight of each of the three processes that ended early
    assert [path.name for path in (folder.root / "small").glob("predictions*")] == ["predictions.jsonl"]
    metrics = json.loads((folder.root / "small/metrics.json").read_text())
    assert metrics["protocols"]["kit"]["overall"]["value"] == 100.0
    sessions = json.loads((folder.root / "run.json").read_text())["sessions"]
    assert [session["world_size"] for session in sessions] == [3, 2]


def test_when_rank_0_is_refused_the_others_do_not_wait(tmp_path: Path) -> None:
    tables = write_table(tmp_path / "tables")
    folder = RunStore(tmp_path / "run")
    folder.create()
    with folder.locked():
        refused = torchrun(tables, 2)
    assert refused.returncode != 0
    assert "another process is working" in refused.stderr
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_each_prompt_has_one_owner_and_a_picture_is_not_shared(size: int) -> None:
    prompts = [prompt(str(number), image=f"picture {number // 5}") for number in range(200)]
    shares = [World(rank=rank, size=size).shard(prompts) for rank in range(size)]
    assert sorted(int(one.index) for share in shares for one in share) == list(range(200))
    pictures = [{one.images[0].key for one in share} for share in shares]
    assert sum(len(own) for own in pictures) == len(set().union(*pictures))
    assert max(map(len, shares)) - min(map(len, shares)) <= 5


def test_the_world_comes_from_torchrun_or_from_a_slurm_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    assert find_world() == World()
    monkeypatch.setenv("SLURM_PROCID", "5")
    monkeypatch.setenv("SLURM_NTASKS", "8")  # set inside sbatch too, where only one process runs
    assert find_world() == World()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert find_world() == World(rank=5, size=8, local_rank=1)


def test_the_command_line_under_torchrun(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "model")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    arguments = ["run", "--bench", "pope,mm_vet", "--model", str(checkpoint), "--data", "toy", "--max-new-tokens", "4"]
    program = Path(sys.executable).with_name("aki-eval")
    done = subprocess.run(
        [*command, str(program), *arguments, "--out", str(tmp_path / "run")],
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
