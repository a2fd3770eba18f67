"""Asynchronous work for callers that are not, wherever they are called from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def outside_loops(work: Callable[[], T]) -> T:
    """`work()`, which starts an event loop; in a thread of its own where one is running already, as in a notebook.

    Raises:
        Exception: whatever `work` raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-loop") as thread:
        return thread.submit(work).result()
