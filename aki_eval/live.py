"""A run while it goes on: how far each benchmark is, what its answers are worth so far, and the last ones themselves.

Only reads. What is not all there is marked as partial wherever it is shown: no number from here is a result.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.catalogue import find_task
from benchmarks.errors import UserError
from benchmarks.records import Prediction, PromptStyle, Sample
from benchmarks.results.folder import label_of
from benchmarks.results.jsonl import predictions_files, read_predictions
from benchmarks.results.record import RunRecord, read_record
from benchmarks.scoring import metrics_of, score_task
from benchmarks.task import Task
from reports.asked import in_short
from reports.pages.build import TEMPLATES, make_environment
from reports.serving import Answer

from .run.inputs import load
from .run.progress import duration
from .run.subset import from_record

SECONDS = 2.0
"""Between two looks at the folder."""
SCORE_SECONDS = 10.0
"""Between two scorings of one benchmark: reading thousands of answers again for each new one would slow the run."""
SHOWN = 30
"""As many of the last answers are shown."""
SCRIPT = "live/state.js"


@dataclass
class Watched:
    """One benchmark of the run, as of the last look."""

    name: str
    total: int
    task: Task | None
    samples: list[Sample] | None = None
    predictions: Mapping[str, Prediction] = field(default_factory=dict)
    first_seen: tuple[float, int] | None = None
    """When its first answers were seen, and how many these were: the rate is counted from there."""
    changed: float = 0.0
    scored: tuple[float, int] = (-SCORE_SECONDS, -1)
    metrics: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def rate(self) -> float | None:
        if self.first_seen is None or self.changed <= self.first_seen[0]:
            return None
        return (len(self.predictions) - self.first_seen[1]) / (self.changed - self.first_seen[0])


class LiveRun:
    """Watches a run folder in a thread of its own.

    Raises:
        UserError: the folder is no run.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "run.json").is_file():
            raise UserError(f"{folder} is no run folder yet: it has no run.json; begin the run, then watch it")
        self.folder = folder
        self.watched: dict[str, Watched] = {}
        self._state = self._script({"label": label_of(folder), "tasks": [], "last": [], "error": None})

    def start(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def answer(self, address: str) -> Answer | None:
        return Answer(self._state, "text/javascript; charset=utf-8") if address == SCRIPT else None

    def write_page(self, out: Path) -> Path:
        """The page that shows it, and what it loads."""
        shutil.copytree(TEMPLATES / "assets", out / "assets")
        content = {
            "label": label_of(self.folder),
            "tasks": {},
            "several": False,
            "notices": (),
            "active": "live",
            "probed": False,
            "looked_inside": False,
        }
        text = make_environment().get_template("live.html.j2").render(content)
        (out / "index.html").write_text(text, encoding="utf-8", errors="backslashreplace")
        return out

    def _watch(self) -> None:
        while True:
            try:
                self.look()
            except (UserError, OSError) as error:  # a file being replaced, or damaged: said, and looked at again
                self._state = self._script(
                    {"label": label_of(self.folder), "tasks": [], "last": [], "error": str(error)}
                )
            time.sleep(SECONDS)

    def look(self) -> None:
        """One look at the folder."""
        record = read_record(self.folder / "run.json")
        for name, entry in record.tasks.items():
            if name not in self.watched:
                self.watched[name] = Watched(name=name, total=entry.num_samples or 0, task=find_task(name))
            self._read(self.watched[name], record)
        self._tell(record)
        for watched in self.watched.values():
            if self._is_due(watched):
                self._score(watched, record)
                self._tell(record)

    def _read(self, watched: Watched, record: RunRecord) -> None:
        files = predictions_files(self.folder / watched.name)
        found = read_predictions(files, record.answers.get(watched.name)) if files else {}
        now = time.monotonic()
        if len(found) != len(watched.predictions):
            watched.changed = now
            if watched.first_seen is None:
                watched.first_seen = (now, len(found))
        watched.predictions = found

    def _is_due(self, watched: Watched) -> bool:
        last, number = watched.scored
        return (
            watched.task is not None
            and not watched.task.judged
            and len(watched.predictions) not in (0, number)
            and (time.monotonic() - last >= SCORE_SECONDS or len(watched.predictions) >= watched.total)
        )

    def _score(self, watched: Watched, record: RunRecord) -> None:
        """The headline protocol over what is answered; circular groups count as soon as they are whole."""
        task = watched.task
        assert task is not None
        watched.scored = (time.monotonic(), len(watched.predictions))
        try:
            if watched.samples is None:
                style: PromptStyle = "vlmevalkit" if record.prompts == "vlmevalkit" else "aki"
                (given,) = load([task], record.data.source, style, from_record(record.subset))
                watched.samples = given.samples
            answered = [sample for sample in watched.samples if sample.index in watched.predictions]
            scores = score_task(task, answered, watched.predictions, None, [task.headline])
            watched.metrics = metrics_of(task, scores)["protocols"][task.headline]
            watched.note = ""
        except (UserError, OSError) as error:
            watched.metrics, watched.note = {}, str(error)

    def _tell(self, record: RunRecord) -> None:
        tasks = [_summary(watched) for watched in self.watched.values()]
        self._state = self._script(
            {
                "label": label_of(self.folder),
                "model": record.model.name,
                "tasks": tasks,
                "last": self._last(),
                "error": None,
            }
        )

    def _last(self) -> list[dict[str, Any]]:
        """The last answers of the benchmark that changed last, newest first."""
        moving = max(self.watched.values(), key=lambda watched: watched.changed, default=None)
        if moving is None:
            return []
        newest = list(moving.predictions.values())[-SHOWN:]
        targets = {sample.index: sample.target for sample in moving.samples or ()}
        questions = in_short({each.index: each.prompt for each in newest})
        return [
            {
                "task": moving.name,
                "id": each.index,
                "question": questions.get(each.index, ""),
                "text": each.text,
                "error": each.error,
                "target": targets.get(each.index),
            }
            for each in reversed(newest)
        ]

    @staticmethod
    def _script(state: Mapping[str, Any]) -> bytes:
        """ASCII, as all data of the pages: nothing in an answer can end the script."""
        return f"AKI.receive({json.dumps('live/state')},{json.dumps(state, ensure_ascii=True)});\n".encode("ascii")


def _summary(watched: Watched) -> dict[str, Any]:
    done, rate = len(watched.predictions), watched.rate
    left = None if not rate or done >= watched.total else duration((watched.total - done) / rate)
    names = watched.task.headline_metrics if watched.task else ()
    return {
        "name": watched.name,
        "title": watched.task.title if watched.task else watched.name,
        "done": done,
        "total": watched.total,
        "rate": None if not rate else round(rate, 1),
        "left": left,
        "failed": sum(prediction.error is not None for prediction in watched.predictions.values()),
        "judged": bool(watched.task and watched.task.judged),
        "protocol": watched.task.headline if watched.task else None,
        "partial": watched.scored[1] < watched.total,
        "behind": watched.scored[1],
        "values": [{"metric": name, **_numbers(watched.metrics[name])} for name in names if name in watched.metrics],
        "note": watched.note,
    }


def _numbers(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metric[name] for name in ("value", "ci95", "num_scored", "num_unread", "num_unscored")}
