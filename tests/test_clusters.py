"""The examples for clusters, carried out: scripts as they stand, real processes, launchers as far as they are at hand.

`aki-eval` is the small benchmark's worker here, which imports no torch. submitit and Ray are no dependencies: a Python
that has them is looked for in AKI_CLUSTER_PYTHON.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from run_helpers import write_table
from test_docs import why_it_would_not_run

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
ROWS = 60
PYTHON = os.environ.get("AKI_CLUSTER_PYTHON", sys.executable)

SRUN = """#!/usr/bin/env python3
import os, subprocess, sys
options = [word for word in sys.argv[1:] if sys.argv.index(word) < sys.argv.index("aki-eval")]
assert options == ["--kill-on-bad-exit=0"], options
number = int(os.environ["SLURM_NTASKS_PER_NODE"])
def start(rank):
    own = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_STEP_NUM_TASKS": number, "SLURM_STEP_ID": 0}
    return subprocess.Popen(sys.argv[1 + len(options):], env=os.environ | {key: str(own[key]) for key in own})
sys.exit(max(each.wait() for each in [start(rank) for rank in range(number)]))
"""
"""What Slurm's does, as far as a process can see it."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with programs, and the environment in which an example finds them."""
    write_table(tmp_path / "tables", rows=ROWS, pictures=20)
    programs = tmp_path / "bin"
    programs.mkdir()
    arguments = " ".join(shlex.quote(str(tmp_path / name)) for name in ("tables", "run", "log"))
    worker = f'echo "$@" >> {tmp_path}/calls\nexec {sys.executable} {ROOT}/tests/run_worker.py {arguments} 0.05'
    _write_program(programs / "aki-eval", f"#!/bin/bash\n[[ $* == *--join* ]] && export JOIN=1\n{worker}\n")
    _write_program(programs / "srun", SRUN)
    return tmp_path


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def carry_out(place: Path, *command: str, **variables: str) -> subprocess.Popen[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RANK", "WORLD_"))}
    environment = known | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "MODEL": "ckpt", "OUT": "run"} | variables
    return subprocess.Popen(
        command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def check(place: Path, num_calls: int) -> None:
    """Every question asked once, everything scored, and the command lines are ones that the real program takes."""
    asked = Counter((place / "log").read_text().split())
    assert asked == {str(index): 1 for index in range(ROWS)}
    assert json.loads((place / "run/small/metrics.json").read_text())["complete"]
    calls = (place / "calls").read_text().splitlines()
    assert len(calls) == num_calls
    assert {why_it_would_not_run(f"aki-eval {call}") for call in calls} == {None}
    (session,) = json.loads((place / "run/run.json").read_text())["sessions"]
    assert 1 <= len(session["workers"]) <= num_calls


def test_slurm_one_job(place: Path) -> None:
    with carry_out(place, "bash", str(EXAMPLES / "slurm.sbatch"), SLURM_JOB_ID="47", SLURM_NTASKS_PER_NODE="2") as job:
        said = job.communicate(timeout=60)[0]
    assert job.returncode == 0, said
    check(place, 2)
    assert said.split().count("scored") == 1


def test_slurm_array(place: Path) -> None:
    def start(task: int) -> subprocess.Popen[str]:
        own = {"SLURM_ARRAY_JOB_ID": "47", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": str(48 + task)}
        return carry_out(place, "bash", str(EXAMPLES / "slurm.sbatch"), **own, SLURM_NTASKS_PER_NODE="1")

    jobs = [start(task) for task in range(2)]
    said = [job.communicate(timeout=60)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    check(place, 2)
    assert sum("scored" in each.split() for each in said) == 1


def needs(package: str) -> pytest.MarkDecorator:
    found = subprocess.run([PYTHON, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0
    return pytest.mark.skipif(not found, reason=f"no {package}; AKI_CLUSTER_PYTHON may name a Python that has it")


@needs("submitit")
def test_submitit(place: Path) -> None:
    command = [PYTHON, str(EXAMPLES / "submitit_eval.py"), "2", "--bench", "all", "--model", "ckpt", "--out", "run"]
    with carry_out(place, *command, CLUSTER="local") as job:
        said = job.communicate(timeout=120)[0]
    assert job.returncode == 0, said
    check(place, 2)


@needs("ray")
def test_ray(place: Path) -> None:
    command = [PYTHON, str(EXAMPLES / "ray_eval.py"), "--bench", "all", "--model", "ckpt", "--out", "run"]
    with carry_out(place, *command) as job:
        said = job.communicate(timeout=300)[0]
    assert job.returncode == 0, said
    check(place, os.cpu_count() or 1)


def test_kubernetes_command_is_one_of_ours() -> None:
    job = yaml.safe_load((EXAMPLES / "kubernetes.yaml").read_text())["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert job["completionMode"] == "Indexed"
    assert why_it_would_not_run(shlex.join(container["command"])) is None
