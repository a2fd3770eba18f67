"""A run's scores in one JSON file: small enough to commit, complete enough for a paired comparison."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..records import Score
from .folder import RunFolder, TaskResult, open_run
from .typed import as_record

FORMAT = 1
FIELDS = ("index", "value", "reason", "answer", "target", "groups", "cluster", "parts")


@dataclass(frozen=True)
class Baseline(RunFolder):
    """A run that lives in a file: scores of the headline protocols only."""

    stored: Mapping[str, list[Score]] = field(default_factory=dict)
    hashes: Mapping[str, str | None] = field(default_factory=dict)
    """Of each task's prompts."""
    asked_under: str | None = None
    """The probe."""

    @property
    def probe(self) -> str | None:
        return self.asked_under

    def prompts_hash(self, task: str) -> str | None:
        return self.hashes.get(task)

    def scores(self, task: str, protocol: str | None = None) -> list[Score]:
        return [score for score in self.stored[task] if protocol is None or score.protocol == protocol]


UNREADABLE = (
    *(ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError),
    *(EOFError, OSError, zlib.error),
)


def open_baseline(path: Path) -> RunFolder:
    """A run folder, or a file written by `write_baseline`.

    Raises:
        UserError: it is neither.
    """
    if path.is_dir():
        return open_run(path)
    if not path.is_file():
        raise UserError(f"there is no baseline at {path}; expected a run folder or a file of --write-baseline")
    try:
        content = json.loads(_read_bytes(path))
        if content["format"] != FORMAT:
            raise UserError(f"{path} is a baseline of another format, expected {FORMAT}; write it anew")
        return _read(path, content)
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(f"{path} is no baseline of `aki-eval gate --write-baseline` ({_kind(error)})") from error


def _kind(error: Exception) -> str:
    """What is wrong with a file in words of our own: the libraries' messages quote it, at any length."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON from line {error.lineno} on"
    if isinstance(error, OSError | EOFError | zlib.error):
        return "it cannot be read or uncompressed"
    return "a field is missing or of another kind"


def _read_bytes(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _read(path: Path, content: dict[str, Any]) -> Baseline:
    tasks = content["tasks"]
    results = {name: as_record(TaskResult, {**task, "task": name, "protocols": {}}) for name, task in tasks.items()}
    hashes = {name: task["prompts_sha256"] for name, task in tasks.items()}
    stored = {
        name: [as_record(Score, {**each, "protocol": task["headline"]}) for each in task["scores"]]
        for name, task in tasks.items()
    }
    return Baseline(
        path, content["label"], None, results, stored=stored, hashes=hashes, asked_under=content.get("probe")
    )


def write_baseline(run: RunFolder, path: Path) -> None:
    """As JSON, or compressed where the name ends in .gz: the same run always gives the same bytes.

    Raises:
        UserError: the file cannot be written.
    """
    tasks = {name: _task(run, result) for name, result in run.results.items()}
    head = json.dumps({"format": FORMAT, "label": run.label, **({"probe": run.probe} if run.probe else {})})[:-1]
    body = ",\n".join(f"{json.dumps(name)}: {task}" for name, task in tasks.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f'{head}, "tasks": {{\n{body}\n}}}}\n'.encode()
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    except OSError as error:
        raise UserError(f"cannot write the baseline {path}: {error.strerror}") from error


def _task(run: RunFolder, result: TaskResult) -> str:
    """One score a line, so that a new baseline shows in a diff what changed."""
    head = {
        "headline": result.headline,
        "prompts": result.prompts,
        "prompts_sha256": run.prompts_hash(result.task),
        "judge": result.judge,
        "subset": result.subset,
        "data": result.data,
        **({"definition": result.definition} if result.definition else {}),
    }
    scores = run.scores(result.task, result.headline)
    lines = ",\n".join(json.dumps({name: getattr(score, name) for name in FIELDS}) for score in scores)
    return f'{json.dumps(head)[:-1]}, "scores": [\n{lines}\n]}}'
