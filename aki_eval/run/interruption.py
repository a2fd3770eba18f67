"""Ctrl-C and SIGTERM, so that a run that is stopped can be gone on with."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """Ctrl-C and SIGTERM (schedulers, torchrun) stop the run: what is answered is on the disk.

    Both raise KeyboardInterrupt where they strike; should a library swallow that, `check` raises it after the batch.
    """

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        if self.requested:
            raise KeyboardInterrupt

    def _strike(self, *_: object) -> None:
        self.requested = True
        raise KeyboardInterrupt

    @contextmanager
    def watched(self) -> Iterator[Interruption]:
        """Installs the handlers; only a process's main thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._strike) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
