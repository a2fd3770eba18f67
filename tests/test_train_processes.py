"""Several processes train what one does; a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from train_helpers import assert_near, assert_same, write_root

HERE = Path(__file__).parent
WORKER = str(HERE / "train_worker.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
    "CUDA_VISIBLE_DEVICES": "",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def alone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that nobody disturbed."""
    out = tmp_path_factory.mktemp("alone")
    finish([sys.executable, WORKER, str(root), str(out)])
    return out


def finish(command: list[str]) -> None:
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def result(out: Path, stage: str = "sft") -> dict[str, torch.Tensor]:
    return load_file(out / stage / "model" / "model.safetensors")


@pytest.mark.parametrize("flags", [[], ["fsdp"]], ids=["replicated", "fsdp"])
def test_two_processes_equal_one(flags: list[str], root: Path, alone: Path, tmp_path: Path) -> None:
    finish([*TORCHRUN, WORKER, str(root), str(tmp_path), *flags])
    assert_near(result(alone), result(tmp_path), start=result(alone, "pretrain"))


@pytest.mark.parametrize("moment", ["pretrain/checkpoint-2", "sft/checkpoint-3"])
def test_killed_and_started_again_equals_undisturbed(moment: str, root: Path, alone: Path, tmp_path: Path) -> None:
    command = [sys.executable, WORKER, str(root), str(tmp_path)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / moment).exists():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "sft" / "model" / "stage.json").exists()
    finish(command)
    assert_same(result(alone), result(tmp_path))


def logged(out: Path, name: str) -> list[float]:
    return [entry[name] for entry in json.loads((out / "sft" / "log.json").read_text()) if name in entry]


def test_sharding_leaves_precision_to_autocast(root: Path, tmp_path: Path) -> None:
    """accelerate's own policy sums gradients and keeps the residual stream in bf16: losses 1e-3 beside these."""
    one, sharded = tmp_path / "one", tmp_path / "sharded"
    finish([sys.executable, WORKER, str(root), str(one), "bf16"])
    finish([*TORCHRUN, WORKER, str(root), str(sharded), "bf16", "fsdp"])
    policies = json.loads((sharded / "sft" / "policies.json").read_text())
    fp32 = "'reduce_dtype': torch.float32, 'output_dtype': torch.float32, 'cast_forward_inputs': False"
    assert policies == [f"{{'param_dtype': None, {fp32}}}"]
    assert logged(sharded, "loss") == pytest.approx(logged(one, "loss"), rel=1e-6)
    assert logged(sharded, "grad_norm") == pytest.approx(logged(one, "grad_norm"), rel=1e-5)


def test_processes_without_a_picture_wait_for_nobody(root: Path, tmp_path: Path) -> None:
    """Every micro-batch of one sample, most of them text alone, gradients checkpointed."""
    one, two = tmp_path / "one", tmp_path / "two"
    finish([sys.executable, WORKER, str(root), str(one), "text"])
    finish([*TORCHRUN, WORKER, str(root), str(two), "text"])
    assert logged(two, "loss") == pytest.approx(logged(one, "loss"), rel=1e-5)
    assert logged(two, "grad_norm") == pytest.approx(logged(one, "grad_norm"), rel=1e-4)
