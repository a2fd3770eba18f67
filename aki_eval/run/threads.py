"""How many threads torch computes with on a machine that several processes share.

By default each has one for every core, and they wait for each other. OMP_NUM_THREADS overrules all of this.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks.results.roll import Roll

VARIABLE = "OMP_NUM_THREADS"


def take_one() -> None:
    """One thread from now on, also for a torch that is imported later."""
    if VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = "1"
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def share_machine(roll: Roll) -> None:
    """One thread as soon as somebody else works in the folder on this machine."""
    if VARIABLE not in os.environ and roll.has_company():
        take_one()
