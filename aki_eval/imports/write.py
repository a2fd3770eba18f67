"""An import's run folder: run.json with the owner first, then all answers at once."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from benchmarks.errors import UserError
from benchmarks.results.record import FORMAT, IMPORTED, DataRecord, ModelRecord, RunRecord, TableRecord, TaskRecord
from benchmarks.results.store import RunStore

from ..run.specification import answers_mark, extend, now, session
from .collect import Import


def specify(
    model: str, prompts: str, source: str, tables: Mapping[str, Mapping[str, TableRecord]], found: Mapping[str, Import]
) -> RunRecord:
    """run.json of an import: nobody knows what made the predictions beyond what the user says.

    `tables` and `found` are by task.
    """
    run = RunRecord(
        format=FORMAT,
        created=now(),
        model=ModelRecord(name=model, kind=IMPORTED),
        mask_self_test=None,
        dtype=None,
        prompts=prompts,
        decoding=None,
        subset=None,
        data=DataRecord(source=source, tables={name: table for own in tables.values() for name, table in own.items()}),
        tasks={task: asked(each.files) for task, each in found.items()},
        answers={},
        check_batching=None,
        device=None,
        versions=None,
        commit=None,
        command=None,
        sessions=[session("none", "none", 1)],
    )
    return run.model_copy(update={"answers": {task: _mark(run, task, own) for task, own in tables.items()}})


def asked(files: dict[str, dict[str, Any]]) -> TaskRecord:
    """A task's entry: nobody knows what was asked, only in which files the answers came."""
    return TaskRecord(prompts_sha256=None, max_new_tokens=None, num_samples=None, imported=files)


def _mark(run: RunRecord, task: str, tables: Mapping[str, TableRecord]) -> str:
    """The same for the same files, wherever they lie."""
    files = run.tasks[task].imported or {}
    sums = sorted(file["sha256"] for file in files.values())
    nameless = asked({str(number): {"sha256": one} for number, one in enumerate(sums)})
    return answers_mark(run.model_copy(update={"tasks": {task: nameless}}), task, tables)


def write(folder: RunStore, found: Mapping[str, Import], wanted: RunRecord, fresh: bool = False) -> RunRecord:
    """run.json, then each predictions.jsonl; adds tasks to the folder of earlier imports of the same model.

    The owner stands in run.json before the first answer is there, and a task's answers appear at once: killed in
    between, the same import goes on and any other one is refused. What fails otherwise leaves the folder as it was.

    Raises:
        UserError: the folder holds another run, or other answers for one of the tasks.
    """
    if fresh:
        folder.clear()
    stored = folder.read_run()
    folder.refuse_leftovers(found, stored)
    run = wanted if stored is None else _added(folder, stored, wanted)
    known = {} if stored is None else stored.tasks
    new = [task for task in found if task not in known or not folder.predictions(task)]
    if not new:
        return run  # the very same import once more
    try:
        folder.write_run(run)
        for task in new:
            folder.replace(task, found[task].predictions.values())
    except BaseException:
        for task in new:
            folder.forget(task)
        folder.restore_run(stored)
        raise
    return run


def _added(folder: RunStore, stored: RunRecord, wanted: RunRecord) -> RunRecord:
    """The stored run with more tasks.

    Raises:
        UserError: it is another model's, or has other answers for one of the tasks.
    """
    if not stored.imported:
        raise UserError(f"{folder.root} holds a run of aki-eval run, no import; choose another --out")
    before, now = stored.model.name, wanted.model.name
    if before != now:
        raise UserError(
            f"{folder.root} holds another run: its model is {before!r}, and these predictions would be of {now!r}; "
            f"if it is the same model, say --name {shlex.quote(before)}, else choose another --out"
        )
    if stored.prompts != wanted.prompts:
        raise UserError(
            f"{folder.root} holds another run: prompts is {stored.prompts!r} there and {wanted.prompts!r} here; "
            "choose another --out"
        )
    for task, mark in wanted.answers.items():
        if task in stored.tasks and stored.answers.get(task) != mark:
            raise UserError(
                f"{folder.root} holds other predictions for {task} already; choose another --out, or --fresh to "
                "forget all that it holds"
            )
    return extend(stored, wanted).model_copy(update={"sessions": stored.sessions + wanted.sessions})
