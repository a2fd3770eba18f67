"""Ends a stage early and whole: a checkpoint is written, and the same command goes on from it.

For machines that are lent: Slurm sends SIGUSR1 ahead of the end of its time and SIGTERM when a job is preempted.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.errors import UserError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Stopped(UserError):
    """The stage ended before its last step, with a checkpoint. Commands that cannot go on from it end with an error."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(f"stopped after step {step} ({why}) with a checkpoint")


class StopEarly(TrainerCallback):  # type: ignore[misc]
    """Stops all processes at the same step, when one of them was told to or `until` (time.monotonic) has come."""

    def __init__(self, until: float | None) -> None:
        self.until = until
        self.why: str | None = None
        self._told: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if threading.current_thread() is threading.main_thread():  # nobody else may listen
            self._before = {one: signal.signal(one, self._tell) for one in SIGNALS}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.until is not None and time.monotonic() >= self.until:
            self._told = self._told or "--max-hours"
        if self._anybody_told(args.device) and state.global_step < args.max_steps:
            self.why = self._told or "another process was told to"
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    @property
    def told(self) -> bool:
        """Whether this process was told to stop, or its time is over: the next step's end will."""
        return self._told is not None or (self.until is not None and time.monotonic() >= self.until)

    def _tell(self, number: int, frame: Any) -> None:
        self._told = signal.Signals(number).name

    def _anybody_told(self, device: torch.device) -> bool:
        told = self._told is not None
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return told
        flag = torch.tensor(float(told), device=device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag)
