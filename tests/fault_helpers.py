"""Killing a function at its n-th write, for every n: fault injection instead of luck."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kills(function: Callable[[], Any], folder: Path, *, limit: int = 500) -> Iterator[int]:
    """Runs `function` in a forked child that is killed just before its n-th change below `folder`, n = 1, 2, ...

    Yields n after each kill, for the caller to look at what was left and to put the folder back; ends with the first
    child that lives to its end. At a flush to the disk the file is cut in half first, as a dying machine would.
    """
    for point in range(1, limit):
        if not _killed(function, folder, point):
            return
        yield point
    raise AssertionError(f"still changing files after {limit} changes")


def _killed(function: Callable[[], Any], folder: Path, point: int) -> bool:
    def armed() -> None:
        _arm(folder, point)
        function()

    _, status = os.waitpid(forked(armed), 0)
    return was_killed(status)


def forked(work: Callable[[], Any]) -> int:
    """The number of a child that does the work and ends; what it raises is shown, and told by its exit code."""
    child = os.fork()
    if child == 0:
        shown, code = sys.stderr, 70
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - shown, and told by the exit code
            traceback.print_exc(file=shown)
        finally:
            os._exit(code)
    return child


def was_killed(status: int) -> bool:
    """Whether a child was killed, by what waiting for it said; if not, it has done its work."""
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed without being killed; its traceback is above"
    return False


def _arm(folder: Path, point: int) -> None:
    """Counts changes below `folder` in this process, and dies just before the given one."""
    left = point

    def strike() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not int(arguments[2]) & WRITING:
            return
        strike()

    def fsync(number: int, plain: Callable[[int], None] = os.fsync) -> None:
        nonlocal left
        if left == 1 and (size := os.fstat(number).st_size):
            os.ftruncate(number, size // 2)
        strike()
        plain(number)

    os.fsync = fsync
    sys.addaudithook(hook)
