"""Logs of inspect: one a task, with every sample. `inspect view --log-dir OUT` opens them.

Where inspect_ai is installed (`pip install inspect-ai`) its own writer makes .eval files; without it the same log is
written as inspect's JSON, which it reads as well. An unscored sample has no score in the log, never a 0.
"""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.results.folder import RunFolder, TaskResult

from .rows import created, metric_rows, model_name, sample_rows


def write(run: RunFolder, out: Path) -> list[Path]:
    """`<time>_TASK_<id>.eval`, or .json."""
    paths = []
    for task, result in run.results.items():
        content = log(run, result)
        stem = f"{created(run)[:19].replace(':', '-')}+00-00_{task.replace('_', '-')}_{content['eval']['eval_id']}"
        path = out / f"{stem}.json"
        if find_spec("inspect_ai") is None:
            path.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
        else:
            path = path.with_suffix(".eval")
            _write_eval(content, path)
        paths.append(path)
    return paths


def _write_eval(content: dict[str, Any], path: Path) -> None:
    library: Any = import_module("inspect_ai.log")
    library.write_eval_log(library.EvalLog.model_validate(content), str(path))


def log(run: RunFolder, result: TaskResult) -> dict[str, Any]:
    """A task's log as inspect's JSON has it (version 2)."""
    record = run.record
    task = record.tasks.get(result.task) if record else None
    scores = {name: list(sample_rows(run, result.task, name)) for name in result.protocols}
    first = scores[result.headline]
    moment = created(run)
    identity = hashlib.sha256(f"{run.label}/{result.task}/{moment}".encode()).hexdigest()[:22]
    return {
        "version": 2,
        "status": "success" if result.complete else "error",
        **(
            {}
            if result.complete
            else {
                "error": {"message": "not every sample was answered and scored", "traceback": "", "traceback_ansi": ""}
            }
        ),
        "eval": {
            "eval_id": identity,
            "run_id": identity,
            "created": moment,
            "task": result.task,
            "task_id": identity,
            "task_version": 0,
            "task_display_name": result.about.title,
            "dataset": {
                "name": result.about.title,
                "location": str(result.data.get("source", "")),
                "samples": len(first),
                "sample_ids": [row["index"] for row in first],
                "shuffled": False,
            },
            "model": f"aki/{model_name(run)}",
            "model_args": {"attention": record.model.attention} if record and record.model.attention else {},
            "config": {},
            "packages": dict(record.sessions[-1].versions) if record and record.sessions else {},
            "metadata": {"run_folder": str(run.path), "prompts": result.prompts, "judge": result.judge},
        },
        "plan": {
            "name": "plan",
            "steps": [{"solver": "generate", "params": {}}],
            "config": {"max_tokens": task.max_new_tokens, "temperature": 0.0} if task else {"temperature": 0.0},
        },
        "results": {
            "total_samples": len(first),
            "completed_samples": sum(row["error"] is None for row in first),
            "scores": [_score(run, result, protocol) for protocol in result.protocols],
        },
        "stats": {"started_at": record.created if record else moment, "completed_at": moment, "model_usage": {}},
        "samples": [
            _sample(row, {name: rows[place] for name, rows in scores.items()}) for place, row in enumerate(first)
        ],
    }


def _score(run: RunFolder, result: TaskResult, protocol: str) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    scored = unscored = 0
    for row in metric_rows(run):
        if (row.task, row.protocol) != (result.task, protocol) or row.metric.value is None:
            continue
        scored, unscored = max(scored, row.metric.num_scored), max(unscored, row.metric.num_unscored)
        metrics[row.name] = {"name": row.name, "value": row.metric.value, "params": {}}
        if row.name in result.about.headline_metrics and row.std_error is not None:
            metrics[f"{row.name} stderr"] = {"name": f"{row.name} stderr", "value": row.std_error, "params": {}}
        if row.name in result.about.headline_metrics and row.metric.ci95 is not None:
            for end, value in zip(("low", "high"), row.metric.ci95, strict=True):
                metrics[f"{row.name} ci95 {end}"] = {"name": f"{row.name} ci95 {end}", "value": value, "params": {}}
    return {
        "name": protocol,
        "scorer": protocol,
        "scored_samples": scored,
        "unscored_samples": unscored,
        "params": {},
        "metrics": metrics,
    }


def _sample(row: dict[str, Any], by_protocol: dict[str, dict[str, Any]]) -> dict[str, Any]:
    prompt, text = row["prompt"] or "", row["prediction"]
    messages = [{"role": "user", "content": prompt, "source": "input"}]
    if text is not None:
        messages.append({"role": "assistant", "content": text, "source": "generate", "model": row["model"]})
    choice = {
        "message": {"role": "assistant", "content": text or "", "source": "generate"},
        "stop_reason": {"stop": "stop", "length": "max_tokens"}.get(str(row["finish_reason"]), "unknown"),
    }
    return {
        "id": row["index"],
        "epoch": 1,
        "input": prompt,
        "target": row["target"] or "",
        "messages": messages,
        "output": {"model": str(row["model"]), "choices": [choice] if text is not None else []},
        "scores": {
            name: {
                "value": each["value"],
                "answer": each["answer"],
                "explanation": each["reason"],
                "metadata": {"groups": each["groups"], "cluster": each["cluster"]},
            }
            for name, each in by_protocol.items()
            if each["value"] is not None
        },
        "metadata": {"groups": row["groups"], "cluster": row["cluster"]},
        **({"error": {"message": row["error"], "traceback": "", "traceback_ansi": ""}} if row["error"] else {}),
    }
