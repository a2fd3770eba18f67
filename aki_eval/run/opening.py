"""The run folder, opened for work: nobody else's, the same run as before, and nothing that is known to fail later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.records import Prompt
from benchmarks.results.record import FORMAT, DataRecord, ModelRecord, ProbeRecord, RunRecord
from benchmarks.results.store import RunStore

from ..predictors import Predictor
from .batching import ordered
from .distributed import World
from .inputs import TaskInput
from .options import RunOptions
from .preflight import check_ahead
from .specification import check_same, command, commit, extend, marked, now, versions


@contextmanager
def open_for_writing(
    options: RunOptions, predictor: Predictor, inputs: Sequence[TaskInput], world: World
) -> Iterator[RunStore]:
    """The folder, locked for this process; rank 0 has made it and written run.json.

    Raises:
        UserError: it cannot be written, is in use, or holds another run; or a server to be asked does not answer.
    """
    options.judge.resolve(options.data)  # refused before there is a folder
    if options.judge.is_served:
        options.judge.served.server.require_key()
    folder = RunStore(options.out)
    if world.is_main:
        folder.create()
    with folder.locked(world.rank):
        if world.is_main:
            unfinished = [given.task for given in inputs if options.fresh or pending(folder, given)]
            check_ahead(predictor, options.judge, unfinished)
            _write_run(folder, options, predictor, inputs)
        yield folder


def pending(folder: RunStore, given: TaskInput) -> list[Prompt]:
    """What has no answer yet. An error is no answer: it is asked again."""
    predictions = folder.predictions(given.task.name)
    known = {index for index, prediction in predictions.items() if prediction.error is None}
    return ordered([prompt for prompt in given.prompts if prompt.index not in known])


def merge_ranks(folder: RunStore, inputs: Sequence[TaskInput]) -> None:
    """One file of predictions a task, in the table's order. Only for who holds the folder alone."""
    for given in inputs:
        folder.merge(given.task.name, (sample.index for sample in given.samples))


def specify(options: RunOptions, predictor: Predictor, inputs: Sequence[TaskInput]) -> RunRecord:
    """The content of run.json before the first sample."""
    model = predictor.describe()
    run = RunRecord(
        format=FORMAT,
        created=now(),
        model=ModelRecord(name=predictor.name, **{key: value for key, value in model.items() if key != "dtype"}),
        mask_self_test=None,
        dtype=model.get("dtype"),
        prompts=options.prompts,
        decoding={"strategy": "greedy"},
        subset=options.subset.record() if options.subset else None,
        data=DataRecord(
            source=options.data, tables={name: table for given in inputs for name, table in given.tables.items()}
        ),
        tasks={given.task.name: given.specification for given in inputs},
        answers={},
        check_batching=None,
        device=predictor.device,
        versions=versions(),
        commit=commit(),
        command=command(),
        sessions=[],
        probe=_probe_record(options, inputs),
    )
    return marked(run, {given.task.name: given.tables for given in inputs})


def _probe_record(options: RunOptions, inputs: Sequence[TaskInput]) -> ProbeRecord | None:
    probe = options.probe
    if probe is None:
        return None
    asked = {given.task.name for given in inputs}
    return ProbeRecord(
        name=probe.name,
        does=probe.does,
        not_asked={
            task.name: probe.why_not(task) or "none of its questions can be asked so"
            for task in options.tasks
            if task.name not in asked
        },
        left_out={given.task.name: given.left_out for given in inputs if given.left_out},
    )


def _write_run(folder: RunStore, options: RunOptions, predictor: Predictor, inputs: Sequence[TaskInput]) -> None:
    """Writes run.json, or checks that what is there is the same run, and merges what dead processes left."""
    if options.fresh:
        folder.clear()
    wanted = specify(options, predictor, inputs)
    stored = folder.read_run()
    folder.refuse_leftovers(wanted.tasks, stored)
    if stored is not None:
        check_same(folder.root, stored, wanted)
        wanted = extend(stored, wanted)
    folder.write_run(wanted)
    merge_ranks(folder, inputs)
