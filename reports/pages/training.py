"""The page about trainings: curves of what was logged, scores of evaluated checkpoints, answers on the way."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.results.folder import RunFolder, open_runs

from ..curves import Curve, curves, step_of
from ..render import flat
from ..tables import Cell, Table
from ..training_log import VALIDATION, StageLog
from .build import TEMPLATES, TRAINING, make_environment, replacing

LEFT, TOP, WIDTH, HEIGHT = 48.0, 6.0, 400.0, 150.0
"""Of the field in which a chart draws; beside it stand the numbers of the axes."""
COLUMNS = 60
"""Strips of a chart that say their values under the mouse."""
CHARTS = {
    "loss": ("loss", VALIDATION, f"ema_{VALIDATION}"),
    "learning rate": ("learning_rate",),
    "gradient norm": ("grad_norm",),
    "tokens a second": ("tokens_per_second",),
    "shares of a step": ("padding", "waiting", "mfu"),
}
NAMES = {
    "loss": "training",
    VALIDATION: "held out",
    f"ema_{VALIDATION}": "held out, averages of the weights",
    "mfu": "MFU",
}
ANSWER = "answer/"
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class LogMark:
    """A measurement of few; `low` and `high` end its interval."""

    x: float
    y: float
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class LogLine:
    """`paths`: what is joined, one part behind the other; a value that is no number parts them."""

    label: str
    number: int
    paths: tuple[str, ...]
    marks: tuple[LogMark, ...] = ()
    is_thin: bool = False


@dataclass(frozen=True)
class LogChart:
    """Lines over the steps of a stage. Ticks are (place, text); `strips` are (left end, width, text)."""

    label: str
    lines: tuple[LogLine, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    strips: tuple[tuple[float, float, str], ...]
    description: str
    remark: str = ""


@dataclass(frozen=True)
class Scale:
    """Steps and values -> places in the field."""

    first: float
    last: float
    bottom: float
    top: float

    def x(self, step: float) -> float:
        return round(LEFT + WIDTH * (step - self.first) / ((self.last - self.first) or 1), 2)

    def y(self, value: float) -> float:
        return round(TOP + HEIGHT * (self.top - value) / ((self.top - self.bottom) or 1), 2)


def write_trainings(found: dict[Path, list[StageLog]], tables: Sequence[Table], out: Path) -> Path:
    """Writes the page below `out` and returns it. An earlier one there lives until this one is whole.

    Raises:
        UserError: the folder holds something that is no report, or it cannot be written.
    """
    trainings = [
        {"name": folder.resolve().name, "table": table, "stages": [_stage(stage) for stage in stages]}
        for (folder, stages), table in zip(found.items(), tables, strict=True)
    ]
    page = make_environment().get_template("training.html.j2").render(notices=[], trainings=trainings)
    try:
        with replacing(out.resolve()) as beside:
            shutil.copytree(TEMPLATES / "assets", beside / "assets")
            (beside / "data").mkdir()
            (beside / "data" / TRAINING).write_text(flat.to_json(tables, ()), encoding="utf-8")
            (beside / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"cannot write the report to {out}: {error.strerror or error}; choose another --out") from error
    return out / "index.html"


def _stage(stage: StageLog) -> dict[str, Any]:
    runs, unreadable = _evaluations(stage)
    return {
        "name": stage.name,
        "charts": [*_charts(stage), *_score_charts(stage, runs)],
        "unreadable": unreadable,
        "answers": _answers(stage),
    }


# Curves


def _charts(stage: StageLog) -> Iterator[LogChart]:
    steps = _steps(stage)
    for label, keys in CHARTS.items():
        lines = {key: stage.points(key) for key in keys}
        lines = {key: points for key, points in lines.items() if points}
        if not lines:
            continue
        thin = _sets(stage) if label == "loss" else {}
        yield _chart(label, lines, thin, steps)


def _steps(stage: StageLog) -> tuple[float, float]:
    steps = [float(entry["step"]) for entry in stage.entries if isinstance(entry.get("step"), int | float)]
    return (min(steps), max(steps)) if steps else (0.0, 1.0)


def _sets(stage: StageLog) -> Mapping[str, Points]:
    """Held-out loss of each set, where there are several."""
    keys = sorted({key for entry in stage.entries for key in entry if key.startswith(f"{VALIDATION}/")})
    return {key.removeprefix(f"{VALIDATION}/"): stage.points(key) for key in keys} if len(keys) > 1 else {}


def _chart(label: str, lines: Mapping[str, Points], thin: Mapping[str, Points], steps: tuple[float, float]) -> LogChart:
    known = [value for points in (*lines.values(), *thin.values()) for _, value in points if math.isfinite(value)]
    lost = sum(len(points) for points in lines.values()) - sum(
        math.isfinite(value) for points in lines.values() for _, value in points
    )
    up = ticks(min(known), max(known)) if known else [0.0, 1.0]
    scale = Scale(*steps, min([*up, *known]), max([*up, *known]))
    drawn = [LogLine(name, 1, paths(points, scale), is_thin=True) for name, points in thin.items()]
    for number, (key, points) in enumerate(lines.items()):
        few = len(points) <= COLUMNS and (VALIDATION in key or len(points) == 1)
        marks = [
            LogMark(scale.x(step), scale.y(value), None, None, f"{_name(key)} at step {step:,.0f}: {short(value)}")
            for step, value in points
            if few and math.isfinite(value)
        ]
        drawn.append(LogLine(_name(key), number, paths(points, scale), tuple(marks)))
    return LogChart(
        label,
        tuple(drawn),
        *_axes(scale, up),
        strips=tuple(_strips({_name(key): points for key, points in lines.items()}, scale)),
        description="; ".join(_described(_name(key), points) for key, points in lines.items()),
        remark=f"{lost} values are no numbers" if lost else "",
    )


def _axes(scale: Scale, up: Iterable[float]) -> tuple[tuple[tuple[float, str], ...], tuple[tuple[float, str], ...]]:
    across = [step for step in ticks(scale.first, scale.last) if scale.first <= step <= scale.last and step % 1 == 0]
    return (
        tuple((scale.x(step), f"{step:,.0f}") for step in across),
        tuple((scale.y(value), short(value)) for value in up),
    )


def _name(key: str) -> str:
    return NAMES.get(key, key.replace("_", " "))


def short(value: float) -> str:
    """Four digits are enough to look at."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers from at most `low` to at least `high`."""
    if not high > low:
        low, high = low - (abs(low) * 0.05 or 0.5), high + (abs(high) * 0.05 or 0.5)
    rough = (high - low) / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def paths(points: Points, scale: Scale) -> tuple[str, ...]:
    """What an SVG joins. Of points that share a pixel's width the first, lowest, highest and last are drawn."""
    parts = []
    for finite, part in groupby(points, key=lambda point: math.isfinite(point[1])):
        if not finite:
            continue
        kept: list[tuple[float, float]] = []
        for _, column in groupby(part, key=lambda point: round(scale.x(point[0]))):
            same = list(column)
            low, high = (chosen(same, key=lambda point: point[1]) for chosen in (min, max))
            kept += sorted({same[0], low, high, same[-1]})
        parts.append(" ".join(f"{scale.x(step):g},{scale.y(value):g}" for step, value in kept))
    return tuple(parts)


