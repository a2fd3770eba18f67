"""Published answers under our protocols, beside their official scores.

    python tests/bench/real_scores.py

Reads the folder of published answers (AKI_REAL_DIR, or `shared/real` beside the checkout) and prints a table in
markdown. No judge is asked: grades and reviews are the published ones; where answers need an extractor, the published
extraction stands in for it in a row of its own. With POPE no answers are published: constant ones have known scores.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import real_answers
from real_answers import Answered

from benchmarks.records import JudgeRequest, Metric, Verdict
from benchmarks.scoring import metrics_of, score_task, why_not_comparable


@dataclass(frozen=True)
class Published:
    """A judge whose replies are in the file: `reply(index, repeat)`."""

    reply: Callable[[str, int], str]
    repeats: int = 1
    name: str = "published"
    comparable: bool = True

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [self._verdict(request, repeat) for request in requests for repeat in range(self.repeats)]

    def _verdict(self, request: JudgeRequest, repeat: int) -> Verdict:
        raw = self.reply(request.index, repeat)
        value = request.parse(raw)
        return Verdict(
            index=request.index,
            kind=request.kind,
            judge=self.name,
            prompt_hash="",
            raw=raw,
            value=value,
            repeat=repeat,
            error=None if value is not None else "unreadable",
        )

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "comparable": True}


def measure(answered: Answered, metric: str, judge: Published | None = None) -> dict[str, Metric]:
    """The metric by protocol."""
    scores = score_task(answered.task, answered.samples, answered.predictions, judge)
    return {
        name: Metric(**metrics[metric])
        for name, metrics in metrics_of(answered.task, scores)["protocols"].items()
        if metric in metrics
    }


def rows(real: Path, folder: Path) -> Iterator[tuple[str, str, str, dict[str, Metric]]]:
    """(what, the answered task's name, official score, metrics by protocol)."""
    yield "MMBench dev, LLaVA-1.5-13B", "mmbench", "67.7", measure(real_answers.mmbench(real, folder / "a"), "overall")
    for model in real_answers.MATHVISTA_MODELS:
        answered = real_answers.mathvista(real, model, folder / model)
        official = 100 * fmean(bool(line["official_right"]) for line in answered.records.values())
        yield f"MathVista, {model}", "mathvista", f"{official:.1f}", measure(answered, "overall")
        extracted = Published(lambda index, _, lines=answered.records: str(lines[index]["extraction"]))  # type: ignore[misc]
        found = {"kit": measure(answered, "overall", extracted)["kit"]}
        yield f"MathVista, {model}, with GPT-4's extraction", "mathvista", f"{official:.1f}", found
    yield "MMMU val, LLaVA-1.5-13B", "mmmu", "36.7", measure(real_answers.mmmu(real, folder / "m"), "val")
    yield from _judged(real, folder)
    for answer in ("Yes", "No", "Yes, there is.", "I am not sure."):
        found = measure(real_answers.pope(real, folder / "p", answer), "f1")
        known = {"Y": "66.7 (F1 of all yes)", "N": "0.0 (F1 of all no)"}.get(answer[0], "-")
        yield f"POPE, all {answer!r}", "pope", known, found


def _judged(real: Path, folder: Path) -> Iterator[tuple[str, str, str, dict[str, Metric]]]:
    answered = real_answers.mm_vet(real, folder / "v")
    grades = Published(lambda index, repeat: str(answered.records[index]["grades"][repeat]), repeats=3)
    yield "MM-Vet, LLaVA-1.5-7B, three runs", "mm_vet", "31.1", measure(answered, "overall", grades)
    for run in range(3):
        one = Published(lambda index, _, run=run: str(answered.records[index]["grades"][run]))  # type: ignore[misc]
        yield f"MM-Vet, run {run + 1}", "mm_vet", ("31.2", "30.8", "31.2")[run], measure(answered, "overall", one)
    reviewed = real_answers.llava_bench(real, folder / "l")
    reviews = Published(lambda index, repeat: str(reviewed.records[index]["reviews"][repeat]), repeats=3)
    yield "LLaVA-Bench, LLaVA-1.5-7B, three reviews", "llava_bench", "65.4", measure(reviewed, "overall", reviews)


def shown(metric: Metric | None) -> str:
    if metric is None or metric.value is None:
        return "-"
    left = f", {metric.num_unscored} unscored" if metric.num_unscored else ""
    return f"{metric.value:.2f} ({metric.num_unread or 0}/{metric.num_scored} unread{left})"


def main() -> None:
    real = real_answers.real_folder()
    if real is None:
        sys.exit(real_answers.MISSING)
    from benchmarks.tasks import TASKS

    print("| answers | official | kit | strict | kit is |\n|---|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, task, official, found in rows(real, Path(folder)):
            why = why_not_comparable(TASKS[task], "kit", found["kit"]) or "comparable"
            print(f"| {what} | {official} | {shown(found['kit'])} | {shown(found.get('strict'))} | {why} |", flush=True)


if __name__ == "__main__":
    main()
