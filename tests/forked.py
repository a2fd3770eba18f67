"""Processes forked from a server that has the tests' workers imported: an import costs more than what they do."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

TESTS = Path(__file__).parent


def forking() -> ForkServerContext:
    """A context for `Process(target=a function of a worker's module)`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["run_worker", "train_worker"])
    before = os.environ.get("PYTHONPATH")
    # The server does not get this process's sys.path, and what it cannot import it leaves out without a word.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context
