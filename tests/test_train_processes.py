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
from train_helpers import assert_near, assert_same, parts, weights, write_root

HERE = Path(__file__).parent
WORKER = str(HERE / "train_worker.py")
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


def torchrun(processes: int) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]


def finish(command: list[str], *, fails: bool = False) -> None:
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode != 0) == fails, done.stderr[-3000:]


def result(out: Path, stage: str = "sft") -> dict[str, torch.Tensor]:
    return load_file(out / stage / "model" / "model.safetensors")


@pytest.mark.parametrize("flags", [[], ["fsdp"]], ids=["replicated", "fsdp"])
def test_two_processes_equal_one(flags: list[str], root: Path, alone: Path, tmp_path: Path) -> None:
    finish([*torchrun(2), WORKER, str(root), str(tmp_path), *flags])
    assert_near(result(alone), result(tmp_path), start=result(alone, "pretrain"))
    assert logged(tmp_path, "tokens") == logged(alone, "tokens")  # of all processes, not of the first
    assert all(0 <= share < 1 for share in logged(tmp_path, "waiting"))


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
    finish([*torchrun(2), WORKER, str(root), str(sharded), "bf16", "fsdp"])
    policies = json.loads((sharded / "sft" / "policies.json").read_text())
    fp32 = "'reduce_dtype': torch.float32, 'output_dtype': torch.float32, 'cast_forward_inputs': False"
    assert policies == [f"{{'param_dtype': None, {fp32}}}"]
    assert logged(sharded, "loss") == pytest.approx(logged(one, "loss"), rel=1e-6)
    assert logged(sharded, "grad_norm") == pytest.approx(logged(one, "grad_norm"), rel=1e-5)
    for name in ("validation_loss", "validation_loss/vqav2"):  # in the last pass one process has no sample left
        assert logged(sharded, name) == pytest.approx(logged(one, name), rel=1e-4)
        assert len(logged(one, name)) == 3  # before, after two steps, after the last
    assert logged(sharded, "answer/vqav2/0")[0] == logged(one, "answer/vqav2/0")[0]


def test_processes_without_a_picture_wait_for_nobody(root: Path, tmp_path: Path) -> None:
    """Every micro-batch of one sample, most of them text alone, gradients checkpointed."""
    one, two = tmp_path / "one", tmp_path / "two"
    finish([sys.executable, WORKER, str(root), str(one), "text"])
    finish([*torchrun(2), WORKER, str(root), str(two), "text"])
    assert logged(two, "loss") == pytest.approx(logged(one, "loss"), rel=1e-5)
    assert logged(two, "grad_norm") == pytest.approx(logged(one, "grad_norm"), rel=1e-4)


@pytest.fixture(scope="module")
def short(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("short")
    finish([sys.executable, WORKER, str(root), str(out), "short"])
    return out


def test_killed_runs_go_on_with_other_numbers_of_processes(root: Path, short: Path, tmp_path: Path) -> None:
    """One, then three that shard (four samples a step: one takes two), then two that do not."""
    finish([sys.executable, WORKER, str(root), str(tmp_path), "short", "die=1"], fails=True)
    finish([*torchrun(3), WORKER, str(root), str(tmp_path), "short", "fsdp", "die=2"], fails=True)
    assert (tmp_path / "sft" / "checkpoint-2" / "stage.json").exists()
    finish([*torchrun(2), WORKER, str(root), str(tmp_path), "short"])
    assert_near(result(short), result(tmp_path), start=weights(parts()[0]))
    entries = [json.loads(line) for line in (tmp_path / "sft" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == [1, 2, 3, 4]
    assert all({"learning_rate", "grad_norm", "tokens"} <= entry.keys() for entry in entries if "loss" in entry)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_told_to_stop_saves_and_ends_well(
    told: signal.Signals, root: Path, short: Path, tmp_path: Path
) -> None:
    command = [sys.executable, WORKER, str(root), str(tmp_path), "short"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while not (tmp_path / "sft" / "checkpoint-1" / "stage.json").exists():
        assert process.poll() is None, "the run ended before it could be told"
        time.sleep(0.005)
    process.send_signal(told)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0
    assert f"({told.name}) with a checkpoint" in said
    assert not (tmp_path / "sft" / "model").exists()
    finish(command)
    assert_same(result(short), result(tmp_path))
