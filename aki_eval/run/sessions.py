"""Each stretch of work on a run, as run.json tells it: what was proved before the first answer, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.records import Prompt
from benchmarks.results.record import RunRecord, SelfTest
from benchmarks.results.store import RunStore

from ..predictors import Predictor
from .inputs import TaskInput
from .opening import pending
from .options import RunOptions
from .preflight import check_batching, refuse_failed_checks
from .specification import now, session


def begin_session(
    folder: RunStore, options: RunOptions, predictor: Predictor, inputs: Sequence[TaskInput], num_processes: int
) -> None:
    """Records session, mask self-test and (when asked for) batching check, before the first answer.

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
        }
    )
    folder.write_run(run)
    refuse_failed_checks(run)


def end_session(folder: RunStore, inputs: Sequence[TaskInput], todo: Mapping[str, Sequence[Prompt]]) -> None:
    """Records when it ended and how many answers it brought, over all processes, of those that were `todo`."""
    run = stored_run(folder)
    left = {given.task.name: len(pending(folder, given)) for given in inputs}
    gained = {name: len(prompts) - left[name] for name, prompts in todo.items() if prompts}
    *earlier, last = run.sessions
    last = last.model_copy(update={"finished": now(), "num_predicted": gained})
    folder.write_run(run.model_copy(update={"sessions": [*earlier, last]}))


def stored_run(folder: RunStore) -> RunRecord:
    run = folder.read_run()
    assert run is not None, "rank 0 writes run.json before anybody works"
    return run
