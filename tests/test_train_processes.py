"""Several processes train what one does; a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
import train_worker
from forked import forking
from safetensors.torch import load_file
from train_helpers import assert_near, assert_same, parts, weights, write_root

from train.run_recipe import load_parts
from train.weights import INDEX, read_weights

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
    run(1, root, out)
    return out


def work(place: dict[str, str], log: Path, arguments: list[str]) -> None:
    """One process of a training, as its launcher would have started it."""
    os.environ.update(place)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)
    train_worker.main(*arguments)


def start(processes: int, log: Path, *arguments: object) -> list[BaseProcess]:
    context = forking()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    started = []
    for rank in map(str, range(processes)):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": str(processes), **meeting} if processes > 1 else {}
        started.append(context.Process(target=work, args=(place, log, list(map(str, arguments)))))
        started[-1].start()
    return started


def run(processes: int, root: Path, out: Path, *flags: str, fails: bool = False) -> None:
    """To the end of all; where one dies, the others, which would wait for it, are killed as torchrun does."""
    out.mkdir(parents=True, exist_ok=True)
    started = start(processes, out / "output", root, out, *flags)
    while any(one.is_alive() for one in started):
        if any(one.exitcode for one in started):
            for one in started:
                one.kill()
        time.sleep(0.01)
    codes = [one.exitcode for one in started]
    assert any(codes) == fails, f"exit codes {codes}: {(out / 'output').read_text()[-3000:]}"


def torchrun(warm: Path, processes: int, *arguments: object) -> None:
    command = [warm / "python", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, WORKER, *map(str, arguments)], env=ENVIRONMENT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]


def result(out: Path, stage: str = "sft") -> dict[str, torch.Tensor]:
    return read_weights(out / stage / "model")


@pytest.mark.parametrize("flags", [[], ["fsdp"]], ids=["replicated", "fsdp"])
def test_two_processes_equal_one(flags: list[str], root: Path, alone: Path, warm: Path, tmp_path: Path) -> None:
    """The plain ones under torchrun itself."""
    if flags:
        run(2, root, tmp_path, *flags)
    else:
        torchrun(warm, 2, root, tmp_path)
    assert_near(result(alone), result(tmp_path), start=result(alone, "pretrain"))
    assert logged(tmp_path, "tokens") == logged(alone, "tokens")  # of all processes, not of the first
    assert logged(tmp_path, "grad_norm") == pytest.approx(logged(alone, "grad_norm"), rel=1e-5)
    assert all(0 <= share < 1 for share in logged(tmp_path, "waiting"))


@pytest.mark.parametrize("moment", ["pretrain/checkpoint-2", "sft/checkpoint-3"])
def test_killed_and_started_again_equals_undisturbed(moment: str, root: Path, alone: Path, tmp_path: Path) -> None:
    (process,) = start(1, tmp_path / "output", root, tmp_path)
    while not (tmp_path / moment).exists():
        assert process.is_alive(), "the run ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not (tmp_path / "sft" / "model" / "stage.json").exists()
    run(1, root, tmp_path)
    assert_same(result(alone), result(tmp_path))


def logged(out: Path, name: str) -> list[float]:
    return [entry[name] for entry in json.loads((out / "sft" / "log.json").read_text()) if name in entry]


def test_sharding_leaves_precision_to_autocast(root: Path, tmp_path: Path) -> None:
    """accelerate's own policy sums gradients and keeps the residual stream in bf16: losses 1e-3 beside these."""
    one, sharded = tmp_path / "one", tmp_path / "sharded"
    run(1, root, one, "bf16")
    run(2, root, sharded, "bf16", "fsdp")
    policies = json.loads((sharded / "sft" / "policies.json").read_text())
    fp32 = "'reduce_dtype': torch.float32, 'output_dtype': torch.float32, 'cast_forward_inputs': False"
    assert policies == [f"{{'param_dtype': None, {fp32}}}"]
    assert logged(sharded, "loss") == pytest.approx(logged(one, "loss"), rel=1e-6)
    # Sums of shards part the weights in fp32's last bit, and from then on bf16 may round a weight the other way: after
    # two steps torch 2.9.1's gradients part by 2e-3 in single layers, in fp32 by 8e-7 (see the plain ones above).
    assert logged(sharded, "grad_norm")[:2] == pytest.approx(logged(one, "grad_norm")[:2], rel=1e-5)
    assert logged(sharded, "grad_norm") == pytest.approx(logged(one, "grad_norm"), rel=2e-4)
    for name in ("validation_loss", "validation_loss/vqav2"):  # in the last pass one process has no sample left
        assert logged(sharded, name)[:2] == pytest.approx(logged(one, name)[:2], rel=1e-4)
        assert logged(sharded, name) == pytest.approx(logged(one, name), rel=1e-3)  # with the parted gradients' weights
        assert len(logged(one, name)) == 3  # before, after two steps, after the last
    assert logged(sharded, "answer/vqav2/0")[0] == logged(one, "answer/vqav2/0")[0]


def test_processes_without_a_picture_wait_for_nobody(root: Path, tmp_path: Path) -> None:
    """Every micro-batch of one sample, most of them text alone, gradients checkpointed."""
    one, two = tmp_path / "one", tmp_path / "two"
    run(1, root, one, "text")
    run(2, root, two, "text")
    assert logged(two, "loss") == pytest.approx(logged(one, "loss"), rel=1e-5)
    assert logged(two, "grad_norm") == pytest.approx(logged(one, "grad_norm"), rel=1e-4)


