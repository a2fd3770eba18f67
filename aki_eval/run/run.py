"""A run, read from top to bottom: load, prompt, predict, store; then score.

Everything resumes: what is stored is not asked again, and a complete run is only read.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.records import Prediction, Prompt, PromptStyle
from benchmarks.results.record import FORMAT, DataRecord, ModelRecord, RunRecord, SelfTest
from benchmarks.results.store import RunStore
from benchmarks.task import Task

from ..judges import JudgeOptions
from ..predictors import Predictor, RemotePredictor, TaskAwarePredictor
from .batching import BatchSize, ordered
from .checks import check_batching, refuse_failed_checks
from .distributed import World, find_world
from .inputs import TaskInput, load
from .loop import Failures, Loop
from .preflight import check_ahead
from .progress import Progress
from .score import TaskOutcome, score_inputs
from .specification import check_same, command, commit, extend, marked, now, session, versions
from .subset import Subset


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What `aki-eval run` was asked for. `batch_size` None means automatic."""

    tasks: Sequence[Task]
    data: str
    out: Path
    prompts: PromptStyle = "aki"
    subset: Subset | None = None
    batch_size: int | None = None
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    max_new_tokens: int | None = None
    max_failure_rate: float = 0.1
    check_batching: int = 0
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UserError(f"--batch-size: {self.batch_size}, expected auto or a positive number")
        if not 0 < self.max_failure_rate <= 1:
            raise UserError(f"--max-failure-rate: {self.max_failure_rate}, expected a share between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came out.

    `num_predicted` counts the samples that were really asked; `results` is empty on ranks other than 0.
    """

    num_predicted: int
    seconds: float
    seconds_in_model: float
    results: list[TaskOutcome]


def run(options: RunOptions, predictor: Predictor, progress: Progress) -> RunResult:
    """The whole way. Raises UserError for what the user can fix, TooManyFailures when the cap is exceeded."""
    world = find_world()
    world.enter()
    folder = RunStore(options.out)
    if not world.is_main:
        world.meet()  # 1: rank 0 has prepared tables and folder
    inputs = load(options.tasks, options.data, options.prompts, options.subset, options.max_new_tokens)
    interruption = _Interruption()
    with interruption.watched():
        if world.is_main:
            folder.create()
        with folder.locked(world.rank):
            if world.is_main:
                unfinished = [given.task for given in inputs if options.fresh or _unanswered(folder, given)]
                check_ahead(predictor, options.judge, options.data, unfinished)
                _open(folder, options, predictor, inputs)
                world.meet()
            todo = {given.task.name: _unanswered(folder, given) for given in inputs}
            world.meet()  # 2: everybody holds a lock and knows what is to be done
            world.leave()
            work = _Work(options, folder, predictor, world, progress, interruption)
            try:
                work.predict(inputs, todo)
            finally:
                if isinstance(predictor, RemotePredictor):
                    predictor.close()
            return work.finish(inputs)


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
    )
    return marked(run, {given.task.name: given.tables for given in inputs})


def _open(folder: RunStore, options: RunOptions, predictor: Predictor, inputs: Sequence[TaskInput]) -> None:
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
    for given in inputs:
        folder.merge(given.task.name, (sample.index for sample in given.samples))


def _unanswered(folder: RunStore, given: TaskInput) -> list[Prompt]:
    """What has no answer yet. An error is no answer: it is asked again."""
    found = folder.predictions(given.task.name)
    known = {index for index, prediction in found.items() if prediction.error is None}
    return ordered([prompt for prompt in given.prompts if prompt.index not in known])


class _Work:
    """One process's share of the samples, and what the last of them leaves to rank 0."""

    def __init__(
        self,
        options: RunOptions,
        folder: RunStore,
        predictor: Predictor,
        world: World,
        progress: Progress,
        interruption: _Interruption,
    ) -> None:
        self.options = options
        self.folder = folder
        self.predictor = predictor
        self.world = world
        self.progress = progress
        self.interruption = interruption
        self.todo: dict[str, list[Prompt]] = {}
        self.num_predicted = 0
        self.seconds = 0.0
        self.in_model = 0.0

    def predict(self, inputs: Sequence[TaskInput], todo: dict[str, list[Prompt]]) -> None:
        self.todo = todo
        if not any(todo.values()):
            self.progress.say(f"nothing to predict: {self.folder.root} has every answer already")
            return
        if self.world.is_main:
            self._begin_session(inputs)
        mine = {name: self.world.share(prompts) for name, prompts in todo.items()}
        failures = Failures(cap=self.options.max_failure_rate)
        batch_size = BatchSize(self.options.batch_size, start=self.predictor.batch_size)
        with self.progress.predicting({name: len(prompts) for name, prompts in mine.items() if prompts}):
            for given in inputs:
                self._predict_task(given, mine[given.task.name], batch_size, failures)

    def _begin_session(self, inputs: Sequence[TaskInput]) -> None:
        """Session, mask self-test and (when asked for) batching check are recorded before the first answer."""
        run = self._read_run()
        size = self.options.batch_size
        count = self.options.check_batching
        work = session(self.predictor.device, str(size or "auto"), self.world.size)
        tested = self.predictor.self_test()
        batching = run.check_batching
        if count:
            batching = check_batching(self.predictor, inputs, count, size or self.predictor.batch_size)
        run = run.model_copy(
            update={
                "sessions": [*run.sessions, work],
                "mask_self_test": None if tested is None else SelfTest(**tested),
                "check_batching": batching,
            }
        )
        self.folder.write_run(run)
        refuse_failed_checks(run)

    def _read_run(self) -> RunRecord:
        run = self.folder.read_run()
        assert run is not None, "rank 0 writes run.json before anybody works"
        return run

    def _predict_task(self, given: TaskInput, prompts: list[Prompt], batch_size: BatchSize, failures: Failures) -> None:
        task = given.task
        if not prompts:
            return

        targets = {} if task.judged else {sample.index: sample.target for sample in given.samples}

        def save(predictions: list[Prediction]) -> None:
            append(predictions)
            self.num_predicted += len(predictions)
            self.progress.advance(task.name, predictions, _num_right(targets, predictions))
            self.interruption.check()

        if isinstance(self.predictor, TaskAwarePredictor):
            self.predictor.begin(task, given.samples, self.options.prompts)
        loop = Loop(self.predictor, given.max_new_tokens, batch_size, save, failures)
        start = time.perf_counter()
        try:
            with self.folder.appender(task.name, self.world.rank) as append:
                loop.run(prompts)
        finally:
            self.seconds += time.perf_counter() - start
            self.in_model += loop.in_model

    def finish(self, inputs: Sequence[TaskInput]) -> RunResult:
        """Rank 0 waits for the others to end, merges their files and scores; the others are done."""
        results: list[TaskOutcome] = []
        if self.world.is_main:
            for rank in range(1, self.world.size):
                self.folder.wait_for(rank)
            for given in inputs:
                self.folder.merge(given.task.name, (sample.index for sample in given.samples))
            run = self._end_session(inputs)
            results = score_inputs(self.folder, run, inputs, self.options.judge)
        return RunResult(
            num_predicted=self.num_predicted,
            seconds=self.seconds,
            seconds_in_model=self.in_model,
            results=results,
        )

    def _end_session(self, inputs: Sequence[TaskInput]) -> RunRecord:
        """Says when it ended and how many answers it brought, over all processes."""
        run = self._read_run()
        if any(self.todo.values()):
            left = {given.task.name: len(_unanswered(self.folder, given)) for given in inputs}
            gained = {name: len(prompts) - left[name] for name, prompts in self.todo.items() if prompts}
            *earlier, last = run.sessions
            last = last.model_copy(update={"finished": now(), "num_predicted": gained})
            run = run.model_copy(update={"sessions": [*earlier, last]})
            self.folder.write_run(run)
        return run


def _num_right(targets: Mapping[str, str], predictions: Sequence[Prediction]) -> int | None:
    """How many answers are the right one word for word: a glimpse for the progress bar, never a score."""
    if not targets:
        return None
    pairs = [(prediction.text or "", targets[prediction.index]) for prediction in predictions]
    return sum(text.strip(" .()").lower() == target.strip(" .()").lower() for text, target in pairs)


class _Interruption:
    """Ctrl-C and SIGTERM (schedulers, torchrun) stop the run: what is answered is on the disk.

    Both raise KeyboardInterrupt where they strike; should a library swallow that, `check` raises it after the batch.
    """

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        if self.requested:
            raise KeyboardInterrupt

    def _strike(self, *_: object) -> None:
        self.requested = True
        raise KeyboardInterrupt

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Installs the handlers; only a process's main thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._strike) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
