"""`aki-eval run --dry-run`: what would be asked, before anything is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.results.store import RunStore

from ..predictors import Predictor
from .inputs import TaskInput, load, with_tables
from .opening import specify
from .options import RunOptions
from .specification import check_same


def show_plan(options: RunOptions, predictor: Predictor, console: Console) -> None:
    """Counts for each task and one prompt as the model would see it; neither weights nor pictures are loaded.

    Raises:
        UserError: the run itself would: missing tables, a folder that holds another run.
    """
    tasks, left_out = with_tables(options.tasks, options.data)
    inputs = load(tasks, options.data, options.prompts, options.subset, options.max_new_tokens, options.probe)
    folder = RunStore(options.out)
    stored = folder.read_run()
    if stored is not None and not options.fresh:
        check_same(folder.root, stored, specify(options, predictor, inputs))
    _show_counts(folder, inputs, options, console)
    for name, reason in left_out.items():
        console.print(f"{name} is left out: {reason}", soft_wrap=True)
    for given in inputs:
        prompt = max(given.prompts, key=lambda prompt: len(prompt.text))
        console.rule(f"{given.task.name}: the longest prompt, sample {prompt.index}", align="left")
        console.print(predictor.render(prompt), markup=False, highlight=False, soft_wrap=True)


def _show_counts(folder: RunStore, inputs: Sequence[TaskInput], options: RunOptions, console: Console) -> None:
    table = Table(title=f"{options.data} tables into {folder.root}")
    for heading in ("task", "samples", "pictures", "answered already", "to ask", "longest answer"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    total = [0, 0, 0, 0]
    for given in inputs:
        pictures = {image.key for sample in given.samples for image in sample.images}
        found = {} if options.fresh else folder.predictions(given.task.name)
        answered = sum(s.index in found and found[s.index].error is None for s in given.samples)
        row = [len(given.samples), len(pictures), answered, len(given.samples) - answered]
        total = [sum(pair) for pair in zip(total, row, strict=True)]
        table.add_row(given.task.name, *map(str, row), f"{given.max_new_tokens} tokens")
    table.add_row("all", *map(str, total), end_section=True)
    console.print(table)