@pytest.fixture(scope="module")
def short(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("short")
    run(1, root, out, "short")
    return out


def test_killed_runs_go_on_with_other_numbers_of_processes(root: Path, short: Path, tmp_path: Path) -> None:
    """One, then three that shard (four samples a step: one takes two) and die writing, then two that do not."""
    run(1, root, tmp_path, "short", "die=1", fails=True)
    run(3, root, tmp_path, "short", "fsdp", "die=3", "torn", fails=True)
    assert (tmp_path / "sft" / "checkpoint-2" / "stage.json").exists()
    assert (tmp_path / "sft" / "checkpoint-3").exists()
    torn = tmp_path / "sft" / "checkpoint-3"
    assert not (torn / "stage.json").exists()
    assert [path.name for path in torn.glob("*.safetensors")] == ["model-00001-of-00003.safetensors"]
    run(2, root, tmp_path, "short")
    assert "checkpoint-3 is passed over: its writing was cut off" in (tmp_path / "output").read_text()
    assert_near(result(short), result(tmp_path), start=weights(parts()[0]))
    assert {path.name for path in torn.glob("*safetensors*")} == {"model.safetensors"}  # nothing of the torn one
    entries = [json.loads(line) for line in (tmp_path / "sft" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "loss" in entry] == [1, 2, 3, 4]
    assert all({"learning_rate", "grad_norm", "tokens"} <= entry.keys() for entry in entries if "loss" in entry)


def test_each_process_writes_its_part_of_a_sharded_model(root: Path, short: Path, tmp_path: Path) -> None:
    """To the bit what one process gathers and writes; a plain process loads it, three that shard go on from it."""
    run(2, root, tmp_path, "short", "fsdp", "gathers", "die=3", fails=True)
    checkpoint, gathered = (tmp_path / "sft" / name for name in ("checkpoint-3", "gathered-3"))
    (expected,) = (load_file(path) for path in gathered.glob("*.safetensors"))
    assert_same(read_weights(checkpoint), expected)
    assert_same(weights(load_parts(checkpoint).model), expected)
    held = {path.name: load_file(path) for path in checkpoint.glob("*.safetensors")}
    assert held.keys() == {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    sizes = [sum(tensor.nbytes for tensor in part.values()) for part in held.values()]
    assert max(sizes) <= 0.51 * sum(sizes)
    index = json.loads((checkpoint / INDEX).read_text())
    assert index["weight_map"] == {name: file for file, part in held.items() for name in part}
    assert index["metadata"]["total_size"] == sum(sizes)
    names = {path.name for path in gathered.iterdir()} - {"model.safetensors"}
    assert names < {path.name for path in checkpoint.iterdir()}
    for name in names:
        assert (gathered / name).read_bytes() == (checkpoint / name).read_bytes(), name

    run(3, root, tmp_path, "short", "fsdp")
    assert len(list((tmp_path / "sft" / "model").glob("*.safetensors"))) == 3
    assert_near(result(short), result(tmp_path), start=weights(parts()[0]))


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed: pip install '.[lora]'")
def test_adapters_are_merged_by_the_processes_that_write_the_weights(root: Path, tmp_path: Path) -> None:
    """To the bit what one process gathers and merges; three that shard go on from it."""
    run(1, root, tmp_path / "alone", "lora")
    out = tmp_path / "sharded"
    run(2, root, out, "lora", "fsdp", "gathers", "die=3", fails=True)
    checkpoint, gathered = (out / "sft" / name for name in ("checkpoint-3", "gathered-3"))
    (expected,) = (load_file(path) for path in gathered.glob("*.safetensors"))
    held = [load_file(path) for path in sorted(checkpoint.glob("*.safetensors"))]
    assert_same(read_weights(checkpoint), expected)
    sizes = [sum(tensor.nbytes for tensor in part.values()) for part in held]
    assert len(sizes) == 2
    assert max(sizes) <= 0.51 * sum(sizes)
    metadata = json.loads((checkpoint / INDEX).read_text())["metadata"]
    assert metadata == {"total_parameters": parts()[0].num_parameters(), "total_size": sum(sizes)}
    assert_same(weights(load_parts(checkpoint).model), expected)

    run(3, root, out, "lora", "fsdp")
    assert_near(result(tmp_path / "alone"), result(out), start=weights(parts()[0]))
    (adapter,) = (out / "sft" / "model").glob("*/adapter_model.safetensors")
    known = load_file(tmp_path / "alone" / "sft" / "model" / adapter.parent.name / adapter.name)
    found = load_file(adapter)
    assert found.keys() == known.keys()
    assert all(torch.allclose(found[name], known[name], atol=1e-5) for name in known)


def test_a_part_that_cannot_be_written_ends_all_with_one_line(root: Path, tmp_path: Path) -> None:
    run(2, root, tmp_path, "short", "fsdp", "full", fails=True)
    line = "checkpoint-2 could not be written: process 1: OSError: [Errno 28] No space left on device; the checkpoint"
    said = (tmp_path / "output").read_text()
    assert line in said
    assert (tmp_path / "sft" / "checkpoint-1" / "stage.json").exists()
    assert not (tmp_path / "sft" / "checkpoint-2" / "stage.json").exists()
    assert not (tmp_path / "sft" / "checkpoint-4").exists()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_told_to_stop_saves_and_ends_well(
    told: signal.Signals, root: Path, short: Path, tmp_path: Path
) -> None:
    (process,) = start(1, tmp_path / "output", root, tmp_path, "short")
    while not (tmp_path / "sft" / "checkpoint-1" / "stage.json").exists():
        assert process.is_alive(), "the run ended before it could be told"
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, told)
    process.join(300)
    assert process.exitcode == 0
    assert f"({told.name}) with a checkpoint" in (tmp_path / "output").read_text()
    assert not (tmp_path / "sft" / "model").exists()
    run(1, root, tmp_path, "short")
    assert_same(result(short), result(tmp_path))
