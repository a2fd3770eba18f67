"""Scalars and tables of experiment trackers: TensorBoard, and Weights & Biases and Trackio where installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder

from .rows import metric_rows, model_name, sample_rows

PROJECT = "aki-eval"

HOW_TO_INSTALL = {
    "wandb": "pip install wandb",
    # gradio, which trackio 0.43 brings, wants Pillow below 13, and Pillow 12 resizes pictures to other bytes.
    "trackio": "pip install trackio into an environment of its own: it brings an older Pillow than is used here",
}


def scalars(run: RunFolder) -> Iterator[tuple[str, float]]:
    """`task/protocol/metric`, and of headline metrics both ends of the interval."""
    for row in metric_rows(run):
        if row.metric.value is None:
            continue
        name = f"{row.task}/{row.protocol}/{row.name}"
        yield name, row.metric.value
        if row.is_headline and row.metric.ci95 is not None:
            yield f"{name}/ci95_low", row.metric.ci95[0]
            yield f"{name}/ci95_high", row.metric.ci95[1]


def write_tensorboard(run: RunFolder, out: Path, step: int) -> list[Path]:
    """Event files in `OUT/LABEL`; several steps in one folder make a curve."""
    from torch.utils.tensorboard import SummaryWriter

    folder = out / model_name(run).replace("/", "-")
    writer: Any = SummaryWriter(str(folder))
    for name, value in scalars(run):
        writer.add_scalar(name, value, step)
    writer.close()
    return [folder]


def write_tracker(run: RunFolder, name: str, step: int) -> str:
    """The same to `wandb` or `trackio`, and a table of samples a task. Returns what was made.

    Tried with wandb 0.31 (offline) and trackio 0.43: every scalar comes back from their files as it was, every task's
    samples as a table.

    Raises:
        UserError: it is not installed.
    """
    if find_spec(name) is None:
        raise UserError(f"--format {name}: {name} is not installed; {HOW_TO_INSTALL[name]}")
    tracker: Any = import_module(name)
    tracker.init(project=PROJECT, name=run.label, config=run.made_by)
    tables = {
        f"samples/{task}": tracker.Table(dataframe=_frame(run, task, result.headline))
        for task, result in run.results.items()
    }
    tracker.log({**dict(scalars(run)), **tables}, step=step)
    tracker.finish()
    return f"{name} project {PROJECT}, run {run.label}"


def _frame(run: RunFolder, task: str, protocol: str) -> Any:
    from pandas import DataFrame

    return DataFrame([{**row, "groups": ", ".join(row["groups"])} for row in sample_rows(run, task, protocol)])
