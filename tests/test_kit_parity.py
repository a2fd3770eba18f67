"""Protocol `kit` equals VLMEvalKit: its prompts and every number of its evaluate(), on all eleven tables.

The kit's own classes run in one process of their own (`kit_worker.py`), in fresh folders; answers are thousands of
ordinary and odd ones, drawn with a fixed seed.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kit_worker import canned_reply
from PIL import Image, ImageChops

from benchmarks import toy_world
from benchmarks.data.load import load_samples
from benchmarks.judged import read_reply
from benchmarks.records import JudgeRequest, Prediction, Sample, Verdict
from benchmarks.scoring import metrics_of, score_task
from benchmarks.task import Task
from benchmarks.tasks import TASKS
from benchmarks.tasks.mmbench import ABBREVIATIONS
from benchmarks.tasks.mmmu import name_of
from benchmarks.toy_world import ensure_tables

TABLES = {table.name: task for task in TASKS.values() for table in task.tables}
NUM_ANSWERS = 2_000
"""For each table at least, in rounds of one answer a row; every second round with a judge."""


class CannedJudge:
    """The worker's judge behind our interface."""

    name = "canned"
    comparable = True

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [self._verdict(request) for request in requests]

    def _verdict(self, request: JudgeRequest) -> Verdict:
        reply = canned_reply(request.prompt)
        value = read_reply(request, reply)[0]
        error = None if value is not None else f"unreadable {reply!r}"
        return Verdict(
            index=request.index, kind=request.kind, judge="canned", prompt_hash="", raw=reply, value=value, error=error
        )


def odd_answer(sample: Sample, source: random.Random) -> str:
    """One of the things that models write: right, wrong, wordy, empty, in other scripts, very long."""
    options = list(sample.choices.items()) or [("A", sample.target), ("B", "No")]
    letter, text = source.choice(options)
    word = source.choice(["Yes", "No", "yes", "no", "YES", "Unknown"])
    number = source.choice(["0", "1", "2", "3", "14", "14.0", "3.5", "0.67", "1e3", "-7", "١٤", "½", "1,000"])
    return source.choice(
        [
            sample.target,
            letter,
            letter.lower(),
            f"({letter})",
            f"{letter}.",
            f"{letter}. {text}",
            f"**{letter}**",
            f"${letter}$",
            f"\\boxed{{{letter}}}",
            f"The answer is {letter}",
            f"The answer is {letter} because it is so, as everybody can plainly see.",
            f"{letter}\n\nExplanation: it shows {text} and nothing else",
            f"{letter} or {source.choice(options)[0]}",
            text,
            text.upper(),
            f"I think it is {text}.",
            "A cat is here",
            word,
            f"**{word}**",
            f"'{word}'",
            f"{word}, it is.",
            f"{word.lower()}:",
            f"Answer:{word}",
            "Yes and no",
            "Nope",
            "There is no dog",
            "I don't know, no idea",
            number,
            f"The answer is {number}.",
            f"[{number}, 2]",
            f"={number}",
            "",
            " ",
            "\n",
            "None",
            "nan",
            "N/A",
            "Z",
            "=1",
            "答案是B",
            "图中有一只猫",
            "Да, конечно",
            "😀 yes 😀",
            "’Yes’ – “No”",
            "Sorry, I can't help with images of people yet.",
            "Cannot determine the answer",
            "RuntimeError: CUDA error: no kernel image is available for execution on the device",
            "word " * 500,
            f"{letter} " * 300,
            "x" * 40_000,
        ]
    )


def answers_of(samples: Sequence[Sample], seed: int) -> dict[str, str]:
    """Half odd; half right or a plain letter or word, so that circular groups and pairs are won now and then."""
    source = random.Random(seed)
    plain = {sample.index: [sample.target] * 8 + [next(iter(sample.choices), "Yes"), "No"] for sample in samples}
    odd = 0.5 if seed % 2 else 0.05
    return {
        sample.index: odd_answer(sample, source) if source.random() < odd else source.choice(plain[sample.index])
        for sample in samples
    }


def samples_of(table: str, root: Path) -> list[Sample]:
    task = TABLES[table]
    samples = load_samples(task, root)
    return [sample for sample in samples if len(task.tables) == 1 or sample.index.startswith(f"{table}/")]


def rounds(samples: Sequence[Sample]) -> int:
    return max(4, math.ceil(NUM_ANSWERS / len(samples)))


def jobs(root: Path) -> Iterator[dict[str, Any]]:
    for table, task in TABLES.items():
        samples = samples_of(table, root)
        for number in range(rounds(samples)):
            judge = task.judged or number % 4 in (1, 2)
            answers = answers_of(samples, number)
            yield {
                "table": table,
                "judge": judge,
                "answers": {index.rsplit("/", 1)[-1]: text for index, text in answers.items()},
            }


@pytest.fixture(scope="module")
def toy() -> Path:
    return ensure_tables()


