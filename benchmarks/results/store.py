"""The run folder: what is on disk is what was done.

    RUN_DIR/run.json                       the specification, and each session that worked on it
    RUN_DIR/<task>/predictions.jsonl       appended, one line a sample, flushed to the disk with every batch
    RUN_DIR/<task>/predictions.rank3.jsonl the same, of another process of the same job; merged when the job ends
    RUN_DIR/<task>/scores.jsonl, metrics.json
    RUN_DIR/.locks/rank0.lock              held while a process works here

A line is either whole or torn: a process killed while writing leaves a last line without its line break, which is no
answer and is cut off before the next line is appended. Everything that is not appended is replaced atomically.

run.json is written first, and says in `answers` by which mark each task's answers are known; every line of predictions
carries it as `run`. An answer without the mark is somebody else's (an interrupted command, a copied file): it is
refused, never mixed in. Runs older than the mark have neither.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.records import Prediction, Score

from .jsonl import cut_torn_line, predictions_files, read_predictions, to_line
from .probes import is_probe_folder
from .record import RunRecord, read_record

OURS = ("predictions*.jsonl", "likelihoods*.jsonl", "verdicts.jsonl", "scores.jsonl", "metrics.json")
"""What is written into a task's folder; all that `clear` deletes there."""


def _to_record(prediction: Prediction, mark: str | None) -> dict[str, Any]:
    return {
        "index": prediction.index,
        "prompt": prediction.prompt,
        "prediction": prediction.text,
        "num_tokens": prediction.num_tokens,
        "finish_reason": prediction.finish_reason,
        "error": prediction.error,
        **({"run": mark} if mark else {}),
    }


def _to_lines(predictions: Iterable[Prediction], mark: str | None) -> str:
    return "".join(to_line(_to_record(prediction, mark)) for prediction in predictions)


