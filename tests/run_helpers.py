"""A predictor that does what it is told, and a small benchmark for it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from aki_eval.predictors import Generation
from benchmarks.estimates import mean_by_group
from benchmarks.records import ImageRef, Prompt, Sample
from benchmarks.scoring import each_by_itself
from benchmarks.task import DataTable, ProtocolRule, Task


class ScriptedPredictor:
    """Answers every prompt with `answer(prompt)` and writes down what it was asked. `answer` may raise."""

    def __init__(self, answer: Callable[[Prompt], str] = lambda prompt: f"answer to {prompt.index}") -> None:
        self.answer = answer
        self.name = "scripted"
        self.batch_size = 4
        self.device = "none"
        self.version = "1"
        self.batches: list[list[str]] = []

    @property
    def asked(self) -> list[str]:
        return [index for batch in self.batches for index in batch]

    def describe(self) -> dict[str, Any]:
        return {"kind": "scripted", "version": self.version, "dtype": None}

    def self_test(self) -> dict[str, Any] | None:
        return {"passed": True}

    def render(self, prompt: Prompt) -> str:
        return f"<user>{prompt.text}"

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        self.batches.append([prompt.index for prompt in prompts])
        return [Generation(self.answer(prompt), 1, "stop") for prompt in prompts]


def picture(color: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


def prompt(index: str, text: str = "What is it?", image: str | None = None) -> Prompt:
    """With a picture called `image`, or without one."""
    return Prompt(index, (ImageRef(image, picture), text) if image else (text,))


def to_sample(table: str, row: Any, images: tuple[ImageRef, ...]) -> Sample:
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=row["answer"],
        groups=(f"kind/{row['category']}",),
        cluster=images[0].key if images else row["index"],
        row=row,
    )


def exact(sample: Sample, text: str) -> tuple[float, str | None]:
    return float(text == sample.target), text


TASK = Task(
    name="small",
    title="Small",
    paper="none",
    tables=(DataTable(name="SMALL", md5="", num_rows=None),),
    paper_table=None,
    to_sample=to_sample,
    prompts={
        "aki": lambda sample: Prompt(sample.index, (*sample.images, sample.question)),
        "vlmevalkit": lambda sample: Prompt(sample.index, (*sample.images, sample.question + "\nAnswer:")),
    },
    protocols={"kit": ProtocolRule(score=each_by_itself("kit", exact), estimate=mean_by_group)},
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=8,
)


def write_table(root: Path, rows: int = 12, name: str = "SMALL", pictures: int = 3) -> Path:
    """A table whose right answers are `answer to <index>`: what the scripted predictor says."""
    root.mkdir(parents=True, exist_ok=True)
    colors = [*("red", "green", "blue"), *(f"#{number:06x}" for number in range(pictures))][:pictures]
    encoded = [base64.b64encode(picture(color)).decode() for color in colors]
    lines = ["\t".join(("index", "image", "question", "answer", "category"))]
    for index in range(rows):
        image = encoded[index % pictures]
        lines.append("\t".join((str(index), image, f"Question {index}?", f"answer to {index}", "ab"[index % 2])))
    (root / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return root


def results(out: Path) -> dict[str, Any]:
    """What a run found, without who and when. Answers line by line: what stands there twice is here twice."""
    lines = [json.loads(line) for line in (out / "small/predictions.jsonl").read_text().splitlines()]
    metrics = json.loads((out / "small/metrics.json").read_text())
    return {
        "answers": sorted((int(line["index"]), line["prompt"], line["prediction"], line["error"]) for line in lines),
        "scores": (out / "small/scores.jsonl").read_text(),
        "metrics": metrics["protocols"],
        "complete": metrics["complete"],
    }
