"""`aki_eval.evaluate`: the whole way from a model to its numbers, from Python."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import given, in_order
from benchmarks.data.root import OFFICIAL, is_toy
from benchmarks.errors import UserError
from benchmarks.records import PromptStyle
from benchmarks.results.folder import open_run
from benchmarks.results.roll import wait_until_scored
from benchmarks.task import Task
from benchmarks.tasks import TASKS

from ..judges import JudgeOptions
from ..predictors import Predictor, as_predictor
from ..run.distributed import find_world
from ..run.inputs import find_tasks
from ..run.progress import Progress
from ..run.run import RunOptions, run
from ..run.subset import parse
from .results import Results
from .tables import write_tables

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..predictors.given import Answers


def evaluate(
    model: str | Path | tuple[Any, Any] | Answers | Predictor,
    bench: str | Task | Sequence[str | Task] | None = None,
    *,
    data: str | Path | Mapping[str, DataFrame] = OFFICIAL,
    judge: str | JudgeOptions = "auto",
    out: str | Path | None = None,
    prompts: PromptStyle = "aki",
    subset: int | str | None = None,
    batch_size: int | None = None,
    max_new_tokens: int | None = None,
    max_failure_rate: float = 0.1,
    device: str = "auto",
    dtype: str = "auto",
    attention: str | None = None,
    image_order: str | None = None,
    offline: bool = False,
    fresh: bool = False,
    progress: bool = True,
) -> Results:
    """Asks a model every question of the benchmarks and scores its answers, as `aki-eval run` does.

    Args:
        model: A checkpoint folder, a Hub id, `vlmevalkit:NAME` or `openai:NAME`; a pair of a loaded model and its
            processor, AKI or any image-text-to-text model of transformers; or an object with `predict(prompts)` that
            gives one text a prompt (`aki_eval.predictors.given.Answers` says what it may have besides).
        bench: Benchmarks by name (`aki-eval list`), as files or as `Task`s of your own, one or several; "all" is the
            paper's ten and the default. Of `data` given as frames, those
            whose tables are there.
        data: "official", "toy", "toy-test" (its scenes kept for a finding), a folder of VLMEvalKit's tables, or the
            tables themselves: data frames by table name ("POPE"), with VLMEvalKit's columns. Their `image` cells are
            base64 texts, bytes of a picture file, PIL images, lists of these, or the index of the row that holds the
            picture.
        judge: A model's name, "offline", "none", "replay[:NAME]", "auto" (offline for the toy, else none), or
            JudgeOptions with a server, a budget and the like.
        out: The run folder; an earlier run in it is gone on with. Default: runs/NAME, runs/NAME-toy for the toy.
        prompts: Wording of the prompts: as AKI's paper, or as VLMEvalKit.
        subset: About so many samples a task (whole clusters, nested), or "ci".
        batch_size: None: found out.
        max_new_tokens: Instead of each benchmark's own limit.
        max_failure_rate: The run stops when more than this share of samples fails.
        device: For a model given by name: "auto", "cpu", "cuda", ...
        dtype: For a model given by name: "auto", "float32", "bfloat16" or "float16".
        attention: For AKI given by name: a kind of mask, instead of the one it was trained with.
        image_order: For AKI given by name: "image_first" or "text_first", instead of its processor's.
        offline: Never touch the network for a model given by name.
        fresh: Forget what the run folder holds.
        progress: Show how far it is, on stderr.

    Returns:
        The results; samples that failed are unscored in them, with the reason, and `complete` is False. A benchmark
        without tables is left out with a warning, unless none has any.

    Raises:
        UserError: something that the caller can fix: no such model, table or benchmark, a folder with another run.
        TooManyFailures: more than `max_failure_rate` of the samples failed; what was answered is in the run folder.
    """
    predictor = as_predictor(
        model, device=device, dtype=dtype, attention=attention, image_order=image_order, offline=offline
    )
    folder = Path(out) if out is not None else Path("runs") / (predictor.name + ("-toy" if is_toy(data) else ""))
    options = RunOptions(
        tasks=_tasks(bench, data),
        data=write_tables(data, folder) if isinstance(data, Mapping) else str(data),
        out=folder,
        prompts=prompts,
        subset=parse(None if subset is None else str(subset)),
        batch_size=batch_size,
        judge=judge if isinstance(judge, JudgeOptions) else JudgeOptions(name=judge),
        max_new_tokens=max_new_tokens,
        max_failure_rate=max_failure_rate,
        fresh=fresh,
    )
    is_main = find_world().is_main
    show = Progress(quiet=not progress or not is_main)
    result = run(options, predictor, show)
    while not result.scored and not wait_until_scored(folder):  # the last worker scores for all; should it die, another
        result = run(options, predictor, show)
    for name, reason in result.left_out.items() if is_main else ():
        warnings.warn(f"{name} is left out: {reason}", stacklevel=2)
    return Results(open_run(folder))


def _tasks(bench: str | Task | Sequence[str | Task] | None, data: object) -> list[Task]:
    if bench is not None:
        listed = [bench] if isinstance(bench, str | Task) else list(bench)
        found = [task for each in listed for task in (find_tasks(each) if isinstance(each, str) else [given(each)])]
        by_name = {task.name: task for task in found}
        return [by_name[name] for name in in_order(by_name)]
    if not isinstance(data, Mapping):
        return find_tasks("all")
    found = [task for task in TASKS.values() if all(table.name in data for table in task.tables)]
    if not found:
        known = ", ".join(table.name for task in TASKS.values() for table in task.tables)
        raise UserError(f"data: tables {', '.join(map(str, data)) or 'of nothing'}; expected some of {known}")
    return found
