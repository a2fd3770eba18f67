"""Run folders made by hand, as small as a test needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from record_helpers import record

from benchmarks.results.folder import RunFolder
from reports import paper
from reports.paper_tables import Plan

MAIN = {(entry.task, entry.metric) for entry in paper.entries("main")}
POINTS = {"mme"}


def metric(value: float | None, *, num: int = 100, unscored: int = 0, unit: str = "percent") -> dict[str, Any]:
    """A metric with an interval of 2 to either side."""
    return {
        "value": value,
        "ci95": None if value is None else [value - 2.0, value + 2.0],
        "num_samples": num,
        "num_scored": num - unscored,
        "num_unscored": unscored,
        "unit": unit,
    }


def all_metrics(value: float = 50.0) -> dict[str, dict[str, Any]]:
    """Every metric that some table of the paper shows, by task and name."""
    found: dict[str, dict[str, Any]] = {}
    for number in ("main", *paper.NUMBERS[2:]):
        for entry in paper.entries(number):
            names = [entry.metric]
            if entry.task == "mmmu" and entry.metric not in {"val"}:
                tail = f"/{entry.metric}" if entry.metric else ""
                names = [f"val{tail}", f"dev{tail}"]
            for name in names:
                unit = "points" if entry.task in POINTS else "percent"
                found.setdefault(entry.task, {})[name] = metric(value, unit=unit)
    return found


def write_run(
    path: Path, metrics: Mapping[str, Mapping[str, Any]] | None = None, *, source: str = "official", **extra: Any
) -> Path:
    """A run folder with run.json and one metrics.json a task. `extra` overrides fields of every metrics.json."""
    path.mkdir(parents=True)
    write_json(path / "run.json", record(path.name))
    for task, names in (metrics or all_metrics()).items():
        headline = "official" if task == "cv_bench" else "kit"
        content = {
            "task": task,
            "headline": headline,
            "protocols": {headline: names},
            "subset": None,
            "judge": None,
            "complete": True,
            "prompts": "aki",
            "data": {"source": source, "tables": {}},
            **extra,
        }
        write_json(path / task / "metrics.json", content)
    return path


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Overwrites fields of a JSON file."""
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def plan(runs: Sequence[RunFolder]) -> Plan:
    """The runs beside the paper, the first one as baseline."""
    return Plan(tuple(runs))
