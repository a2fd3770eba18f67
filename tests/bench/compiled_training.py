"""A whole training with `compile = true` beside the same one without: losses, weights, seconds.

    python tests/bench/compiled_training.py [--steps 12]

The toy's model and sets, one thread, this machine's compiler (torch.compile's inductor needs a C++ one on CPUs). Prints
the loss of each step both ways, their largest relative difference, and how far apart the weights are at the end as a
share of the way that training went; exit code 1 beyond 1e-4 for losses and 1e-2 for weights. The bound on weights is
loose because Adam makes a whole step of a gradient that is next to nothing, whatever its rounding.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from train_helpers import losses, machine, parts, sft, weights, write_root

from train.run_stage import run_stage

LOSSES, WEIGHTS = 1e-4, 1e-2


def trained(root: Path, out: Path, steps: int, compiled: bool) -> tuple[list[float], dict[str, torch.Tensor], float]:
    model, processor = parts()
    stage = sft(steps=steps, compile=compiled)
    start = time.perf_counter()
    log = run_stage(stage, model, processor, data_root=root, out=out, machine=machine(4))
    return losses(log), weights(model), time.perf_counter() - start


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--steps", type=int, default=12)
    steps = options.parse_args().steps
    torch.set_num_threads(1)
    begin = weights(parts()[0])
    with tempfile.TemporaryDirectory() as folder:
        root = write_root(Path(folder, "world"))
        plain, first, seconds = trained(root, Path(folder, "plain"), steps, False)
        compiled, second, with_compiling = trained(root, Path(folder, "compiled"), steps, True)
    apart = max(abs(one - other) / one for one, other in zip(plain, compiled, strict=True))
    way, off = (
        sum(float((first[name] - other[name]).double().square().sum()) for name in first) for other in (begin, second)
    )
    print("plain:   ", " ".join(f"{loss:.5f}" for loss in plain))
    print("compiled:", " ".join(f"{loss:.5f}" for loss in compiled))
    graphs = torch._dynamo.utils.counters["stats"].get("unique_graphs", 0)
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    print(
        f"losses at most {apart:.1e} apart, weights {(off / way) ** 0.5:.1e} of the way; {seconds:.1f} s plain, "
        f"{with_compiling:.1f} s with compiling {graphs} graphs ({breaks} breaks)"
    )
    return int(apart > LOSSES or (off / way) ** 0.5 > WEIGHTS)


if __name__ == "__main__":
    sys.exit(main())
