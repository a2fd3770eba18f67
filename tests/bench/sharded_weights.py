"""What weights of a sharded model take: saved and read by the first process for all, and by each process its part.

    python tests/bench/sharded_weights.py [--processes 2] [--width 768] [--layers 12]

An AKI with a Phi-3 of that size, sharded by FSDP2 over processes on the CPU (gloo). Both ways of saving and both of
reading take turns, twice, in new processes, and wait until all is there. Prints the peak of each process's memory
beyond what it held before, as a share of the weights, and the seconds.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.checkpoints import build

from train.state import load_weights
from train.weights import own_part, read_weights


def gathered(model: Any, folder: Path) -> None:
    """As accelerate does it, and the library's `save_pretrained`."""
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    if torch.distributed.get_rank() == 0:
        model.save_pretrained(folder, state_dict=state)


def in_parts(model: Any, folder: Path) -> None:
    own_part(model).write(folder)


def read_by_the_first(model: Any, folder: Path) -> None:
    """Who sends the others their parts: as torch does it."""
    state = read_weights(folder) if torch.distributed.get_rank() == 0 else {}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(model, state, options=options)


def read_in_parts(model: Any, folder: Path) -> None:
    load_weights(model, folder, sharded=True)


def memory(what: str) -> int:
    """Of this process in bytes, by the kernel: VmRSS now, VmHWM at most."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def measured(way: Callable[[Any, Path], None], model: Any, folder: Path) -> tuple[float, float]:
    """Bytes beyond those before, and seconds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what building the model left free would serve
    torch.distributed.barrier()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = memory("VmRSS"), time.perf_counter()
    way(model, folder)
    torch.distributed.barrier()
    return memory("VmHWM") - before, time.perf_counter() - start


def work(
    rank: int, processes: int, port: int, width: int, layers: int, way: Callable[[Any, Path], None], folder: Path
) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=processes)
    torch.manual_seed(0)
    model, _ = build(width, layers)
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    for layer in model.model.language_model.layers:
        fully_shard(layer)
    fully_shard(model)
    if way in READING:
        in_parts(model, folder)
    mine = torch.tensor(measured(way, model, folder), dtype=torch.float64)
    everybody = [torch.empty_like(mine) for _ in range(processes)]
    torch.distributed.all_gather(everybody, mine)
    if rank == 0:
        peaks = ", ".join(f"{float(one[0]) / 1e6:.0f} MB ({float(one[0]) / size:.2f})" for one in everybody)
        print(f"{way.__name__}, weights of {size / 1e6:.0f} MB: {peaks}; {float(mine[1]):.2f} s", flush=True)
    torch.distributed.destroy_process_group()


SAVING = (gathered, in_parts)
READING = (read_by_the_first, read_in_parts)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--width", type=int, default=768)
    options.add_argument("--layers", type=int, default=12)
    chosen = options.parse_args()
    for way in (*SAVING, *READING) * 2:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            given = (chosen.processes, port, chosen.width, chosen.layers, way, Path(folder))
            torch.multiprocessing.spawn(work, given, nprocs=chosen.processes)


if __name__ == "__main__":
    main()
