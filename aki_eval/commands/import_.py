"""`aki-eval import`: predictions made elsewhere become a run folder, and are scored like our own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.console import PlainConsole
from benchmarks.data.load import checksum, load_samples
from benchmarks.data.root import OFFICIAL, TOY, data_root
from benchmarks.errors import UserError
from benchmarks.files import out_folder
from benchmarks.printable import printable
from benchmarks.results.record import TableRecord
from benchmarks.results.store import RunStore

from ..imports.collect import Fields, Import, collect
from ..imports.files import suffix_of
from ..imports.sources import AnswerFiles, Sources, find_sources
from ..imports.write import asked, specify, write
from ..judges import JudgeOptions
from ..run.inputs import TaskInput, find_tasks, tell_faults
from ..run.preflight import check_ahead
from ..run.score import score_inputs
from ..run.summary import explain_incomplete, how_to_ask, show_results
from .options import takes_judge

SentPrompts = Literal["aki", "vlmevalkit", "unknown"]


@takes_judge
def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files, or folders such as VLMEvalKit's outputs/MODEL."),
    ] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(help="A file or folder; the same as a PATH. May be repeated.")
    ] = None,
    bench: Annotated[
        str | None, typer.Option(help="The benchmark that was answered, where file names do not say it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=out_folder,
            metavar="PATH",
            help="Run folder to write, or one of earlier imports to add to. Default: runs/<model>[-toy].",
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="official, toy, or a folder of tables.")] = OFFICIAL,
    name: Annotated[str | None, typer.Option(help="The model's name. Default: the folder's, or the file's.")] = None,
    prompts: Annotated[SentPrompts, typer.Option(help="Which prompts were sent.")] = "unknown",
    index_field: Annotated[str | None, typer.Option(help="Where the index stands, such as doc.question_id.")] = None,
    prediction_field: Annotated[
        str | None, typer.Option(help="Where the prediction stands: a column, or a path such as answer.text.")
    ] = None,
    table_column: Annotated[
        str | None, typer.Option(help="The table's column with that index. Default: the one that fits.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="The benchmark's own question file, where predictions hold only its ids.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet of a spreadsheet that has several.")] = None,
    epoch: Annotated[
        int | None, typer.Option(help="Of an inspect log with several epochs, which. Default: the first.")
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Exit with 0 though samples are unscored.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what the run folder holds.")] = False,
    *,
    judge: JudgeOptions,
) -> int:
    """Take over predictions made elsewhere, say what could not be matched, and score the rest."""
    given = [*(paths or ()), *(predictions or ())]
    if not given:
        raise UserError("nothing to import: name files of predictions, or a folder such as outputs/MODEL")
    sources = find_sources(given, find_tasks(bench) if bench else None)
    model = name or _model(sources, given)
    for note in sources.notes:
        print(printable(note), file=sys.stderr)
    root = data_root(data)
    check_ahead(None, judge, [source.task for source in sources.by_task.values()])
    fields = Fields(
        index=index_field,
        prediction=prediction_field,
        table_column=table_column,
        questions=questions,
        sheet=sheet,
        epoch=epoch,
    )
    found, inputs, failed = _collect_all(sources, root, fields)
    tables = {each.task.name: each.tables for each in inputs}
    folder = RunStore(out or Path("runs") / (Path(model).name + ("-toy" if data == TOY else "")))
    is_new = not folder.root.exists()
    try:
        folder.create()
        with folder.alone("import"):
            run = write(folder, found, specify(model, prompts, data, tables, found), fresh)
            results = score_inputs(folder, run, inputs, judge)
    except BaseException:
        if is_new:
            folder.remove_empty()
        raise
    code = explain_incomplete(folder.root, results, allow_partial, how_to_ask(run))
    show_results(PlainConsole(), folder.root, results)
    return max(code, int(bool(failed)))


def _model(sources: Sources, given: list[Path]) -> str:
    """By the folder's or the file's name.

    Raises:
        UserError: they name several models.
    """
    if len(sources.models) > 1:
        raise UserError(f"the folders are those of several models ({', '.join(sorted(sources.models))}); import one")
    if sources.models:
        return sources.models.pop()
    first = given[0].resolve()
    name = first.name if first.is_dir() else first.name.removesuffix(".gz").removesuffix(suffix_of(first))
    tables = [table.name for source in sources.by_task.values() for table in source.task.tables]
    return next((name.removesuffix(f"_{table}") for table in tables if name.endswith(f"_{table}")), name)


def _collect_all(
    sources: Sources, root: Path, fields: Fields
) -> tuple[dict[str, Import], list[TaskInput], Mapping[str, UserError]]:
    """Every benchmark that can be read; of several, one that cannot does not take the others with it.

    Raises:
        UserError: none can be.
    """
    found: dict[str, Import] = {}
    inputs: list[TaskInput] = []
    failed: dict[str, UserError] = {}
    for name, source in sources.by_task.items():
        try:
            samples = load_samples(source.task, root)
            tell_faults(source.task, samples)
            found[name] = collect(source, samples, fields)
            inputs.append(_input(source, samples, root))
        except UserError as error:
            failed[name] = error
    if not found:
        raise next(iter(failed.values()))
    for name, reason in failed.items():
        print(f"aki-eval: {name} is not imported: {reason}", file=sys.stderr)
    return found, inputs, failed


def _input(source: AnswerFiles, samples: list[Any], root: Path) -> TaskInput:
    return TaskInput(
        task=source.task,
        samples=samples,
        prompts=[],
        specification=asked({}),
        tables={name: TableRecord(**table) for name, table in checksum(source.task, root).items()},
    )