@pytest.fixture(scope="module")
def kit(toy: Path, warm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What VLMEvalKit makes of all jobs, and its prompts of all rows."""
    folder = tmp_path_factory.mktemp("kit")
    work = {"tables": str(toy), "prompts": list(TABLES), "evaluations": list(jobs(toy))}
    (folder / "jobs.json").write_text(json.dumps(work), encoding="utf-8")
    worker = Path(__file__).with_name("kit_worker.py")
    command = [warm / "python", worker, "jobs.json", "results.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((folder / "results.json").read_text("utf-8"))
    return {"work": work, "folder": folder, **results}


def ours(task: Task, samples: Sequence[Sample], job: dict[str, Any]) -> dict[str, Any]:
    predictions = {
        sample.index: Prediction(index=sample.index, prompt="", text=job["answers"][sample.index.rsplit("/", 1)[-1]])
        for sample in samples
    }
    judge = CannedJudge() if job["judge"] else None
    metrics: dict[str, Any] = metrics_of(task, score_task(task, samples, predictions, judge, ["kit"]))["protocols"][
        "kit"
    ]
    return metrics


def named(table: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """The kit's numbers under our metric names, in our units. Cells without a number (an empty split) are left out."""
    found: dict[str, float | None] = {}
    for row in rows:
        if table == "MME":
            found |= {"perception": row.pop("perception"), "cognition": row.pop("reasoning")} | row
        elif table == "POPE":
            prefix = "" if row["split"] == "Overall" else f"{row['split']}/"
            columns = {"f1": "Overall", "accuracy": "acc", "precision": "precision", "recall": "recall"}
            found |= {prefix + name: row[column] for name, column in columns.items()}
        elif table == "MathVista_MINI":
            found[row["Task&Skill"]] = row["acc"]
        elif table == "MMVet":
            found[row["Category"]] = row["acc"]
        elif table == "LLaVABench":
            found[row["split"]] = row["Relative Score (main)"]
        else:
            split = {"validation": "val"}.get(row["split"], row["split"])
            for name, value in row.items():
                if name != "split" and value is not None:
                    key = f"{split}/{name_of(name)}" if table == "MMMU_DEV_VAL" else name
                    found[split if key.endswith("/Overall") else key] = 100 * value
    return {name: value for name, value in found.items() if value is not None}


def plain_name(table: str, metric: str) -> str | None:
    """A metric's name as `named` gives it; None for those that the kit does not have."""
    if table in ("POPE", "MMMU_DEV_VAL"):
        return None if metric.endswith("yes_rate") else metric
    if table in ("CV-Bench-2D", "CV-Bench-3D"):
        names = {
            "2d": "Overall",
            "3d": "Overall",
            "ade20k": "ADE20K",
            "coco": "COCO",
            "depth": "Depth",
            "distance": "Distance",
        }
        return names.get(metric)
    name = metric.split("/", 1)[-1]
    if name == "overall":
        return "overall" if table == "LLaVABench" else "Overall"
    return name


@pytest.mark.parametrize("table", TABLES)
def test_every_number_equals_the_kits(table: str, kit: dict[str, Any], toy: Path) -> None:
    samples = samples_of(table, toy)
    compared = 0
    for job, rows in zip(kit["work"]["evaluations"], kit["evaluations"], strict=True):
        if job["table"] != table:
            continue
        theirs = named(table, rows)
        metrics = ours(TABLES[table], samples, job)
        our_numbers = {plain_name(table, name): metric["value"] for name, metric in metrics.items()}
        our_numbers.pop(None, None)
        assert set(our_numbers) == set(theirs)
        tolerance = 0.05 + 1e-9 if table == "LLaVABench" else 1e-9  # the kit rounds to one decimal there
        for name, value in theirs.items():
            assert math.isclose(our_numbers[name], value, abs_tol=tolerance, rel_tol=1e-12), (name, job["judge"])
        compared += len(theirs)
        assert all(metric["num_unscored"] == 0 for metric in metrics.values())
    assert compared >= rounds(samples)


@pytest.mark.parametrize("table", TABLES)
def test_prompts_equal_the_kits(table: str, kit: dict[str, Any], toy: Path) -> None:
    task = TABLES[table]
    for sample in samples_of(table, toy):
        prompt = task.prompts["vlmevalkit"](sample)
        ours_ = [["text", part] if isinstance(part, str) else ["image", None] for part in prompt.parts]
        theirs = [part for part in kit["prompts"][table][sample.index.rsplit("/", 1)[-1]] if part != ["text", ""]]
        assert [[kind, text if kind == "text" else None] for kind, text in theirs] == ours_
        paths = [Path(value) for kind, value in theirs if kind == "image"]
        for image, path in zip(prompt.images, paths, strict=True):
            if path.suffix == ".png":  # the kit's .jpg are lossy copies
                difference = ImageChops.difference(image.decode().convert("RGB"), Image.open(path).convert("RGB"))
                assert difference.getbbox() is None


CLASSES = {
    "MME": "ImageYORNDataset",
    "POPE": "ImageYORNDataset",
    "MMBench_DEV_EN": "ImageMCQDataset",
    "SEEDBench_IMG": "ImageMCQDataset",
    "RealWorldQA": "ImageMCQDataset",
    "MMMU_DEV_VAL": "MMMUDataset",
    "CV-Bench-2D": "CVBench",
    "CV-Bench-3D": "CVBench",
    "MathVista_MINI": "MathVista",
    "MMVet": "MMVet",
    "LLaVABench": "LLaVABench",
}


def test_the_toy_tables_are_the_kits_own(kit: dict[str, Any]) -> None:
    """The class that owns each name loads it and words every row, in words that the toy model knows."""
    assert kit["classes"] == CLASSES
    for table, prompts in kit["prompts"].items():
        assert len(prompts) == len(list(toy_world.TABLES[table]())), table
        images = [sum(kind == "image" for kind, _ in prompt) for prompt in prompts.values()]
        assert min(images) >= 1, table
        texts = ["".join(value for kind, value in prompt if kind == "text") for prompt in prompts.values()]
        assert {token for text in texts for token in toy_world.tokens(text)} <= set(toy_world.vocabulary()), table
        if table == "MMMU_DEV_VAL":
            assert max(images) >= 2


def test_the_abbreviations_are_the_kits() -> None:
    from benchmarks import kit as rules

    assert rules.rules().multiple_choice.MMB_abbrs == ABBREVIATIONS
