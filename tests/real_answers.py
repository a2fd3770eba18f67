"""Published questions, answers, grades and reviews, as tables and predictions of ours.

They are not part of the project. `real_folder()` finds them: the environment variable AKI_REAL_DIR, or `shared/real`
beside the checkout. Tables are written with placeholder pictures, so that they are read as any table is.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from benchmarks.data.load import load_samples
from benchmarks.records import Prediction, Sample
from benchmarks.task import Task
from benchmarks.tasks import TASKS
from benchmarks.tasks.mmmu import DISCIPLINES, name_of

MATHVISTA_MODELS = ("bard", "chatgpt", "idefics_9b", "llavar")
POPE_SPLITS = ("random", "popular", "adversarial")
MISSING = "no published answers: set AKI_REAL_DIR to the folder that holds them"


def real_folder() -> Path | None:
    folder = Path(os.environ.get("AKI_REAL_DIR") or Path(__file__).resolve().parents[2] / "shared" / "real")
    return folder if folder.is_dir() else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


class Answered(NamedTuple):
    """A task's samples, and the published answers to them; `records` are the file's own lines by index."""

    task: Task
    samples: list[Sample]
    predictions: dict[str, Prediction]
    records: dict[str, dict[str, Any]]


def placeholder() -> str:
    content = io.BytesIO()
    Image.new("RGB", (1, 1)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def answered(
    task: str, rows: Iterable[Mapping[str, Any]], answers: Mapping[str, str], records: dict[str, Any], folder: Path
) -> Answered:
    """Writes the rows as the task's table below `folder` and reads them again."""
    folder.mkdir(parents=True, exist_ok=True)
    table = TASKS[task].tables[0].name
    written = [
        {"image": placeholder()} | {name: str(cell) for name, cell in row.items() if cell is not None} for row in rows
    ]
    columns = list(dict.fromkeys(name for row in written for name in row))
    with (folder / f"{table}.tsv").open("w", encoding="utf-8", newline="") as file:
        # Everything in quotes: real cells hold lone carriage returns, which csv writes bare and reads as line ends.
        writer = csv.DictWriter(file, columns, restval="", delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(written)
    samples = load_samples(TASKS[task], folder)
    predictions = {index: Prediction(index=index, prompt="", text=text) for index, text in answers.items()}
    return Answered(TASKS[task], samples, predictions, records)


def mmbench(real: Path, folder: Path) -> Answered:
    records = {str(line["index"]): line for line in read_lines(real / "mmbench_dev_llava1.5_13b.jsonl.gz")}
    rows = [
        {name: line[name] for name in ("index", "question", "A", "B", "C", "D", "answer", "split")}
        | {"category": "unknown", "l2-category": "unknown"}
        for line in records.values()
    ]
    return answered("mmbench", rows, {index: line["prediction"] for index, line in records.items()}, records, folder)


def mathvista(real: Path, model: str, folder: Path) -> Answered:
    records = {line["index"]: line for line in read_lines(real / f"mathvista_{model}.jsonl.gz")}
    rows = [_mathvista_row(line) for line in read_lines(real / "mathvista_testmini_questions.jsonl.gz")]
    return answered("mathvista", rows, {index: line["response"] for index, line in records.items()}, records, folder)


def _mathvista_row(line: dict[str, Any]) -> dict[str, Any]:
    row = {name: line[name] for name in ("index", "question", "answer", "question_type", "answer_type", "task")}
    row |= {"skills": str(line["skills"]), "precision": line["precision"], "unit": line["unit"]}
    if line["choices"]:
        letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[line["choices"].index(line["answer"])]
        row |= {"choices": str(line["choices"]), "answer_option": letter}
    return row


def mmmu(real: Path, folder: Path) -> Answered:
    records = {line["id"]: line for line in read_lines(real / "mmmu_val_llava1.5_13b.jsonl")}
    discipline = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects}
    rows = [
        {
            "index": line["id"],
            "image": str([placeholder()] * 7),
            "question": "<image 1>",
            "answer": line["answer"],
            "category": line["subject"],
            "l2-category": discipline[name_of(line["subject"])],
            "split": "validation",
            **(line["index2ans"] if line["question_type"] == "multiple-choice" else {}),
        }
        for line in records.values()
    ]
    return answered("mmmu", rows, {index: line["response"] for index, line in records.items()}, records, folder)


def mm_vet(real: Path, folder: Path) -> Answered:
    """The grades are published, the questions and their capabilities are not in the file."""
    records = {line["index"]: line for line in read_lines(real / "mmvet_llava1.5_7b.jsonl.gz")}
    rows = [{"index": index, "question": index, "answer": "unknown", "category": "unknown,all"} for index in records]
    return answered("mm_vet", rows, {index: line["prediction"] for index, line in records.items()}, records, folder)


def llava_bench(real: Path, folder: Path) -> Answered:
    """Which kind a question is of is not in the file."""
    records = {str(line["index"]): line for line in read_lines(real / "llava_bench_llava1.5_7b.jsonl.gz")}
    rows = [
        {"index": index, "question": line["question"], "category": "conv", "caption": "unknown", "gpt4_ans": "unknown"}
        for index, line in records.items()
    ]
    return answered(
        "llava_bench", rows, {index: line["prediction"] for index, line in records.items()}, records, folder
    )


def pope(real: Path, folder: Path, answer: str) -> Answered:
    """No answers are published with these questions: `answer` to all of them. A row names all splits that ask it."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for split, line in _pope_lines(real):
        row = rows.setdefault(
            (line["image"], line["text"]),
            {
                "index": len(rows),
                "question": line["text"],
                "answer": line["label"].capitalize(),
                "image_path": line["image"],
                "category": [],
            },
        )
        assert row["answer"] == line["label"].capitalize()
        row["category"].append(split)
    joined = [row | {"category": ",".join(row["category"])} for row in rows.values()]
    return answered("pope", joined, {str(row["index"]): answer for row in joined}, {}, folder)


def _pope_lines(real: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for split in POPE_SPLITS:
        for line in read_lines(real / f"pope_{split}.jsonl"):
            yield split, line
