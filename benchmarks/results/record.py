"""run.json: what made a run. One type that everything reads and writes.

Version 2. Version 1 had no `answers`, and an import's run.json lacked what only a run of ours knows; both are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from ..checked import Checked
from ..errors import UserError

FORMAT: Literal[2] = 2
NOT_VERIFIED = "not verified"
IMPORTED = "imported"
"""The kind of model of whose answers nobody knows how they were made."""


class Described(Checked):
    """A record with further fields of whoever describes itself. Only what was said is written."""

    model_config = ConfigDict(extra="allow")

    @model_serializer(mode="wrap")
    def _as_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        return {name: value for name, value in fields.items() if name in self.model_fields_set}


class ModelRecord(Described):
    """The predictor's description of itself; weights' checksum, versions and the like besides the fields named here."""

    name: str
    kind: str
    path: str | None = None
    attention: str | None = None
    """The kind that the run used; `trained_attention` is the checkpoint's own. Both absent where nobody knows."""
    trained_attention: str | None = None
    image_order: str | None = None
    """Of picture and text in the prompts; `trained_image_order` is that of the checkpoint's last training. In runs
    older than `trained_image_order` it is the latter."""
    trained_image_order: str | None = None
    training_seed: int | None = None
    """Of the training that made the weights; absent where nobody knows."""
    mask: str | None = None
    """`not verified` where a server computes and nobody could look; absent where the self-test speaks."""

    @property
    def is_served(self) -> bool:
        """Whether a server answered: what its engine does with the mask cannot be seen from here."""
        return self.mask == NOT_VERIFIED or self.kind == "openai"


class SelfTest(Described):
    """What the model's self-test found; its evidence besides the verdict."""

    passed: bool


class TableRecord(Checked):
    """A table as it was read."""

    sha256: str
    num_rows: int


class DataRecord(Checked):
    """Where the tables were found, and which they were, by name."""

    source: str
    tables: dict[str, TableRecord]


class TaskRecord(Checked):
    """What was asked. The hash covers the prompts of the whole table; None where it is not known (imports)."""

    prompts_sha256: str | None
    max_new_tokens: int | None
    num_samples: int | None
    imported: dict[str, dict[str, Any]] | None
    """Of an import: its files by name, and what in them did not fit."""


class SubsetRecord(Checked):
    """Which part of a benchmark was asked: about `size` samples drawn with `seed`, or a committed list by name."""

    size: int | None
    name: str | None
    seed: int


class DifferingSample(Checked):
    """A sample answered otherwise alone than in a batch."""

    task: str
    index: str
    alone: str | None
    in_batch: str | None


class BatchingCheck(Checked):
    """`--check-batching`: which samples are answered differently in a batch than alone."""

    batch_size: int
    num_samples: int
    differing: list[DifferingSample]


class EngineCheck(Checked):
    """`--engine`: who answered in the last session, and how many answers were those of `generate` before it.

    Token for token: an engine of which one is not is refused.
    """

    name: str
    library: str
    version: str
    num_questions: int
    num_tokens: int
    longest: int


class Commit(Checked):
    """Of this toolkit's checkout; `dirty`: files differed from it."""

    sha: str
    dirty: bool


class RunSession(Checked):
    """One stretch of work on a run: who, when, with what. Times are ISO 8601, UTC."""

    started: str
    finished: str | None
    command: list[str]
    device: str
    batch_size: str
    world_size: int
    versions: dict[str, str]
    commit: Commit | None
    num_predicted: dict[str, int]
    workers: list[str] = Field(default_factory=list)
    """Names of the processes, in the order in which they came; empty while it is at work, and in older runs."""


class ProbeRecord(Checked):
    """A run that asked the questions otherwise (`benchmarks.probes`)."""

    name: str
    does: str
    not_asked: dict[str, str]
    left_out: dict[str, dict[str, int]]


class RunRecord(Checked):
    """The content of run.json."""

    format: Literal[2]
    created: str
    model: ModelRecord
    mask_self_test: SelfTest | None
    dtype: str | None
    prompts: str
    decoding: dict[str, str] | None
    subset: SubsetRecord | None
    data: DataRecord
    tasks: dict[str, TaskRecord]
    answers: dict[str, str]
    """By task: the mark that its answers carry (`specification.answers_mark`); absent for runs older than marks."""
    check_batching: BatchingCheck | None
    device: str | None
    versions: dict[str, str] | None
    commit: Commit | None
    command: list[str] | None
    sessions: list[RunSession]
    probe: ProbeRecord | None = None
    engine_check: EngineCheck | None = None

    @property
    def imported(self) -> bool:
        return self.model.kind == IMPORTED

    def prompts_hash(self, task: str) -> str | None:
        return self.tasks[task].prompts_sha256 if task in self.tasks else None

    def to_json(self) -> str:
        return json.dumps(self.model_dump(), indent=2, ensure_ascii=False) + "\n"


def read_record(path: Path) -> RunRecord:
    """A run.json of any version.

    Raises:
        UserError: it cannot be read, is none of ours, or is of a later version.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}); is {path.parent} a run folder?") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected the object that aki-eval run writes")
    version = content.get("format", 1)
    while version in MIGRATIONS:
        content = MIGRATIONS[version](content)
        version = content["format"]
    if version != FORMAT:
        raise UserError(f"{path} was written in format {version!r}, this version reads up to {FORMAT}")
    return RunRecord.of(content, f"{path} is not as aki-eval run writes it; restore or delete it")


def _from_1(old: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1: no marks; imports without device, versions, commit and command; tasks without what did not apply."""
    late: dict[str, Any] = {"answers": {}, "device": None, "versions": None, "commit": None, "command": None}
    tasks = old.get("tasks")
    if isinstance(tasks, dict):
        usual = {"num_samples": None, "imported": None}
        tasks = {name: usual | task if isinstance(task, dict) else task for name, task in tasks.items()}
    return late | dict(old) | {"format": 2, "tasks": tasks}


MIGRATIONS: Mapping[Any, Callable[[Mapping[str, Any]], dict[str, Any]]] = {1: _from_1}
"""From each version to the next."""
