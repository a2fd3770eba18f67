"""Each stretch of work on a run, as run.json tells it: what was proved before the first answer, what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results.record import EngineCheck, RunRecord, SelfTest
from benchmarks.results.store import RunStore

from ..predictors import Predictor
from .chunks import Chunks, pending
from .inputs import TaskInput
from .options import RunOptions
from .preflight import check_batching, refuse_failed_checks
from .specification import now, session


def begin_session(
    folder: RunStore,
    options: RunOptions,
    predictor: Predictor,
    inputs: Sequence[TaskInput],
    num_processes: int,
    engine: EngineCheck | None,
) -> None:
    """Records session, engine, mask self-test and (when asked for) batching check, before the first answer.

    Raises:
        UserError: the mask is not what the configuration says, or batches change answers.
    """
    run = stored_run(folder)
    size = options.batch_size
    begun = session(predictor.device, str(size or "auto"), num_processes)
    tested = predictor.self_test()
    batching = run.check_batching
    if options.check_batching:
        batching = check_batching(predictor, inputs, options.check_batching, size or predictor.batch_size)
    run = run.model_copy(
        update={
            "sessions": [*run.sessions, begun],
            "mask_self_test": None if tested is None else SelfTest(**tested),
            "check_batching": batching,
            "engine_check": engine,
        }
    )
    folder.write_run(run)
    refuse_failed_checks(run)


def end_session(folder: RunStore, inputs: Sequence[TaskInput], chunks: Chunks) -> None:
    """Records when it ended, who worked in it, and how many answers it brought."""
    run = stored_run(folder)
    left = {given.task.name: len(pending(folder, given)) for given in inputs}
    gained = {name: todo - left[name] for name in left if (todo := chunks.count(name))}
    workers = chunks.roll.names()
    *earlier, last = run.sessions
    ended = {"finished": now(), "num_predicted": gained, "world_size": len(workers), "workers": workers}
    folder.write_run(run.model_copy(update={"sessions": [*earlier, last.model_copy(update=ended)]}))


def stored_run(folder: RunStore) -> RunRecord:
    run = folder.read_run()
    assert run is not None, "who opens a session writes run.json before anybody works"
    return run
