"""Run folders with scores made by hand, and the metrics that follow from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from record_helpers import record

from benchmarks.records import Score
from benchmarks.scoring import metrics_of
from benchmarks.tasks import TASKS


def score(index: int | str, value: float | None, *, cluster: str | None = None, **rest: Any) -> Score:
    """A score of RealWorldQA's protocol `kit`; without a value: an error."""
    return Score(
        index=str(index),
        protocol=rest.pop("protocol", "kit"),
        value=value,
        reason=None if value is not None else "error",
        cluster=cluster or str(index),
        **rest,
    )


def scores(values: Sequence[float | None], per_cluster: int = 1) -> list[Score]:
    return [score(number, value, cluster=str(number // per_cluster)) for number, value in enumerate(values)]


def write_scored_run(
    path: Path, tasks: Mapping[str, Sequence[Score]], *, judge: dict[str, Any] | None = None, **fields: Any
) -> Path:
    """`fields` overrides what metrics.json holds beside the metrics."""
    for name, own in tasks.items():
        protocol = TASKS[name].headline
        folder = path / name
        folder.mkdir(parents=True)
        lines = [json.dumps(asdict(each)) + "\n" for each in own]
        (folder / "scores.jsonl").write_text("".join(lines))
        metrics = metrics_of(TASKS[name], {protocol: own}) | {
            "subset": None,
            "judge": judge,
            "complete": all(each.value is not None for each in own),
            "prompts": "aki",
            "data": {"source": "toy", "tables": {name.upper(): {"sha256": "0" * 64, "num_rows": len(own)}}},
            **fields,
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
    (path / "run.json").write_text(json.dumps(record(path.name, tasks)))
    return path
