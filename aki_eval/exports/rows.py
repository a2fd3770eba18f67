"""What every export starts from: a run's samples as flat rows, and its metrics with their standard errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records import Metric
from benchmarks.results.folder import RunFolder, TaskResult
from benchmarks.results.rows import sample_row
from benchmarks.scoring import estimates_of


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of one protocol. `std_error` is None where it needs a benchmark's code that is not at hand."""

    task: str
    protocol: str
    name: str
    metric: Metric
    std_error: float | None
    scale: float | None
    is_headline: bool


def metric_rows(run: RunFolder) -> Iterator[MetricRow]:
    """Every metric of every protocol, the headline protocol of each task first."""
    for result in run.results.values():
        protocols = sorted(result.protocols, key=lambda name: name != result.headline)
        for protocol in protocols:
            errors = _estimates(run, result, protocol)
            for name, metric in result.protocols[protocol].items():
                error, scale = errors.get(name, (None, 100.0 if metric.unit == "percent" else None))
                yield MetricRow(
                    task=result.task,
                    protocol=protocol,
                    name=name,
                    metric=metric,
                    std_error=error,
                    scale=scale,
                    is_headline=protocol == result.headline and name in result.about.headline_metrics,
                )


def _estimates(run: RunFolder, result: TaskResult, protocol: str) -> dict[str, tuple[float | None, float | None]]:
    """(standard error, largest value) by metric."""
    try:
        found = estimates_of(result.about, protocol, run.scores(result.task, protocol))
    except UserError:
        return {}  # the benchmark's own code adds up, and is not at hand
    return {name: (estimate.std_error, estimate.scale) for name, estimate in found.items()}


def sample_rows(run: RunFolder, task: str, protocol: str) -> Iterator[dict[str, Any]]:
    """Each sample: what was sent and answered, how it was read, what it was worth."""
    predictions = run.predictions(task)
    for score in run.scores(task, protocol):
        yield {
            "run": run.label,
            "model": run.record.model.name if run.record else None,
            "task": task,
            "protocol": protocol,
            **sample_row(score, predictions.get(score.index)),
        }


def created(run: RunFolder) -> str:
    """When the last stretch of work ended, began, or the run was made; ISO 8601, UTC."""
    if run.record is None:
        return "1970-01-01T00:00:00+00:00"
    sessions = run.record.sessions
    return (sessions[-1].finished or sessions[-1].started) if sessions else run.record.created


def model_name(run: RunFolder) -> str:
    return run.record.model.name if run.record else run.label
