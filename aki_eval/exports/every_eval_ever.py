"""Every Eval Ever: one JSON a run by its schema 0.3.0 (https://github.com/evaleval/every_eval_ever)."""

from __future__ import annotations

import json
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.results.folder import RunFolder, TaskResult
from benchmarks.results.record import RunRecord

from .rows import MetricRow, created, metric_rows, model_name

SCHEMA = "0.3.0"
METHOD = "Wilson at the effective sample size, clustered (docs/statistics.md); Student's for unbounded metrics"
ERROR_METHOD = "clustered, linearised (delta method), with Bell and McCaffrey's correction"


def write(run: RunFolder, out: Path) -> list[Path]:
    """`every_eval_ever.json`. A metric without a value is no result there, and left out."""
    path = out / "every_eval_ever.json"
    path.write_text(json.dumps(content(run), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [path]


def content(run: RunFolder) -> dict[str, Any]:
    moment = datetime.fromisoformat(created(run)).timestamp()
    record = run.record
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"aki-toolkit/{model_name(run)}/{moment:.0f}",
        "evaluation_timestamp": f"{moment:.0f}",
        "retrieved_timestamp": f"{moment:.0f}",
        "source_metadata": {
            "source_name": f"aki-eval run {run.label}",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "aki-toolkit", "version": version("aki-toolkit")},
        "model_info": {
            "name": model_name(run),
            "id": (record.model.path if record else None) or model_name(run),
            "additional_details": {
                "deployment_type": "unknown",
                "model_availability": "unknown",
                **_texts(
                    {"attention": record.model.attention, "kind": record.model.kind, "dtype": record.dtype}
                    if record
                    else {}
                ),
            },
        },
        "evaluation_results": [
            _result(run.results[row.task], row, record) for row in metric_rows(run) if row.metric.value is not None
        ],
    }


def _texts(fields: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items() if value is not None}


def _result(result: TaskResult, row: MetricRow, record: RunRecord | None) -> dict[str, Any]:
    metric = row.metric
    uncertainty: dict[str, Any] = {"num_samples": metric.num_scored}
    if row.std_error is not None:
        uncertainty["standard_error"] = {"value": row.std_error, "method": ERROR_METHOD}
    if metric.ci95 is not None:
        low, high = metric.ci95
        uncertainty["confidence_interval"] = {"lower": low, "upper": high, "confidence_level": 0.95, "method": METHOD}
    config: dict[str, Any] = {
        "evaluation_description": f"{result.about.title}, {row.name}, protocol {row.protocol}",
        "metric_id": f"{row.task}/{row.protocol}/{row.name}",
        "metric_name": row.name,
        "metric_unit": metric.unit,
        "lower_is_better": False,
        "score_type": "continuous",
        "min_score": 0,
        "max_score": "Infinity" if row.scale is None else row.scale,
        "additional_details": _texts(
            {
                "protocol": row.protocol,
                "headline": row.is_headline,
                "prompts": result.prompts,
                "judge": result.judge.get("name") if result.judge else None,
                "not_comparable": result.why_not_comparable(metric, row.protocol),
            }
        ),
    }
    task = record.tasks.get(row.task) if record else None
    arguments: dict[str, Any] = {"temperature": 0.0}
    if task is not None and task.max_new_tokens is not None:
        arguments["max_tokens"] = task.max_new_tokens
    return {
        "evaluation_result_id": f"{row.task}/{row.protocol}/{row.name}",
        "evaluation_name": result.about.title,
        "source_data": {
            "dataset_name": result.about.title,
            "source_type": "other",
            "additional_details": _texts(
                {"source": result.data.get("source"), **{f"sha256 {k}": v for k, v in result.checksums.items()}}
            ),
        },
        "metric_config": config,
        "score_details": {
            "score": metric.value,
            "details": _texts(
                {
                    "num_samples": metric.num_samples,
                    "num_scored": metric.num_scored,
                    "num_unscored": metric.num_unscored,
                    "num_unread": metric.num_unread,
                    "complete": result.complete,
                    "subset": json.dumps(dict(result.subset)) if result.subset else None,
                }
            ),
            "uncertainty": uncertainty,
        },
        "generation_config": {"generation_args": arguments},
    }
