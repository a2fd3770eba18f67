"""`aki-eval import`: predictions made elsewhere become a run folder, and are scored like our own."""

from __future__ import annotations

import hashlib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.data.load import checksum, load_samples
from benchmarks.records import Prediction, Sample, Task, UserError
from benchmarks.results.store import RunFolder, out_folder

from ..imports.matching import Matches, match
from ..imports.readers import read_records
from ..run.inputs import OFFICIAL, TaskInput, data_root, find_tasks
from ..run.preflight import check_ahead
from ..run.score import JudgeOptions, score_inputs
from ..run.specification import FORMAT, answers_mark, extend, now, session
from ..run.summary import explain_incomplete, how_to_ask, show_results

UNKNOWN = "unknown"
EXAMPLES = 5
PROBLEMS = {
    "missing": "questions have no prediction",
    "unknown": "predictions answer no question of the table",
    "disagreeing": "predictions quote another question than the one at their index",
    "conflicting": "questions have several different predictions, of which none is used",
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """What was taken over for one task: its predictions by sample, and what each file gave."""

    predictions: dict[str, Prediction]
    files: dict[str, dict[str, Any]]
    num_missing: int


def command(
    bench: Annotated[str, typer.Option(help="The benchmark that was answered; aki-eval list shows them.")],
    predictions: Annotated[list[Path], typer.Option(help="xlsx, tsv, csv, jsonl or json; once for each table.")],
    out: Annotated[
        Path,
        typer.Option(
            parser=out_folder, metavar="PATH", help="Run folder to write, or one of earlier imports to add to."
        ),
    ],
    data: Annotated[str, typer.Option(help="official, toy, or a folder of tables.")] = OFFICIAL,
    name: Annotated[str | None, typer.Option(help="The model's name. Default: the file's.")] = None,
    prompts: Annotated[str, typer.Option(help="Which prompts were sent: aki, vlmevalkit or unknown.")] = UNKNOWN,
    index_field: Annotated[str | None, typer.Option(help="Where the index stands, such as doc.question_id.")] = None,
    prediction_field: Annotated[str | None, typer.Option(help="Where the prediction stands.")] = None,
    table_column: Annotated[
        str | None, typer.Option(help="The table's column with that index. Default: index.")
    ] = None,
    judge: Annotated[str, typer.Option(help="As in aki-eval run.")] = "auto",
    judge_base_url: Annotated[str | None, typer.Option(help="Of an OpenAI-compatible server for the judge.")] = None,
    judge_budget: Annotated[float | None, typer.Option(help="Dollars the judge may cost.")] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Exit with 0 though samples are unscored.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what the run folder holds.")] = False,
) -> int:
    """Take over predictions made elsewhere, say what could not be matched, and score the rest."""
    tasks = find_tasks(bench)
    if len(tasks) != 1:
        raise UserError(f"--bench {bench}: predictions are imported for one benchmark at a time")
    if prompts not in ("aki", "vlmevalkit", UNKNOWN):
        raise UserError(f"--prompts: {prompts!r}, expected aki, vlmevalkit or {UNKNOWN}")
    task, root = tasks[0], data_root(data)
    samples = load_samples(task, root)
    found = collect(task, samples, predictions, index_field, prediction_field, table_column)
    tables = checksum(task, root)
    options = JudgeOptions(name=judge, base_url=judge_base_url, budget=judge_budget)
    check_ahead(None, options, data, [task])
    model = name or predictions[0].stem
    folder = RunFolder(out)
    is_new = not out.exists()
    try:
        folder.create()
        with folder.locked():
            run = _write(folder, task, found, specify(task, model, prompts, data, tables, found), fresh)
            given = TaskInput(task=task, samples=samples, prompts=[], specification={}, tables=tables)
            results = score_inputs(folder, run, [given], options)
    except BaseException:
        if is_new:
            folder.remove_empty()
        raise
    show_results(Console(), out, results)
    return explain_incomplete(out, results, allow_partial, how_to_ask(run))


def collect(
    task: Task,
    samples: list[Sample],
    paths: list[Path],
    index_field: str | None = None,
    prediction_field: str | None = None,
    table_column: str | None = None,
) -> Import:
    """Read and match all files of one task; says on stderr what could not be matched.

    Raises:
        UserError: a file cannot be read or matched, or two files answer the same question.
    """
    predictions: dict[str, Prediction] = {}
    files = {}
    for path in paths:
        records = read_records(path, index_field, prediction_field)
        matches = match(task, samples, records, table=_table_of(task, path), column=table_column)
        twice = sorted(predictions.keys() & matches.predictions.keys())
        if twice:
            raise UserError(f"{path} answers {len(twice)} questions that another file answers too, such as {twice[0]}")
        predictions |= matches.predictions
        files[path.name] = _summary(path, matches)
        _tell(path, matches)
    return Import(
        predictions=predictions,
        files=files,
        num_missing=sum(sample.index not in predictions for sample in samples),
    )


def _table_of(task: Task, path: Path) -> str | None:
    """Of a task with several tables the one in the file's name, as VLMEvalKit names them (MODEL_CV-Bench-2D.xlsx)."""
    if len(task.tables) == 1:
        return None
    return next((table.name for table in task.tables if table.name in path.stem), None)


def _summary(path: Path, matches: Matches) -> dict[str, Any]:
    """For run.json: the file, and everything that did not fit."""
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "matched_by": matches.by,
        "num_matched": len(matches.predictions),
        "num_repeated": matches.num_repeated,
        **{name: {"count": len(names), "examples": names[:EXAMPLES]} for name, names in _problems(matches).items()},
    }