def _delete_ours(folder: Path) -> None:
    """What a task wrote; the folder too when nothing else is in it."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith(".") or any(path.match(pattern) for pattern in OURS):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


class Appender:
    """Appends batches to one file.

    A batch has left this process when the call returns, so that killing it loses nothing; a thread waits for the disk
    meanwhile, one batch behind.

    Raises:
        OSError: the disk is full; at the latest on leaving.
    """

    def __init__(self, path: Path, mark: str | None) -> None:
        self.path = path
        self.mark = mark

    def __enter__(self) -> Appender:
        if self.path.exists():
            cut_torn_line(self.path)
        self._file = self.path.open("ab")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fsync")
        self._flushed: Future[None] | None = None
        return self

    def __call__(self, predictions: Sequence[Prediction]) -> None:
        self._wait()
        lines = _to_lines(predictions, self.mark)
        self._file.write(lines.encode("utf-8", "backslashreplace"))
        self._file.flush()
        self._flushed = self._thread.submit(os.fsync, self._file.fileno())

    def __exit__(self, *_: object) -> None:
        try:
            self._wait()
        finally:
            self._thread.shutdown()
            self._file.close()

    def _wait(self) -> None:
        if self._flushed is not None:
            self._flushed.result()


class RunStore:
    """One run on disk. Reading needs no lock; whoever appends or replaces holds the lock of its rank."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Makes the folder.

        Raises:
            UserError: it cannot be written, lies inside another run, or is the home or a root folder.
        """
        resolved = self.root.resolve()
        if resolved == resolved.parent or resolved in (home := Path.home().resolve(), *home.parents):
            raise UserError(f"{resolved} is no place for a run; choose another --out")
        around = next((path for path in resolved.parents if (path / "run.json").is_file()), None)
        if around is not None and not is_probe_folder(resolved, around):
            raise UserError(f"{self.root} lies inside the run folder {around}; choose another --out")
        try:
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot write to the run folder {self.root}: {error.strerror}; choose another --out"
            ) from error
        if not os.access(self.root, os.W_OK):
            raise UserError(f"cannot write to the run folder {self.root}: permission denied; choose another --out")

    @contextmanager
    def locked(self, rank: int = 0) -> Iterator[None]:
        """Holds the folder for this process.

        Rank 0 speaks for its job: it also makes sure that no process of another job, of whatever rank, is still at
        work.

        Raises:
            UserError: one is.
        """
        with ExitStack() as stack:
            self._acquire(stack, self._lock_path(rank))
            if rank == 0:
                for other in (self.root / ".locks").glob("rank*.lock"):
                    if other != self._lock_path(0):
                        with ExitStack() as probe:
                            self._acquire(probe, other)
                self._sweep()
            yield

    def _sweep(self) -> None:
        """Deletes what killed processes left of `write_atomically`."""
        for pattern in (".*.json*.[0-9]*", "*/.*.json*.[0-9]*"):
            for scratch in self.root.glob(pattern):
                scratch.unlink(missing_ok=True)

    def wait_for(self, rank: int) -> None:
        """Returns when the process of that rank has ended, one way or another."""
        with FileLock(self._lock_path(rank)):
            pass

    def _lock_path(self, rank: int) -> Path:
        return self.root / ".locks" / f"rank{rank}.lock"

    def _acquire(self, stack: ExitStack, path: Path) -> None:
        try:
            stack.enter_context(FileLock(path, timeout=0))
        except Timeout:
            raise UserError(
                f"another process is working on {self.root} ({path.name} is held); wait for it or choose another --out"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot write to the run folder {self.root}: {error.strerror}; choose another --out"
            ) from error

    def remove_empty(self) -> None:
        """Takes back `create` where nothing was written since."""
        if not self.root.is_dir() or any(path.name != ".locks" for path in self.root.iterdir()):
            return
        for lock in (self.root / ".locks").glob("rank*.lock"):
            lock.unlink()
        (self.root / ".locks").rmdir()
        self.root.rmdir()

    def forget(self, task: str) -> None:
        """Deletes what a task wrote."""
        _delete_ours(self.root / task)

    def clear(self) -> None:
        """Forgets what was done here: what the tasks in run.json wrote, and run.json last of all.

        Raises:
            UserError: this is no run folder, or its run.json is not one of ours; nothing is deleted then.
        """
        run = self.read_run()
        if run is None:
            self._check_empty()
            return
        folders = [self.root / task for task in run.tasks]
        for folder in folders:
            if folder.parent != self.root or folder.name in ("", ".", "..") or folder.is_symlink():
                raise UserError(f"--fresh: {self.root / 'run.json'} names {folder}, which is no folder of a run")
        for folder in folders:
            _delete_ours(folder)
        (self.root / "run.json").unlink()

    def _check_empty(self) -> None:
        """Hidden files are what an interrupted write leaves."""
        entry = next((path for path in sorted(self.root.iterdir()) if not path.name.startswith(".")), None)
        if entry is not None:
            raise UserError(
                f"--fresh: {self.root} is no run folder (no run.json, but {entry.name}), so nothing in it is deleted; "
                "choose another --out, or empty it yourself"
            )

    def refuse_leftovers(self, tasks: Iterable[str], run: RunRecord | None) -> None:
        """Refuses a folder with answers of unknown origin.

        Raises:
            UserError: answers lie there for a task that `run` (run.json) does not know.
        """
        for task in tasks:
            files = self._predictions_files(task)
            if files and (run is None or task not in run.tasks):
                says = "no run.json says" if run is None else "run.json does not say"
                raise UserError(f"{files[0]} holds predictions but {says} whose; move it away or choose another --out")

    def read_run(self) -> RunRecord | None:
        """The content of run.json; None when nothing was started here.

        Raises:
            UserError: it is damaged.
        """
        path = self.root / "run.json"
        return read_record(path) if path.exists() else None

    def write_run(self, run: RunRecord) -> None:
        write_atomically(self.root / "run.json", run.to_json())

    def restore_run(self, run: RunRecord | None) -> None:
        """Puts back what run.json was; None: there was none."""
        if run is None:
            (self.root / "run.json").unlink(missing_ok=True)
        elif self.read_run() != run:
            self.write_run(run)

    def append(self, task: str, predictions: Sequence[Prediction], rank: int = 0) -> None:
        """Adds predictions and returns when they are on the disk."""
        with self.appender(task, rank) as append:
            append(predictions)

    def appender(self, task: str, rank: int = 0) -> Appender:
        """For many batches: `with folder.appender(task) as append: append(predictions)`."""
        path = self._predictions_path(task, rank)
        path.parent.mkdir(exist_ok=True)
        return Appender(path, self.mark(task))

    def replace(self, task: str, predictions: Iterable[Prediction]) -> None:
        """Puts exactly these predictions in the place of all that is known of the task: all of them or none."""
        path = self._predictions_path(task, 0)
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, _to_lines(predictions, self.mark(task)))

    def mark(self, task: str) -> str | None:
        """By which the answers to a task are known as this run's; None when it is older than marks."""
        run = self.read_run()
        return run.answers.get(task) if run else None

    def predictions(self, task: str) -> dict[str, Prediction]:
        """What is known of the task, by index, whoever wrote it.

        An answer counts more than an error, later more than earlier.

        Raises:
            UserError: an answer of another run.
        """
        return read_predictions(self._predictions_files(task), self.mark(task))

    def merge(self, task: str, order: Iterable[str]) -> None:
        """Brings the files of all ranks into one, in the order of the table, one line a sample.

        Only to be called by who holds the folder alone. Killed in between, the same lines stand in two files, which is
        harmless.
        """
        files = self._predictions_files(task)
        if files in ([], [self._predictions_path(task, 0)]):
            return
        found = self.predictions(task)
        known = [found.pop(index) for index in order if index in found]
        self.replace(task, (*known, *found.values()))
        for path in files:
            if path != self._predictions_path(task, 0):
                path.unlink()

    def _predictions_path(self, task: str, rank: int) -> Path:
        return self.root / task / ("predictions.jsonl" if rank == 0 else f"predictions.rank{rank}.jsonl")

    def _predictions_files(self, task: str) -> list[Path]:
        return predictions_files(self.root / task)

    def verdicts_path(self, task: str) -> Path:
        return self.root / task / "verdicts.jsonl"

    def write_scores(self, task: str, scores: Mapping[str, Sequence[Score]], metrics: Mapping[str, Any]) -> None:
        """Replaces scores.jsonl and metrics.json of the task."""
        (self.root / task).mkdir(exist_ok=True)
        lines = "".join(to_line(asdict(score)) for of_protocol in scores.values() for score in of_protocol)
        write_atomically(self.root / task / "scores.jsonl", lines)
        write_atomically(self.root / task / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
        self.failure_path(task).unlink(missing_ok=True)

    def write_failure(self, task: str, trace: str) -> None:
        """Keeps why scoring broke off. Earlier scores are set aside: they are not those of what is there now."""
        (self.root / task).mkdir(exist_ok=True)
        for name in ("scores.jsonl", "metrics.json"):
            if (self.root / task / name).exists():
                os.replace(self.root / task / name, self.root / task / f"previous_{name}")
        write_atomically(self.failure_path(task), trace)

    def failure_path(self, task: str) -> Path:
        return self.root / task / "scoring_failure.txt"
