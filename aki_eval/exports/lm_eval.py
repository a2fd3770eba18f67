"""lm-eval's and lmms-eval's results JSON, and a samples file a task, for viewers and scripts that read theirs.

As lm_eval/loggers/evaluation_tracker.py writes them: `results` holds "metric,filter" and "metric_stderr,filter"; here
the filter is the protocol. Percent become shares, as theirs are; points stay points.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.results.folder import RunFolder

from .rows import created, metric_rows, model_name, sample_rows

MISSING = "N/A"
"""What lm-eval writes where there is no standard error."""


def write(run: RunFolder, out: Path) -> list[Path]:
    """`results_TIME.json` and `samples_TASK_TIME.jsonl`."""
    stamp = re.sub(r"[^\dT-]", "-", created(run)[:19])
    paths = [out / f"results_{stamp}.json"]
    paths[0].write_text(json.dumps(results(run), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for task, result in run.results.items():
        path = out / f"samples_{task}_{stamp}.jsonl"
        lines = (
            json.dumps(_sample(number, row), ensure_ascii=False)
            for number, row in enumerate(sample_rows(run, task, result.headline))
        )
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="backslashreplace")
        paths.append(path)
    return paths


def results(run: RunFolder) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {task: {"alias": result.about.title} for task, result in run.results.items()}
    for row in metric_rows(run):
        share = 0.01 if row.metric.unit == "percent" else 1.0
        value, error = row.metric.value, row.std_error
        own = found[row.task]
        own[f"{row.name},{row.protocol}"] = None if value is None else share * value
        own[f"{row.name}_stderr,{row.protocol}"] = MISSING if error is None else share * error
    counts = {
        task: max((m.num_samples for m in result.protocols[result.headline].values()), default=0)
        for task, result in run.results.items()
    }
    record = run.record
    return {
        "results": found,
        "group_subtasks": {task: [] for task in found},
        "configs": {task: {"task": task, "num_fewshot": 0, "output_type": "generate_until"} for task in found},
        "versions": dict.fromkeys(found, "aki-toolkit"),
        "n-shot": dict.fromkeys(found, 0),
        "higher_is_better": {task: {} for task in found},
        "n-samples": {task: {"original": number, "effective": number} for task, number in counts.items()},
        "config": {
            "model": record.model.kind if record else "unknown",
            "model_args": f"pretrained={record.model.path or model_name(run)}" if record else "",
            "model_dtype": record.dtype if record else None,
            "device": record.device if record else None,
            "limit": None,
        },
        "git_hash": record.commit.sha if record and record.commit else None,
        "date": datetime.fromisoformat(created(run)).timestamp(),
        "model_source": "aki-toolkit",
        "model_name": model_name(run),
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model_name(run)),
    }


def _sample(number: int, row: dict[str, Any]) -> dict[str, Any]:
    target = row["target"] or ""
    return {
        "doc_id": number,
        "doc": {"index": row["index"], "groups": row["groups"], "cluster": row["cluster"]},
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": row["prompt"]}},
        "resps": [[row["prediction"]]],
        "filtered_resps": [row["answer"]],
        "filter": row["protocol"],
        "metrics": ["value"],
        "value": row["value"],
        "reason": row["reason"],
        "error": row["error"],
        "doc_hash": _hash(row["index"]),
        "prompt_hash": _hash(row["prompt"] or ""),
        "target_hash": _hash(target),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