def _problems(matches: Matches) -> dict[str, list[str]]:
    return {
        "missing": matches.missing,
        "unknown": matches.unknown,
        "disagreeing": matches.disagreeing,
        "conflicting": matches.conflicting,
    }


def _tell(path: Path, matches: Matches) -> None:
    """One line on stderr for what was taken over, one for each kind of trouble."""
    answered = sum(prediction.text is not None for prediction in matches.predictions.values())
    failed = len(matches.predictions) - answered - len(matches.conflicting)
    print(f"{path.name}: {answered} predictions matched by {matches.by}", file=sys.stderr)
    for problem, names in _problems(matches).items():
        if names:
            examples = ", ".join(names[:EXAMPLES]) + (", ..." if len(names) > EXAMPLES else "")
            print(f"{path.name}: {len(names)} {PROBLEMS[problem]}: {examples}", file=sys.stderr)
    if matches.num_repeated:
        print(f"{path.name}: {matches.num_repeated} predictions were there twice, word for word", file=sys.stderr)
    if failed:
        print(f"{path.name}: {failed} predictions are failures, not answers; they stay unscored", file=sys.stderr)


def specify(task: Task, model: str, prompts: str, source: str, tables: dict[str, Any], found: Import) -> dict[str, Any]:
    """run.json of an import: nobody knows what made the predictions beyond what the user says."""
    imported = {"prompts_sha256": None, "max_new_tokens": None, "imported": found.files}
    run: dict[str, Any] = {
        "format": FORMAT,
        "created": now(),
        "model": {"name": model, "kind": "imported"},
        "mask_self_test": None,
        "dtype": None,
        "prompts": prompts,
        "decoding": None,
        "subset": None,
        "data": {"source": source, "tables": tables},
        "tasks": {task.name: imported},
        "check_batching": None,
        "sessions": [session("none", "none", 1)],
    }
    return run | {"answers": {task.name: answers_mark(run, task.name, tables)}}


def _write(folder: RunFolder, task: Task, found: Import, wanted: dict[str, Any], fresh: bool = False) -> dict[str, Any]:
    """run.json, then predictions.jsonl; adds a task to the folder of earlier imports of the same model.

    The owner stands in run.json before the first answer is there, and all answers appear at once: killed in between,
    the same import goes on and any other one is refused. What fails otherwise leaves the folder as it was.

    Raises:
        UserError: the folder holds another run, or other answers for this task.
    """
    if fresh:
        folder.clear()
    stored = folder.read_run()
    folder.refuse_leftovers([task.name], stored)
    run = wanted if stored is None else _added(folder, task, stored, wanted)
    if stored is not None and task.name in stored["tasks"] and folder.predictions(task.name):
        return run  # the very same import once more
    try:
        folder.write_run(run)
        folder.replace(task.name, found.predictions.values())
    except BaseException:
        folder.forget(task.name)
        folder.restore_run(stored)
        raise
    return run


def _added(folder: RunFolder, task: Task, stored: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The stored run with one more task.

    Raises:
        UserError: it is another model's, or has other answers for the task.
    """
    if stored["model"].get("kind") != "imported":
        raise UserError(f"{folder.root} holds a run of aki-eval run, no import; choose another --out")
    before, now = stored["model"]["name"], wanted["model"]["name"]
    if before != now:
        raise UserError(
            f"{folder.root} holds another run: its model is {before!r}, and these predictions would be of {now!r}; "
            f"if it is the same model, say --name {shlex.quote(before)}, else choose another --out"
        )
    if stored["prompts"] != wanted["prompts"]:
        raise UserError(
            f"{folder.root} holds another run: prompts is {stored['prompts']!r} there and {wanted['prompts']!r} here; "
            "choose another --out"
        )
    if task.name in stored["tasks"] and stored.get("answers", {}).get(task.name) != wanted["answers"][task.name]:
        raise UserError(
            f"{folder.root} holds other predictions for {task.name} already; choose another --out, or --fresh to "
            "forget all that it holds"
        )
    return {**extend(stored, wanted), "sessions": stored["sessions"] + wanted["sessions"]}
