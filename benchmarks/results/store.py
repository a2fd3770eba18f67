"""The run folder: what is on disk is what was done.

    RUN_DIR/run.json                       the specification, and each session that worked on it
    RUN_DIR/<task>/predictions.jsonl       appended, one line a sample, flushed to the disk with every batch
    RUN_DIR/<task>/predictions.NAME.jsonl  the same, of a worker that joined; merged by the last one
    RUN_DIR/<task>/scores.jsonl, metrics.json
    RUN_DIR/.workers/                      who is at work here (`roll.py`), and at what (`aki_eval/run/chunks.py`)

A line is either whole or torn: a process killed while writing leaves a last line without its line break, which is no
answer and is cut off before the next line is appended. Everything that is not appended is replaced atomically.

run.json is written first, and says in `answers` by which mark each task's answers are known; every line of predictions
carries it as `run`. An answer without the mark is somebody else's (an interrupted command, a copied file): it is
refused, never mixed in. Runs older than the mark have neither.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.records import Prediction, Score

from .jsonl import cut_torn_line, predictions_files, read_predictions, to_line
from .probes import is_probe_folder
from .record import RunRecord, read_record
from .roll import FOLDER, alone

OURS = ("predictions*.jsonl", "likelihoods*.jsonl", "verdicts.jsonl", "scores.jsonl", "metrics.json")
"""What is written into a task's folder; all that `clear` deletes there."""

MERGES = 5
"""So often a reader may be overtaken by a merging process; then something else is wrong."""


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
        self.settle()
        lines = _to_lines(predictions, self.mark)
        self._file.write(lines.encode("utf-8", "backslashreplace"))
        self._file.flush()
        self._flushed = self._thread.submit(os.fsync, self._file.fileno())

    def __exit__(self, *_: object) -> None:
        try:
            self.settle()
        finally:
            self._thread.shutdown()
            self._file.close()

    def settle(self) -> None:
        """Returns when all of it is on the disk."""
        if self._flushed is not None:
            self._flushed.result()


class RunStore:
    """One run on disk. Anybody may read at any time; who appends or replaces stands on the folder's roll."""

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
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot write to the run folder {self.root}: {error.strerror}; choose another --out"
            ) from error
        if not os.access(self.root, os.W_OK):
            raise UserError(f"cannot write to the run folder {self.root}: permission denied; choose another --out")

    @contextmanager
    def alone(self, task: str) -> Iterator[None]:
        """Holds the folder for this process, which does `task` in it.

        Raises:
            UserError: somebody is at work there, or it cannot be written.
        """
        with alone(self.root, task):
            self.sweep()
            yield

    def sweep(self) -> None:
        """Deletes what killed processes left of `write_atomically`. Only for who holds the folder alone."""
        for pattern in (".*.json*.[0-9]*", "*/.*.json*.[0-9]*", f"{FOLDER}/.latest.*"):
            for scratch in self.root.glob(pattern):
                scratch.unlink(missing_ok=True)

    def remove_empty(self) -> None:
        """Takes back `create` where nothing was written since."""
        if not self.root.is_dir() or any(path.name != FOLDER for path in self.root.iterdir()):
            return
        shutil.rmtree(self.root / FOLDER, ignore_errors=True)
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

    def append(self, task: str, predictions: Sequence[Prediction], worker: str | None = None) -> None:
        """Adds predictions and returns when they are on the disk."""
        with self.appender(task, worker) as append:
            append(predictions)

    def appender(self, task: str, worker: str | None = None) -> Appender:
        """For many batches: `with folder.appender(task) as append: append(predictions)`.

        Into a file of the worker's own; None is whoever has the folder without having joined anybody.
        """
        path = self._predictions_path(task, worker)
        path.parent.mkdir(exist_ok=True)
        return Appender(path, self.mark(task))

    def replace(self, task: str, predictions: Iterable[Prediction]) -> None:
        """Puts exactly these predictions in the place of all that is known of the task: all of them or none."""
        path = self._predictions_path(task)
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
        for _ in range(MERGES):
            with suppress(FileNotFoundError):  # merged between the listing and the reading
                return read_predictions(self._predictions_files(task), self.mark(task))
        return read_predictions(self._predictions_files(task), self.mark(task))

    def merge(self, task: str, order: Iterable[str]) -> None:
        """Brings the files of all workers into one, in the order of the table, one line a sample.

        Only to be called by who holds the folder alone. Killed in between, the same lines stand in two files, which is
        harmless.
        """
        files = self._predictions_files(task)
        if files in ([], [self._predictions_path(task)]):
            return
        found = self.predictions(task)
        known = [found.pop(index) for index in order if index in found]
        self.replace(task, (*known, *found.values()))
        for path in files:
            if path != self._predictions_path(task):
                path.unlink()

    def _predictions_path(self, task: str, worker: str | None = None) -> Path:
        return self.root / task / ("predictions.jsonl" if worker is None else f"predictions.{worker}.jsonl")

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
