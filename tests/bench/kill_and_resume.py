"""Training killed at random and gone on with other numbers of processes, sharded or not: how far off are the weights?

    python tests/bench/kill_and_resume.py [--chains 3] [--kills 3] [--seed 0]

Each chain is a run of two stages that is killed (`kill -9`, all its processes, at a random moment after a random
checkpoint, whole or while one is being written) and started again with two, three, four or one process, with or without
FSDP, until it ends; each of the seven ways has its turn before one comes again. Prints, for the last weights and for
their averages, the distance from a run of one process that nobody disturbed, as a share of the way that training went;
exit code 1 beyond a thousandth. A minute or two a start on two cores; the suite holds one chain of three
(`tests/test_train_processes.py`).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]
BOUND = 1e-3
WAYS = [(1, False), *((number, sharded) for number in (2, 3, 4) for sharded in (False, True))]
"""How a start may be made: processes, and whether they shard."""
WORKER = str(HERE / "train_worker.py")
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
    "CUDA_VISIBLE_DEVICES": "",
}


def start(root: Path, out: Path, processes: int, fsdp: bool) -> subprocess.Popen[bytes]:
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    flags = ["chain", *(["fsdp"] if fsdp else [])]
    log = (out.parent / f"{out.name}.log").open("ab")
    return subprocess.Popen(
        [*launch, WORKER, str(root), str(out), *flags],
        env=ENVIRONMENT,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def whole_checkpoints(out: Path) -> int:
    return len(list(out.glob("*/checkpoint-*/stage.json"))) + len(list(out.glob("*/model/stage.json")))


def end(process: subprocess.Popen[bytes]) -> None:
    """torchrun's children are of its session, in groups of their own: all of the session's processes."""
    found = subprocess.run(["ps", "-o", "pid=", "-s", str(process.pid)], capture_output=True, text=True, check=False)
    for pid in found.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def dealt(rng: random.Random) -> Iterator[tuple[int, bool]]:
    while True:
        yield from rng.sample(WAYS, len(WAYS))


def chain(root: Path, out: Path, kills: int, ways: Iterator[tuple[int, bool]], rng: random.Random) -> list[str]:
    """Runs it to its end and returns what was done."""
    told: list[str] = []
    while True:
        processes, fsdp = next(ways)
        wanted = whole_checkpoints(out) + rng.randint(1, 3)
        name = f"{processes}{' sharded' if fsdp else ''}"
        process = start(root, out, processes, fsdp)
        while process.poll() is None:
            if len(told) < kills and whole_checkpoints(out) >= wanted:
                time.sleep(rng.uniform(0, 0.5))
                end(process)
                torn = len([path for path in out.glob("*/checkpoint-*") if not (path / "stage.json").exists()])
                told.append(f"{name}, killed after {whole_checkpoints(out)}{' and writing' if torn else ''}")
                break
            time.sleep(0.02)
        else:
            if process.returncode:
                raise SystemExit(f"{name} ended with {process.returncode}; see {out}.log")
            return [*told, f"{name} to the end"]


def distance(one: Path, other: Path, begin: Path) -> float:
    """Between two models, as a share of the way of the first from where its stage began."""
    from train.weights import read_weights

    first, second, start = (read_weights(path) for path in (one, other, begin))
    way, apart = (
        sum(float((first[name] - compared[name]).double().square().sum()) for name in first)
        for compared in (start, second)
    )
    return (apart / way) ** 0.5


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chains", type=int, default=3)
    options.add_argument("--kills", type=int, default=3)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    from benchmarks import toy_world

    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        root, alone = Path(folder, "world"), Path(folder, "alone")
        toy_world.write_training_data(root, num_images=60, num_captions=96, shard_size=8)
        if start(root, alone, 1, False).wait():
            raise SystemExit(Path(folder, "alone.log").read_text()[-2000:])
        rng = random.Random(chosen.seed)
        ways = dealt(rng)
        for number in range(chosen.chains):
            out = Path(folder, f"chain{number}")
            done = chain(root, out, chosen.kills, ways, rng)
            begin = alone / "pretrain" / "model"
            last, averages = (
                distance(alone / "sft" / name, out / "sft" / name, begin) for name in ("checkpoint-5", "model")
            )
            worst = max(worst, last, averages)
            print(f"{' -> '.join(done)}: weights {last:.1e}, averages {averages:.1e} of the way", flush=True)
    print(f"largest {worst:.1e}, bound {BOUND:.0e}")
    return int(worst > BOUND)


if __name__ == "__main__":
    sys.exit(main())
