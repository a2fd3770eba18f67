"""What a training wrote down: loss, learning rate, gradient norm and validation, stage by stage, as a table and curves.

Read from `log.jsonl` (an entry a line, as it goes), or, where there is none, from TensorBoard's event files. A training
that is at work can be read; a line that is half written is not counted yet.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.errors import UserError

from .tables import Cell, Column, Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG = "log.jsonl"
EVENTS = "events.out.tfevents.*"
DEEPEST = 3
"""Folders between a training and its event files: a stage's `runs/` has one for each start."""
VALIDATION = "validation_loss"
CURVES = {"loss": "loss", "learning_rate": "learning rate", "grad_norm": "gradient norm"}
ENDS = 10
"""Entries that the first and last loss of the table are the mean of; fewer where fewer than twice as many are there."""

Entry = Mapping[str, Any]


class StageLog(NamedTuple):
    """Entries of one stage in the order of their steps. `unread`: lines that are no entry; `folder`: the stage's."""

    name: str
    entries: Sequence[Entry]
    unread: int = 0
    folder: Path | None = None

    def points(self, key: str) -> list[tuple[int, float]]:
        """(step, value), where an entry has a number there."""
        return [
            (int(entry["step"]), float(entry[key]))
            for entry in self.entries
            if isinstance(entry.get(key), int | float) and isinstance(entry.get("step"), int | float)
        ]


def is_training(folder: Path) -> bool:
    """Whether it is a training's folder, or one stage's, and no run's."""
    return not (folder / "run.json").exists() and bool(_logs(folder) or _events(folder))


def _logs(folder: Path) -> list[Path]:
    found = [*folder.glob(LOG), *folder.glob(f"*/{LOG}")] if folder.is_dir() else []
    return sorted(found, key=lambda path: path.stat().st_mtime)  # in the order in which stages are trained


def _events(folder: Path) -> list[Path]:
    levels = ["*/" * depth + EVENTS for depth in range(DEEPEST + 1)] if folder.is_dir() else []
    return sorted({path.parent for level in levels for path in folder.glob(level)})


def read_training(folder: Path) -> list[StageLog]:
    """The stages, in the order in which they were trained.

    Raises:
        UserError: nothing was logged.
    """
    paths = _logs(folder)
    stages = [_read(path) for path in paths] or [_read_events(each, folder) for each in _events(folder)]
    if not any(stage.entries for stage in stages):
        raise UserError(f"{folder}: nothing was logged yet")
    return stages


def _read(path: Path) -> StageLog:
    entries, unread = [], 0
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            entries.append(entry)
        else:
            unread += 1
    return StageLog(path.resolve().parent.name, entries, unread, path.parent)


def _read_events(folder: Path, training: Path) -> StageLog:
    """TensorBoard's scalars; transformers puts `train/` before their names."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    by_step: dict[int, dict[str, Any]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            by_step.setdefault(event.step, {"step": event.step})[tag.removeprefix("train/")] = event.value
    return StageLog(str(folder.relative_to(training)), [by_step[step] for step in sorted(by_step)])


def training_table(folder: Path, stages: Iterable[StageLog]) -> Table:
    """A row a stage."""
    stages = list(stages)
    labels = ("steps", "loss: first", "last", "held out: first", "best", "last", "at step", "rate", "grad norm", "max")
    remarks = [f"first and last loss: mean of up to {ENDS} entries; grad norm: median; rate: last"]
    remarks += [f"{stage.name}: {stage.unread} lines are no entries" for stage in stages if stage.unread]
    remarks += [f"{stage.name}: {_skipped(stage):,.0f} records skipped" for stage in stages if _skipped(stage)]
    return Table(
        key=f"training-{folder.resolve().name}",
        title=f"Training of {folder.resolve().name}",
        corner="Stage",
        columns=tuple(Column(label=label, kind="run") for label in (*labels, "tokens/s")),
        rows=tuple(Row(label=stage.name, kind="run", cells=_cells(stage)) for stage in stages),
        remarks=tuple(remarks),
    )


def _skipped(stage: StageLog) -> float:
    return max((value for _, value in stage.points("skipped")), default=0.0)


def _cells(stage: StageLog) -> tuple[Cell, ...]:
    loss = [value for _, value in stage.points("loss")]
    held = stage.points(VALIDATION)
    rates = [value for _, value in stage.points("learning_rate")]
    norms = [value for _, value in stage.points("grad_norm")]
    speeds = [value for _, value in stage.points("tokens_per_second")]
    part = min(ENDS, max(1, len(loss) // 2))
    best = min(held, key=lambda point: point[1], default=None)
    steps = max((step for step, _ in (*stage.points("loss"), *held)), default=None)
    return (
        _cell(steps, ",d"),
        _cell(fmean(loss[:part]) if loss else None),
        _cell(fmean(loss[-part:]) if loss else None),
        _cell(held[0][1] if held else None),
        _cell(best[1] if best else None),
        _cell(held[-1][1] if held else None),
        _cell(best[0] if best else None, ",d"),
        _cell(rates[-1] if rates else None, ".1e"),
        _cell(median(norms) if norms else None, ".2f"),
        _cell(max(norms) if norms else None, ".2f"),
        _cell(median(speeds) if speeds else None, ",.0f"),
    )


def _cell(value: float | None, form: str = ".3f") -> Cell:
    return Cell() if value is None else Cell(value=value, printed=format(value, form))


def training_figure(stages: Sequence[StageLog]) -> Figure:
    """A row a stage: loss with what is held out, learning rate, gradient norm."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 2.6 * len(stages) + 0.2), layout="constrained")
    for row, stage in zip(figure.subplots(len(stages), len(CURVES), squeeze=False), stages, strict=True):
        for axis, (key, label) in zip(row, CURVES.items(), strict=True):
            points = [(step, value) for step, value in stage.points(key) if math.isfinite(value)]
            if points:
                axis.plot(*zip(*points, strict=True), color="#0b62a8", linewidth=1.0, label="training")
            if key == "loss":
                _draw_held_out(axis, stage)
            axis.set_title(f"{stage.name}: {label}", fontsize=9)
            axis.set_xlabel("step", fontsize=7)
            axis.tick_params(labelsize=7)
            axis.grid(visible=True, alpha=0.3)
    return figure


def _draw_held_out(axis: Any, stage: StageLog) -> None:
    """The mean of the sets, with a mark for each measurement, and each set thin."""
    sets = sorted({key for entry in stage.entries for key in entry if key.startswith(f"{VALIDATION}/")})
    for key in sets if len(sets) > 1 else []:
        axis.plot(*zip(*stage.points(key), strict=True), color="#c8553d", alpha=0.25, linewidth=0.8)
    if points := stage.points(VALIDATION):
        axis.plot(*zip(*points, strict=True), "o-", color="#c8553d", linewidth=1.2, markersize=3, label="held out")
        axis.legend(fontsize=7)
