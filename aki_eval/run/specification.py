"""What made a run: the content of run.json, and whether two of them are the same run."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import UserError
from benchmarks.printable import in_words
from benchmarks.records import Prompt
from benchmarks.redaction import redact_command
from benchmarks.results.record import Commit, ProbeRecord, RunRecord, RunSession

from ..chat.address import read_address

PACKAGES = (
    "aki-toolkit",
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "accelerate",
    "pillow",
    "numpy",
    "ms-vlmeval",
)

IDENTITY = ("model", "dtype", "prompts", "decoding", "subset", "data", "tasks")
"""The fields of run.json that decide the answers. Device, batch size and number of processes do not: `--check-batching`
proves it. Versions may, in the last digits: they are written down for each session instead of refused."""

NO_IDENTITY = (
    *("name", "path", "mask", "trained_attention", "trained_image_order", "training_seed"),
    "trained_attention_layers",
)
"""Fields of the model's record that decide nothing: where it lies, what nobody knows, what its settings' sum covers."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def prompts_hash(prompts: Iterable[Prompt]) -> str:
    """sha256 over index and parts of every prompt of a task.

    A picture counts as its place: the tables' checksums cover it.
    """
    digest = hashlib.sha256()
    for prompt in prompts:
        parts = [part if isinstance(part, str) else None for part in prompt.parts]
        digest.update(json.dumps([prompt.index, parts], ensure_ascii=True).encode())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Of Python and of the packages that decide answers and scores."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> Commit | None:
    """The checkout this code runs from and whether it was changed; None when it is no checkout or there is no git."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=20
        ).stdout.strip()

    try:
        return Commit(sha=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return None


def session(device: str, batch_size: str, world_size: int) -> RunSession:
    """One stretch of work on a run, beginning now."""
    return RunSession(
        started=now(),
        finished=None,
        command=command(),
        device=device,
        batch_size=batch_size,
        world_size=world_size,
        versions=versions(),
        commit=commit(),
        num_predicted={},
    )


def command() -> list[str]:
    """As it was typed, without what is secret in it."""
    return redact_command([Path(sys.argv[0]).name, *sys.argv[1:]])


def _comparable(run: RunRecord, tasks: Iterable[str], tables: Iterable[str]) -> dict[str, Any]:
    """The fields that decide the answers, cut down to the given tasks and tables.

    Where the folder lies does not matter.
    """
    whole = run.model_dump()
    identity = {key: whole[key] for key in IDENTITY}
    model = {key: value for key, value in whole["model"].items() if key not in NO_IDENTITY}
    if isinstance(model.get("base_url"), str):  # once written down as it was typed
        model["base_url"] = read_address(model["base_url"], "run.json").server
    identity["model"] = model
    if run.probe is not None:
        identity["probe"] = {"name": run.probe.name, "does": run.probe.does}
    identity["tasks"] = {name: whole["tasks"][name] for name in sorted(tasks)}
    identity["data"] = {"tables": {name: whole["data"]["tables"][name] for name in sorted(tables)}}
    return identity


def marked(run: RunRecord, tables: Mapping[str, Iterable[str]]) -> RunRecord:
    """With the mark of each task's answers; `tables` are each task's."""
    return run.model_copy(update={"answers": {task: answers_mark(run, task, names) for task, names in tables.items()}})


def answers_mark(run: RunRecord, task: str, tables: Iterable[str]) -> str:
    """By which the answers to a task are known as this run's: a hash of all that decides them."""
    wanted = _comparable(run, [task], tables)
    if run.imported:
        wanted["name"] = run.model.name
    return hashlib.sha256(json.dumps(wanted, sort_keys=True, default=str).encode()).hexdigest()[:16]


class FieldChange(NamedTuple):
    """A field (dotted name) and its two values."""

    field: str
    before: Any
    after: Any


def _first_difference(before: Any, after: Any, field: str = "") -> FieldChange | None:
    """In the order of the fields; None when there is none."""
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return None if before == after else FieldChange(field, before, after)
    for key in dict.fromkeys([*before, *after]):
        found = _first_difference(before.get(key), after.get(key), f"{field}.{key}" if field else str(key))
        if found:
            return found
    return None


def check_same(root: Path, stored: RunRecord, wanted: RunRecord) -> None:
    """Refuses to go on with another run than the one stored in `root`.

    Tasks that only one of them has are no difference: a run grows task by task.

    Raises:
        UserError: `wanted` is another run; the first field that differs is named.
    """
    tasks = stored.tasks.keys() & wanted.tasks.keys()
    tables = stored.data.tables.keys() & wanted.data.tables.keys()
    difference = _first_difference(_comparable(stored, tasks, tables), _comparable(wanted, tasks, tables))
    if difference:
        raise UserError(
            f"{root} holds another run: {difference.field} was {_shown(difference.before)} and would now be "
            f"{_shown(difference.after)}; choose another --out, or --fresh to start over"
        )


def _shown(value: object) -> str:
    """Text in quotes, a record in words."""
    return repr(value) if isinstance(value, str) else in_words(value)


def extend(stored: RunRecord, wanted: RunRecord) -> RunRecord:
    """The stored run with the tasks and tables of the wanted one added."""
    added = {task: mark for task, mark in wanted.answers.items() if task not in stored.tasks}
    tables = stored.data.tables | wanted.data.tables
    return stored.model_copy(
        update={
            "probe": _extended(stored.probe, wanted.probe),
            "tasks": stored.tasks | wanted.tasks,
            "answers": added | stored.answers,
            "data": stored.data.model_copy(update={"tables": tables}),
        }
    )


def _extended(stored: ProbeRecord | None, wanted: ProbeRecord | None) -> ProbeRecord | None:
    if stored is None or wanted is None:
        return stored
    return stored.model_copy(
        update={
            "not_asked": stored.not_asked | wanted.not_asked,
            "left_out": stored.left_out | wanted.left_out,
        }
    )


def file_checksums(paths: Sequence[Path]) -> str:
    """One sha256 over the names and contents of the files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