def _strips(lines: Mapping[str, Points], scale: Scale) -> Iterator[tuple[float, float, str]]:
    """Strips side by side; each says what was logged last in it, or nothing."""
    wide = WIDTH / COLUMNS
    texts: dict[int, dict[str, str]] = {}
    for name, points in lines.items():
        for step, value in points:
            number = min(COLUMNS - 1, int((scale.x(step) - LEFT) / wide))
            texts.setdefault(number, {})[name] = f"{name} {short(value)} (step {step:,.0f})"
    for number, said in sorted(texts.items()):
        yield round(LEFT + number * wide, 2), round(wide, 2), ", ".join(said.values())


def _described(name: str, points: Points) -> str:
    finite = [(value, step) for step, value in points if math.isfinite(value)]
    if not finite:
        return f"{name}: no number"
    (first, begun), (last, ended) = finite[0], finite[-1]
    (lowest, at), (highest, top) = min(finite), max(finite)
    return (
        f"{name} {short(first)} at step {begun:,.0f}, {short(last)} at step {ended:,.0f}; lowest {short(lowest)} "
        f"(step {at:,.0f}), highest {short(highest)} (step {top:,.0f})"
    )


# Evaluated checkpoints


def _evaluations(stage: StageLog) -> tuple[list[tuple[int, RunFolder]], list[str]]:
    """Checkpoints that were evaluated beside the training, by step, and what cannot be read of them."""
    runs, unreadable = [], []
    folders = sorted(stage.folder.glob("evaluations/step-*")) if stage.folder else []
    for folder in folders:
        try:
            (run,) = open_runs([folder])
        except UserError as error:
            unreadable.append(f"{folder.name}: {error}")
            continue
        if (step := step_of(run)) is not None:
            runs.append((step, run))
    return sorted(runs, key=lambda each: each[0]), unreadable


def _score_charts(stage: StageLog, runs: list[tuple[int, RunFolder]]) -> Iterator[LogChart]:
    first, last = _steps(stage)
    steps = [step for step, _ in runs]
    for curve in curves(runs):
        known = [(step, cell) for step, cell in zip(steps, curve.cells, strict=True) if cell.value is not None]
        if known:
            yield _scores(curve, known, (min(first, *steps), max(last, *steps)))


def _scores(curve: Curve, known: Sequence[tuple[int, Cell]], steps: tuple[float, float]) -> LogChart:
    values = [(step, cell.value or 0.0) for step, cell in known]
    ends = [end for _, cell in known for end in (cell.ci95 or (cell.value or 0.0,))]
    up = ticks(min(ends), max(ends))
    scale = Scale(*steps, up[0], up[-1])
    marks = []
    for (step, value), (_, cell) in zip(values, known, strict=True):
        low, high = (scale.y(end) for end in cell.ci95) if cell.ci95 else (None, None)
        marks.append(LogMark(scale.x(step), scale.y(value), low, high, f"step {step:,}: {cell.number} {cell.interval}"))
    equal = f" (not told from it: {', '.join(f'{step:,}' for step in curve.equal)})" if curve.equal else ""
    return LogChart(
        curve.label,
        (LogLine(curve.label, 2, paths(values, scale), tuple(marks)),),
        *_axes(scale, up),
        strips=(),
        description="; ".join(mark.text for mark in marks),
        remark=f"highest at step {curve.best:,}{equal}" if curve.best is not None else "",
    )


# Answers


def _answers(stage: StageLog) -> list[dict[str, Any]]:
    """Each sample that was answered for the log: what was said first, and last."""
    said: dict[str, list[tuple[int, str]]] = {}
    for entry in stage.entries:
        for key, text in entry.items():
            if key.startswith(ANSWER) and isinstance(text, str):
                said.setdefault(key.removeprefix(ANSWER), []).append((int(entry.get("step", 0)), text))
    return [{"sample": name, "first": texts[0], "last": texts[-1]} for name, texts in sorted(said.items())]
