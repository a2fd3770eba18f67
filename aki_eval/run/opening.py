"""The run folder, opened for work or joined: the same run as before, and nothing that is known to fail later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.errors import UserError
from benchmarks.results.record import FORMAT, DataRecord, EngineCheck, ModelRecord, ProbeRecord, RunRecord
from benchmarks.results.roll import READY, Roll, enter, last_job, this_process
from benchmarks.results.store import RunStore

from ..predictors import EnginePredictor, Predictor
from .batching import ordered
from .chunks import Chunks, cut, pending
from .distributed import World
from .inputs import TaskInput
from .likelihood import likelihood_lot, merge_likelihoods, to_ask, wanted_names
from .options import RunOptions
from .preflight import admit_engine, check_ahead, refuse_failed_self_test
from .probing import take_over
from .sessions import begin_session
from .specification import check_same, command, commit, extend, marked, now, versions


@dataclass(frozen=True)
class Opened:
    """A run folder that this process works in. `worker`: whose file its answers go to; None: the run's own."""

    folder: RunStore
    roll: Roll
    chunks: Chunks
    worker: str | None


@contextmanager
def open_for_writing(
    options: RunOptions, predictor: Predictor, inputs: Sequence[TaskInput], world: World, say: Callable[[str], None]
) -> Iterator[Opened | None]:
    """The folder with the work in it: by who comes first, or as the first one left it for the others.

    None where this worker's job has finished everything without it.

    Raises:
        UserError: it cannot be written, is in use, or holds another run; or a server to be asked does not answer.
    """
    options.judge.resolve(options.data)  # refused before there is a folder
    if options.judge.is_served:
        options.judge.served.server.require_key()
    joins = world.joins or options.join
    folder = RunStore(options.out)
    folder.create()
    worker = this_process(job=_job(options, world))
    if options.fresh and joins and world.job is None:
        raise UserError(
            "--fresh: nothing says which workers belong together, and one that comes late would delete what the others "
            f"did; delete {options.out} first, then start them without --fresh"
        )
    wanted = specify(options, predictor, inputs)
    if not options.fresh and (stored := folder.read_run()) is not None:
        check_same(folder.root, stored, wanted)
    while True:
        roll = enter(folder.root, worker, joins=joins, say=say)
        if roll is None:
            yield None
            return
        with roll:
            chunks = (
                _open(options, predictor, inputs, wanted, folder, roll, world.size, joins)
                if roll.is_opener
                else _join(options, predictor, inputs, wanted, folder, roll)
            )
            if chunks is not None:
                yield Opened(folder, roll, chunks, worker.name if joins else None)
                return


def _job(options: RunOptions, world: World) -> str:
    """What tells workers at the same from others; what was asked for is part of it, as a job may ask for more later."""
    asked = [
        *sorted(task.name for task in options.tasks),
        *(options.prompts, options.subset, options.judge.name, options.judge.protocols),
        options.probe.name if options.probe else None,
    ]
    return f"{world.job or 'by hand'}, {hashlib.sha256(repr(asked).encode()).hexdigest()[:8]}"


def _open(
    options: RunOptions,
    predictor: Predictor,
    inputs: Sequence[TaskInput],
    wanted: RunRecord,
    folder: RunStore,
    roll: Roll,
    num_processes: int,
    joins: bool,
) -> Chunks:
    """run.json, the session in it, and the list of what is to be done. Nobody else works until the roll says ready."""
    folder.sweep()
    unfinished = [given.task for given in inputs if options.fresh or pending(folder, given)]
    check_ahead(predictor, options.judge, unfinished)
    engine = _admitted(options, predictor, inputs) if unfinished else None
    fresh = options.fresh and not (joins and last_job(folder.root) == roll.worker.job)
    _write_run(folder, fresh, wanted, inputs)
    if options.probe is not None:
        take_over(folder, inputs)
    lots = {given.task.name: cut(pending(folder, given)) for given in inputs}
    if any(lots.values()):
        begin_session(folder, options, predictor, inputs, num_processes, engine)
    names = wanted_names(options.judge.protocols)
    lots |= {likelihood_lot(given): cut(ordered(to_ask(folder, given, names))) for given in inputs if names}
    chunks = Chunks.publish(roll, lots)
    roll.note(READY)
    return chunks


def _admitted(options: RunOptions, predictor: Predictor, inputs: Sequence[TaskInput]) -> EngineCheck | None:
    """Raises UserError for an engine that does not answer as `generate` does."""
    if not isinstance(predictor, EnginePredictor):
        return None
    return admit_engine(predictor, [given for given in inputs if given.prompts], options.batch_size)


def _join(
    options: RunOptions,
    predictor: Predictor,
    inputs: Sequence[TaskInput],
    wanted: RunRecord,
    folder: RunStore,
    roll: Roll,
) -> Chunks | None:
    """The list of what is to be done, once this worker is known to do the same; None where its writer has died over it.

    Raises:
        UserError: it is not at the same run, the mask of its model is not what the configuration says, or its engine
            does not answer as `generate` does.
    """
    if any(pending(folder, given) for given in inputs):
        refuse_failed_self_test(predictor.name, predictor.self_test())  # loads the model, while the first one does too
        _admitted(options, predictor, inputs)  # on this machine
    if not roll.wait_until_ready():
        return None
    stored = folder.read_run()
    assert stored is not None, "who opens a session writes run.json before it is ready"
    check_same(folder.root, stored, wanted)
    chunks = Chunks.join(roll)
    names = wanted_names(options.judge.protocols)
    own = {given.task.name for given in inputs} | {likelihood_lot(given) for given in inputs if names}
    if own != set(chunks.lots):
        raise UserError(
            f"{folder.root}: the workers there are at {', '.join(sorted(chunks.lots))}, and this one would be at "
            f"{', '.join(sorted(own))}; give all the same --bench, --protocols and tables"
        )
    return chunks


def merge_workers(folder: RunStore, inputs: Sequence[TaskInput]) -> None:
    """One file of predictions a task, in the table's order. Only for who holds the folder alone."""
    for given in inputs:
        folder.merge(given.task.name, (sample.index for sample in given.samples))
        merge_likelihoods(folder, given)


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
        decoding={
            "strategy": "greedy",
            **({"engine": predictor.engine} if isinstance(predictor, EnginePredictor) else {}),
        },
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


def _write_run(folder: RunStore, fresh: bool, wanted: RunRecord, inputs: Sequence[TaskInput]) -> None:
    """Writes run.json, or checks that what is there is the same run, and merges what dead processes left."""
    if fresh:
        folder.clear()
    stored = folder.read_run()
    folder.refuse_leftovers(wanted.tasks, stored)
    if stored is not None:
        check_same(folder.root, stored, wanted)
        wanted = extend(stored, wanted)
    folder.write_run(wanted)
    merge_workers(folder, inputs)
