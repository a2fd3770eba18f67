"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# A thread that waits for another one's share of the work spins: beside a second test process, up to 20 times the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Nothing in the tests may reach a hub; a forgotten download fails at once instead of hanging.
os.environ["HF_HUB_OFFLINE"] = "1"

LONGEST = (
    "test_train_processes",
    "test_train_trainer",
    "test_train_toy",
    "test_vlmevalkit",
    "test_gate",
    "test_one_answer",
    "test_probes",
    "test_docs",
    "test_html_pages",
    "test_reading_quality",
    "test_report_kill",
    "test_demo_browser",
    "test_train_ablation",
    "test_reading",
    "test_arms",
    "test_model_backends",
    "test_frozen_toy",
    "test_kit_parity",
    "test_devices",
    "test_distributed",
    "test_wrong_arguments",
    "test_kit_tasks",
)
"""Files that take longest come first, so that no worker is left with one of them when the others have finished."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes (modules, thousands of items) stays to the end: no collection of garbage need look at it.

    Else each takes half a second, and libraries ask for many.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))  # stable: within a file nothing changes


@pytest.fixture(scope="session")
def warm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`python`, `aki-eval` and `aki-train` without the imports (tests/warm.py); one server for all workers."""
    from warm import warm_programs

    base = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        return warm_programs(base.parent / "warm", owner=os.getppid())
    return warm_programs(base / "warm", owner=os.getpid())


@pytest.fixture
def starts_warm(warm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code under test starts by `sys.executable`, or by a command beside it, starts warm."""
    import multiprocessing.spawn  # noqa: F401 - which keeps the true one

    monkeypatch.setattr(sys, "executable", str(warm / "python"))


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """flex_attention compiles for a GPU; for a CPU its code takes 20 s, for some shapes does not compile, or aborts."""
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Several threads change the order of sums, and so the last bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
