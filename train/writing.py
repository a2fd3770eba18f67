"""Checkpoints on their way to the disk: beside the training, one at a time, and valid when they are whole.

What a checkpoint consists of is copied to the CPU's memory, which is all that the training waits for. Threads write it:
torch's for the state of the optimizer and the averages, one of ours for the weights and, when everything is there, that
of all processes, the file with the checksums that makes it a checkpoint. Until then the one before it stays.
"""

from __future__ import annotations

import re
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import async_save, save
from transformers import TrainerCallback

from benchmarks.errors import UserError

from .checkpoint import SPECIFICATION, write_specification

CHECKPOINT = re.compile(r"checkpoint-(\d+)")
PARTS = "parts"


class PartLost(Exception):
    """Which process could not write its part, and why; said on all."""


class Writing(TrainerCallback):  # type: ignore[misc]
    """The checkpoint that is being written, if there is one.

    Leaving it as a context waits for it. Where an error ends the training, a second one is only said.

    Args:
        beside: by threads, while the training goes on; else at once, copying nothing.
        keep: so many whole checkpoints of the folder; None: all.
    """

    def __init__(self, *, beside: bool = False, keep: int | None = None) -> None:
        self.beside = beside
        self.keep = keep
        self._jobs: list[Future[Any]] = []
        self._thread: ThreadPoolExecutor | None = None
        self._groups: dict[str, Any] = {}
        self._what: Path | None = None

    # What belongs to it

    def begin(self, checkpoint: Path) -> None:
        """The one before is finished first. What lies there of an earlier start counts no more.

        Raises:
            UserError: the one before could not be written.
        """
        self.finish()
        self._what = checkpoint
        (checkpoint / SPECIFICATION).unlink(missing_ok=True)

    def state(self, state: dict[str, Any], folder: Path) -> None:
        """A distributed checkpoint, to which every process adds its shards."""
        alone = is_alone()
        if not self.beside:
            save(state, checkpoint_id=folder, no_dist=alone)
            return
        group = None if alone else self._group(folder.name)
        begun = async_save(state, checkpoint_id=folder, process_group=group, no_dist=alone)
        self._jobs.append(begun if isinstance(begun, Future) else begun.upload_completion)

    def copied(self, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """What may be written later, whatever becomes of these; those that share memory still do."""
        if not self.beside:
            return tensors
        copies = DefaultStager(StagingOptions(False, False, False, False)).stage(dict(tensors))
        assert not isinstance(copies, Future), "copied at once, as it was told"
        return copies

    def run(self, job: Callable[[], Any]) -> None:
        """After the jobs that were given before it."""
        if not self.beside:
            job()
            return
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._jobs.append(self._thread.submit(job))

    def together(self, folder: Path, job: Callable[[], Any]) -> None:
        """Like `run`, a job of which every process does a part: done when all are, failed on all where one fails.

        Raises:
            UserError: it was done at once, and failed.
        """
        self._what = folder
        group = self._group(PARTS)

        def part() -> None:
            said: list[str | None] = [None] * torch.distributed.get_world_size()
            reason = None
            try:
                job()
            except Exception as error:  # noqa: BLE001  # raised below, on all
                reason = _words(error)
            torch.distributed.all_gather_object(said, reason, group=group)
            if lost := next((f"process {rank}: {reason}" for rank, reason in enumerate(said) if reason), None):
                raise PartLost(lost)

        try:
            self.run(part)
        except PartLost as error:
            raise self._failed(error) from error

    def end(self, checkpoint: Path, content: Mapping[str, Any]) -> None:
        """Makes the folder a checkpoint once all of it is on disk, and makes room. For one process of all."""
        before = list(self._jobs)

        def mark() -> None:
            for job in before:
                if job.exception():
                    return  # which is told of that job
            write_specification(checkpoint, content)
            self._make_room(checkpoint)

        self.run(mark)

    def _group(self, name: str) -> Any:
        """Of all processes, for one folder's threads alone: those of the training say other things in another order.

        By gloo, as the copies lie in the CPU's memory.
        """
        if name not in self._groups:
            self._groups[name] = torch.distributed.new_group(backend="gloo")
        return self._groups[name]

    def _make_room(self, newest: Path) -> None:
        """Earlier ones go, but for the last whole ones."""
        if self.keep is None:
            return
        earlier = sorted(
            (path for path in newest.parent.iterdir() if -1 < _number(path) < _number(newest)),
            key=_number,
            reverse=True,
        )
        whole = [path for path in earlier if (path / SPECIFICATION).exists()][: self.keep - 1]
        for path in earlier:
            if path not in whole:
                shutil.rmtree(path)

    # Waiting

    def finish(self) -> None:
        """Waits until nothing is being written.

        Raises:
            UserError: it could not be written.
        """
        jobs, self._jobs = self._jobs, []
        failed = [error for job in jobs if (error := job.exception())]  # waits
        if failed:
            raise self._failed(failed[0]) from failed[0]

    def _failed(self, error: BaseException) -> UserError:
        return UserError(
            f"{self._what} could not be written: {_words(error)}; the checkpoint before it is whole: "
            "make room or mend the disk, and give the same command again"
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises UserError where writing has failed since."""
        if any(job.done() and job.exception() for job in self._jobs):
            self.finish()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.finish()
        self.beside = False  # there is nothing beside which to write

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.finish()
        except UserError as failed:
            if error is None:
                raise
            if failed is not error:
                print(f"aki-train: {failed}", file=sys.stderr)
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None


def is_alone() -> bool:
    """Whether this is the only process. Torch would warn, in whatever thread, when it is."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
    return not torch.distributed.is_initialized()


def _number(path: Path) -> int:
    """Of the step, or -1 where it is no checkpoint."""
    found = CHECKPOINT.fullmatch(path.name)
    return int(found[1]) if found else -1


def _words(error: BaseException) -> str:
    """The innermost reason in one line: distributed checkpoints wrap each process's error into another."""
    if isinstance(error, PartLost):
        return str(error)
    of_processes = getattr(error, "failures", None) or {}
    for rank, failure in sorted(of_processes.items()):
        reason = failure[0] if isinstance(failure, tuple) else failure
        return f"process {rank}: {_words(reason)}"
    return f"{type(error).__name__}: {error!s:.300}".replace("\n", " ")
