"""One arithmetic for the toy, so that a seed is a model: the same weights on every x86-64 processor with AVX2.

A short training is chaotic. A sum taken in another order changes the last bit of a weight, and 3,000 steps later
another skill has been learned. What takes sums in another order, each seen to part the weights within three steps:

- the number of threads, which by default is the number of cores that the process may use;
- the instruction set: ATen, MKL and oneDNN each choose kernels by what the processor offers (AVX2, AVX-512, AMX), ATen
  even draws other random weights without AVX;
- MKL's code path, which on one processor may also depend on how memory happens to be aligned.

So: one thread, AVX2 everywhere, MKL's conditional numerical reproducibility, oneDNN (which blocks by cache sizes) left
out, LAPACK's last bits rounded off. That costs nothing here: matrices are 96 wide, and two threads were no faster.

Other architectures, other versions of torch and processors without AVX2 give other weights, as good or bad as another
seed. `describe` says what a training computed with, down to a digest of each kind of operation.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ENVIRONMENT = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2,STRICT", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Read once, by the libraries' first operation: to be set before it."""


def choose_kernels() -> None:
    """Sets the environment that torch's first operation reads. What the user has set stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def fixed() -> Iterator[None]:
    """One thread and no oneDNN within; both as they were afterwards."""
    import torch

    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(1)
    torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]  # torch has no types here
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mkldnn.set_flags(onednn)  # type: ignore[no-untyped-call]


def least_squares(left: Any, right: Any) -> Any:
    """The smallest x with `left @ x` nearest to `right`, to 16 binary places: LAPACK's last bits vary by processor."""
    import torch

    solution = torch.linalg.lstsq(left.double(), right.double()).solution
    return ((solution * 2**16).round() / 2**16).float()


def describe() -> dict[str, Any]:
    """What a training computes with. Same `operations` and same versions: the same seed gives the same weights."""
    import torch

    return {
        "operations": digests(),
        "threads": torch.get_num_threads(),
        "aten": torch.backends.cpu.get_cpu_capability(),
        "onednn": torch.backends.mkldnn.enabled,
        "mkl": torch.backends.mkl.is_available(),  # type: ignore[no-untyped-call]
        "environment": {name: os.environ.get(name) for name in ENVIRONMENT},
        "machine": platform.machine(),
        "processor": _processor(),
        "libc": " ".join(platform.libc_ver()),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def digests() -> dict[str, str]:
    """Of what each kind of operation gives here, by its name."""
    return {name: _digest(run()) for name, run in _operations().items()}


def weights_digest(model: Any) -> str:
    """Of names and values of all weights, in order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + b"\0" + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest(tensor: Any) -> str:
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()[:12]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _operations() -> dict[str, Callable[[], Any]]:
    """The kinds of operation that the toy's training is made of, on fixed numbers, in its sizes."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Any:
        """Drawn as integers: exact everywhere."""
        return torch.randint(-4096, 4096, shape, generator=generator).float() / 1024

    rows, weight, wide = numbers(480, 96), numbers(288, 96), numbers(480, 288)
    heads, picture, filters = numbers(16, 4, 30, 24), numbers(16, 3, 48, 48), numbers(64, 3, 12, 12)
    tall, seen = numbers(4, 64), torch.ones(30, 30).tril().bool()

    def one_step() -> Any:
        parameter = torch.nn.Parameter(numbers(96, 96))
        parameter.grad = parameter.detach().sin()
        torch.optim.AdamW([parameter], lr=1e-3, fused=True).step()
        return parameter

    return {
        "random normal": lambda: torch.empty(96, 96).normal_(generator=generator),
        "matrix product": lambda: rows @ weight.T,
        "weights' gradient": lambda: wide.T @ rows,
        "batched product": lambda: heads @ heads.transpose(-1, -2),
        "attention": lambda: functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=seen),
        "convolution": lambda: functional.conv2d(picture, filters, stride=12),
        "least squares": lambda: least_squares(tall, tall[:, :4]),
        "sum": lambda: wide.square().mean(-1),
        "norm": lambda: functional.layer_norm(rows, (96,)),
        "softmax": lambda: functional.log_softmax(rows, dim=-1),
        "gelu": lambda: functional.gelu(rows, approximate="tanh"),
        "silu": lambda: functional.silu(rows),
        "cosine": lambda: rows.cos(),
        "optimizer": one_step,
    }
