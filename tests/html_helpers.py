"""A scored run with answers, small pictures and a hostile text, for the tests of the HTML report."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from record_helpers import record
from reports_helpers import write_json, write_lines

from benchmarks.data.load import checksum
from benchmarks.records import Score
from benchmarks.scoring import metrics_of
from benchmarks.tasks import TASKS

HOSTILE = (
    """</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"> {{ 7 * 7 }} \u2028 & \"'`"""
)
NUM_POPE = 600
NUM_REAL = 40


def write_answered_run(path: Path, seed: int) -> Path:
    """POPE without its table (the texts come from the prompts) and RealWorldQA with a table of pictures beside it."""
    rng = random.Random(seed)
    write_json(path / "run.json", record(HOSTILE, data={"source": str(path), "tables": {}}))
    write_table(path / "tables" / "RealWorldQA.tsv")
    _write_task(path, "pope", NUM_POPE, lambda index: ("adversarial", "popular", "random")[index % 3 :], rng)
    _write_task(path, "real_world_qa", NUM_REAL, lambda index: (), rng)
    return path


def _write_task(path: Path, name: str, size: int, groups: Callable[[int], Sequence[str]], rng: random.Random) -> None:
    scores, predictions = [], []
    for index in range(size):
        right = rng.random() < 0.7
        broken = name == "pope" and index == 5
        answer = HOSTILE if index == 0 else "needle in the last page" if index == size - 1 else "Yes" if right else "No"
        scores.append(
            Score(
                index=str(index),
                protocol="kit",
                value=None if broken else float(right),
                reason="error" if broken else None,
                answer=None if broken else answer,
                target="Yes",
                groups=tuple(groups(index)),
                cluster=str(index // 2),
                parts={} if broken or name != "pope" else {"answer": float(right), "target": 1.0},
            )
        )
        text = None if broken else answer
        error = "out of memory" if broken else None
        predictions.append(
            {"index": str(index), "prompt": f"<image> Is it {index}?", "prediction": text, "error": error}
        )
    task = TASKS[name]
    tables = checksum(task, path / "tables") if name == "real_world_qa" else {}
    judged: dict[str, Any] = {"subset": None, "judge": None, "complete": name != "pope", "prompts": "aki"}
    data = {"source": str(path / "tables"), "tables": tables}
    write_json(path / name / "metrics.json", {**metrics_of(task, {"kit": scores}), **judged, "data": data})
    write_lines(path / name / "scores.jsonl", [{**vars(score), "groups": list(score.groups)} for score in scores])
    write_lines(path / name / "predictions.jsonl", predictions)


def write_table(path: Path) -> None:
    """RealWorldQA's table with one picture for every two questions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["index\timage\tquestion\tA\tB\tanswer"]
    for index in range(NUM_REAL):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (index // 2 * 6, 90, 160)).save(buffer, format="PNG")
        picture = base64.b64encode(buffer.getvalue()).decode()
        question = "<b>What</b> colour is it?" if index == 1 else f"What colour is number {index}?"
        lines.append(f"{index}\t{picture}\t{question}\tYes\tNo\tA")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
