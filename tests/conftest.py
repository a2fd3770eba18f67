"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# A thread that waits for another one's share of the work spins: beside a second test process, up to 20 times the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Nothing in the tests may reach a hub; a forgotten download fails at once instead of hanging.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """flex_attention compiles for a GPU; for a CPU its code takes 20 s, for some shapes does not compile, or aborts."""
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield
