"""`vlmevalkit:NAME`: prompts and every number equal those of the kit's own classes, on generated tables of each family.

The kit's classes run once for this module, in a process of their own (`kit_worker.py`).
"""

from __future__ import annotations

import base64
import csv
import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from run_helpers import picture
from test_kit_parity import CannedJudge, odd_answer

from aki_eval.cli import main
from aki_eval.run.inputs import find_tasks
from benchmarks import kit, kit_tasks
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.kit_classes import image_classes
from benchmarks.records import Prediction, Sample
from benchmarks.scoring import metrics_of, score_task

Rows = list[dict[str, str]]
COLORS = ("red", "green", "blue", "white", "black", "gray")
WORDS = ("cat", "dog", "a red circle", "4", "nothing", "both of them", "3.5", "猫")


def choices(source: random.Random, number: int = 4, **columns: str) -> dict[str, str]:
    options = source.sample(WORDS, number)
    return {**dict(zip("ABCD", options, strict=False)), "answer": "ABCD"[source.randrange(number)], **columns}


def plain(source: random.Random, rows: int = 40, splits: Sequence[str] = (), hint: bool = False) -> Rows:
    return [
        choices(
            source,
            source.choice([2, 3, 4]),
            index=str(index),
            question=f"What is it ({index})?",
            category=source.choice(["counting", "colour & shape", "text"]),
            **{"l2-category": source.choice(["attribute_reasoning", "other"])},
            **({"split": source.choice(list(splits))} if splits else {}),
            **({"hint": source.choice(["", "Look at it."])} if hint else {}),
        )
        for index in range(rows)
    ]


def circular(source: random.Random, rows: int = 15, g_index: bool = False) -> Rows:
    """Each question with as many rotations as options; with `g_index` under numbers that say nothing."""
    found: Rows = []
    for number, row in enumerate(plain(source, rows, ("dev",))):
        letters = [letter for letter in "ABCD" if letter in row]
        for roll in range(len(letters)):
            turned = {letters[(k + roll) % len(letters)]: row[letter] for k, letter in enumerate(letters)}
            answer = letters[(letters.index(row["answer"]) + roll) % len(letters)]
            index = len(found) + 100 if g_index else number + roll * 1_000_000
            first = index if roll == 0 else int(found[-roll]["index"])
            named = {"g_index": str(first)} if g_index else {}
            found.append({**row, **turned, "answer": answer, "index": str(index), **named})
    return found


def tasks_of_abilities(source: random.Random) -> Rows:
    """MMT-Bench: two tasks an ability, of unequal sizes, in two splits; the kit wants every ability in both."""
    abilities = list(kit.rules().multiple_choice.MMT_abbrs)
    found = []
    for row in plain(source, 7 * len(abilities)):
        place, number = divmod(int(row["index"]), 7)
        task, split = ((0, "VAL"), (0, "VAL"), (0, "TEST"), (1, "VAL"), (1, "TEST"), (1, "TEST"), (1, "TEST"))[number]
        found.append({**row, "l2-category": abilities[place], "category": f"{abilities[place]} {task}", "split": split})
    return found


def science(source: random.Random) -> Rows:
    settings = [*kit_tasks.SETTINGS, "other"]
    found = []
    for row in plain(source, 72):
        row = {**row, "setting": settings[int(row["index"]) % 4], "subject": source.choice(["Optics", "Ecology"])}
        found.append({**row, "category": "Physics" if row["subject"] == "Optics" else "Biology"})
    return found


def pairs(source: random.Random) -> Rows:
    return [{**row, "question": f"Is it up ({int(row['index']) // 2})?"} for row in plain(source, 40)]


def yes_no(source: random.Random, answers: Sequence[str] = ("Yes", "No"), **columns: Sequence[str]) -> Rows:
    return [
        {"index": str(index), "question": f"Is there a cat ({index})?", "answer": source.choice(list(answers))}
        | {name: source.choice(list(values)) for name, values in columns.items()}
        for index in range(48)
    ]


def hallusion(source: random.Random) -> Rows:
    """Sets whose questions are asked of each of their figures."""
    found = []
    for category, l2 in (("VD", "figure"), ("VD", "math"), ("VS", "chart")):
        for number in range(3):
            for figure in range(2):
                for question in range(2):
                    index = f"HB_{category}_{l2}_{number}_{figure}_{question}"
                    row = {"index": index, "question": f"Is it so ({index})?", "answer": source.choice(["Yes", "No"])}
                    found.append({**row, "category": category, "l2-category": l2})
    return found


def amber(source: random.Random) -> Rows:
    rows = yes_no(source, ("yes", "no"), category=[*kit_tasks.AMBER, "other"])
    return [{**row, "image_path": f"{int(row['index']) // 3}.png"} for row in rows]


def short(source: random.Random, answers: Callable[[random.Random], str], **columns: Sequence[str]) -> Rows:
    return [
        {"index": str(index), "question": f"What does it say ({index})?", "answer": answers(source)}
        | {name: source.choice(list(values)) for name, values in columns.items()}
        for index in range(40)
    ]


def listed(source: random.Random) -> str:
    return repr([source.choice(["cat", "dog", "two", "a red circle"]) for _ in range(source.choice([1, 5, 10]))])


def number_or_word(source: random.Random) -> str:
    return source.choice(["14", "3.5", "12%", "cat", "['1', 'one']", "blue shirt"])


TABLES: dict[str, Callable[[random.Random], Rows]] = {
    "MMStar": plain,
    "SEEDBench2_Plus": plain,
    "AI2D_TEST": lambda source: plain(source, hint=True),
    "ScienceQA_TEST": lambda source: plain(source, splits=("val", "test"), hint=True),
    "MedXpertQA_MM_test": plain,
    "MMMB_ar": lambda source: plain(source, splits=("all",)),
    "BLINK": plain,
    "MMBench_DEV_EN_V11": circular,
    "CCBench": circular,
    "BLINK_circular": lambda source: circular(source, g_index=True),
    "MMT-Bench_VAL": tasks_of_abilities,
    "MMSci_DEV_MCQ": science,
    "MMVP": pairs,
    "HallusionBench": hallusion,
    "AMBER": amber,
    "VSR-zeroshot": yes_no,
    "TextVQA_VAL": lambda source: short(source, listed),
    "ChartQA_TEST": lambda source: short(source, number_or_word, split=("test_human", "test_augmented")),
    "DocVQA_VAL": lambda source: short(source, listed),
    "InfoVQA_VAL": lambda source: short(source, listed, category=("table", "map")),
    "OCRVQA_TESTCORE": lambda source: short(source, number_or_word, category=("a", "b")),
    "GQA_TestDev_Balanced": lambda source: short(source, number_or_word),
    "OCRBench": lambda source: short(
        source, listed, category=(*kit_tasks.RECOGNITION, "Doc-oriented VQA", kit_tasks.FORMULAS)
    ),
}
JUDGED = [
    table for table in TABLES if not table.endswith(("VQA_VAL", "ChartQA_TEST", "TESTCORE", "Balanced", "OCRBench"))
]


def write(root: Path, table: str, rows: Rows, source: random.Random) -> None:
    columns = list(dict.fromkeys(["index", "image", *(name for row in rows for name in row)]))
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{table}.tsv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, delimiter="\t", restval="")
        writer.writeheader()
        for row in rows:
            image = base64.b64encode(picture(source.choice(COLORS))).decode()
            writer.writerow({"image": image, **row})


def answers(table: str, samples: Sequence[Sample], seed: int) -> dict[str, str]:
    source = random.Random(seed)
    found = {}
    for sample in samples:
        right = sample.target
        if table in TABLES and not sample.choices and right not in ("Yes", "No"):
            right = str(kit_tasks.answers_of(right, sample.index)[0])
        odd = odd_answer(sample, source)
        found[sample.index] = (
            odd if len(odd) < 5_000 and source.random() < 0.4 else source.choice([right, right, "B", "No"])
        )
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit") / "tables"
    for seed, (table, rows) in enumerate(TABLES.items()):
        source = random.Random(seed)
        write(folder, table, rows(source), source)
    return folder


def rounds(table: str, root: Path) -> Iterator[tuple[bool, dict[str, str]]]:
    """(whether a judge helps, answers)."""
    samples = load_samples(kit_tasks.find(table), root)
    for seed in range(3):
        yield False, answers(table, samples, seed)
    if table in JUDGED:
        yield True, answers(table, samples, 3)


@pytest.fixture(scope="module")
def theirs(root: Path, warm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Prompts by table, and evaluations by table in the order of `rounds`."""
    folder = tmp_path_factory.mktemp("worker")
    jobs = [
        {"table": table, "judge": judge, "answers": given} for table in TABLES for judge, given in rounds(table, root)
    ]
    (folder / "jobs.json").write_text(json.dumps({"tables": str(root), "prompts": list(TABLES), "evaluations": jobs}))
    worker = Path(__file__).with_name("kit_worker.py")
    command = [warm / "python", worker, str(folder / "jobs.json"), str(folder / "results.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads((folder / "results.json").read_text("utf-8"))
    evaluations: dict[str, list[Any]] = {}
    for job, found in zip(jobs, results["evaluations"], strict=True):
        evaluations.setdefault(str(job["table"]), []).append(found)
    return {"prompts": results["prompts"], "evaluations": evaluations}


@pytest.mark.parametrize("table", TABLES)
def test_prompts_are_the_kit_s(table: str, root: Path, theirs: dict[str, Any]) -> None:
    task = kit_tasks.find(table)
    for sample in load_samples(task, root):
        prompt = task.prompts["vlmevalkit"](sample)
        ours = [["text", part] if isinstance(part, str) else ["image", ""] for part in prompt.parts]
        kits = [[kind, value if kind == "text" else ""] for kind, value in theirs["prompts"][table][sample.index]]
        assert ours == kits


@pytest.mark.parametrize("table", TABLES)
def test_numbers_are_the_kit_s(table: str, root: Path, theirs: dict[str, Any]) -> None:
    task = kit_tasks.find(table)
    samples = load_samples(task, root)
    assert not any(sample.fault for sample in samples)
    for (judge, given), rows in zip(rounds(table, root), theirs["evaluations"][table], strict=True):
        predictions = {index: Prediction(index=index, prompt="", text=text) for index, text in given.items()}
        scores = score_task(task, samples, predictions, CannedJudge() if judge else None)
        metrics = metrics_of(task, scores)["protocols"]["kit"]
        ours = {name: metric["value"] for name, metric in metrics.items()}
        wanted = dict(WANTED.get(table, by_split)(rows))
        assert wanted, rows
        assert {name: ours.get(name) for name in wanted} == {
            name: None if value is None else pytest.approx(value, abs=1e-9) for name, value in wanted.items()
        }
        assert all(metric["num_unscored"] == 0 for metric in metrics.values())
        headline = metrics[task.headline_metrics[0]]
        assert headline["ci95"][0] <= headline["value"] <= headline["ci95"][1]


Wanted = Iterator[tuple[str, float | None]]


def ours_of(name: str) -> list[str]:
    """Names that a category of the kit's report may have here."""
    return [f"category/{name}", f"l2-category/{name}"]


def by_split(rows: Rows, scale: float = 100.0) -> Wanted:
    """`report_acc`: a row a split; what is both a category and an ability cannot be told apart there."""
    several = len([row for row in rows if row["split"] != "ALL"]) > 1
    for row in rows:
        prefix = f"split/{row['split']}/" if several and row["split"] != "ALL" else ""
        for name, value in row.items():
            if name == "split":
                continue
            column = "l2-category" if name in ("AR", "other") else "category"
            if value is not None and not (isinstance(value, float) and math.isnan(value)):
                yield prefix + ("overall" if name == "Overall" else f"{column}/{name}"), scale * float(value)


def mmt(rows: Rows) -> Wanted:
    abilities = {short: name for name, short in kit.rules().multiple_choice.MMT_abbrs.items()}
    for row in rows:
        prefix = "" if row["split"] == "ALL" else f"split/{row['split']}/"
        for name, value in row.items():
            if name != "split" and value is not None:
                own = f"l2-category/{abilities[name]}" if name in abilities else f"category/{name}"
                yield prefix + ("overall" if name == "Overall" else own), 100 * float(value)


def science_rows(rows: Rows) -> Wanted:
    for row in rows:
        subject = row["subject"]
        if subject == "Overall":
            yield "overall", 100 * float(row["Avg"])
            yield from ((f"setting/{name}", 100 * float(row[name])) for name in kit_tasks.SETTINGS)
        else:
            place = f"category/{subject.removeprefix('CATEGORY_')}" if "CATEGORY_" in subject else f"subject/{subject}"
            yield from ((f"{place}/{name}", 100 * float(row[name])) for name in kit_tasks.SETTINGS)


def pair_rows(rows: Rows) -> Wanted:
    yield "overall", 100 * float(rows[0]["Overall"])
    yield "average", 100 * float(rows[0]["Average"])


def hallusion_rows(rows: Rows) -> Wanted:
    for row in rows:
        place = {"Overall": "", "VD": "category/VD/", "VS": "category/VS/"}.get(
            row["split"], f"l2-category/{row['split']}/"
        )
        yield from ((place + name, float(row[name])) for name in ("aAcc", "fAcc", "qAcc"))


def amber_rows(rows: Rows) -> Wanted:
    for name, value in rows[0].items():
        yield "average" if name == "Avg ACC" else f"category/{name}", float(value)


def vsr_rows(rows: Rows) -> Wanted:
    names = {"precision": "precision", "recall": "recall", "acc": "accuracy"}
    yield from ((ours, float(rows[0][name])) for name, ours in names.items())
    yield "f1", 100 * float(rows[0]["f1_score"])


def vqa_rows(rows: Rows) -> Wanted:
    for name, value in rows[0].items():
        place = f"split/{name}/overall" if name.startswith("test_") else f"category/{name}"
        yield "overall" if name == "Overall" else place, float(value)


def ocr_rows(rows: Rows) -> Wanted:
    yield "overall", 100 * float(rows[0]["Final Score"]) / 40


VQA = ("TextVQA_VAL", "ChartQA_TEST", "DocVQA_VAL", "InfoVQA_VAL", "OCRVQA_TESTCORE", "GQA_TestDev_Balanced")
WANTED: Mapping[str, Callable[[Rows], Wanted]] = {
    "MMT-Bench_VAL": mmt,
    "MMSci_DEV_MCQ": science_rows,
    "MMVP": pair_rows,
    "HallusionBench": hallusion_rows,
    "AMBER": amber_rows,
    "VSR-zeroshot": vsr_rows,
    **dict.fromkeys(VQA, vqa_rows),
    "OCRBench": ocr_rows,
}


# -- without the kit's classes ----------------------------------------------------------------------------------------
def test_every_table_of_the_families_makes_a_task() -> None:
    names = {each.name: list(each.urls) for each in image_classes() if each.name in kit_tasks.FAMILIES}
    assert [len(names[name]) for name in ("ImageMCQDataset", "ImageYORNDataset", "ImageVQADataset")] == [73, 5, 9]
    for table in (table for tables in names.values() for table in tables):
        task = kit_tasks.find(table)
        assert table in [each.name for each in task.tables]
        assert task.headline in task.protocols


def test_names() -> None:
    assert [task.name for task in find_tasks("vlmevalkit:MMStar,vlmevalkit:MME,mme")] == ["mme", "vlmevalkit_MMStar"]
    for name, part in (
        ("HRBench4K", "its class HRBenchDataset has code of its own .*; aki-eval vlmevalkit --data HRBench4K runs"),
        ("MMBench-Video", "scores it in a file of its own"),
        ("mmstar", "did you mean MMStar"),
        ("Nope", "has no table 'Nope'$"),
    ):
        with pytest.raises(UserError, match=part):
            find_tasks(f"vlmevalkit:{name}")


def test_rows_that_are_not_as_assumed_are_unscored(tmp_path: Path) -> None:
    source = random.Random(0)
    rows = plain(source, 6)
    rows[1]["answer"], rows[2]["answer"] = "cat", ""
    write(tmp_path, "MMStar", rows, source)
    task = kit_tasks.find("MMStar")
    samples = load_samples(task, tmp_path)
    assert [sample.index for sample in samples if sample.fault] == ["1", "2"]
    assert "the answer is 'cat', expected an option's letter" in str(samples[1].fault)
    rows = circular(source, 2)
    write(tmp_path, "CCBench", rows[1:], source)  # the first rotation of the first question is gone
    task = kit_tasks.find("CCBench")
    samples = load_samples(task, tmp_path)
    given = {each.index: Prediction(index=each.index, prompt="", text=each.target) for each in samples}
    scores = score_task(task, samples, given, None)["kit"]
    assert {score.reason for score in scores if score.cluster == "0"} == {"incomplete_group"}
    assert {score.value for score in scores if score.cluster == "1"} == {1.0}


def test_an_answer_cell_is_no_code(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    for cell in (f"__import__('os').mkdir({str(trap)!r})", f"[__import__('os').mkdir({str(trap)!r})]"):
        assert kit.vqa("ChartQA_TEST", kit_tasks.answers_of(cell, "0"), "cat")[0] == 0.0
    assert not trap.exists()


def test_run_report_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = random.Random(1)
    write(tmp_path / "data", "HallusionBench", hallusion(source), source)
    (tmp_path / "yes.py").write_text(
        "class PREDICTOR:\n    def predict(self, prompts): return ['Yes'] * len(prompts)\n"
    )
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["aki-eval", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        return said.out

    options = ("--bench", "vlmevalkit:HallusionBench", "--data", "data", "--prompts", "vlmevalkit")
    assert "Hall… aAcc" in call("run", *options, "--model", "yes.py", "--out", "a")
    call("run", *options, "--model", "yes.py", "--out", "b")
    assert "HallusionBench qAcc" in call("compare", "a", "b", "--format", "md")
    assert "l2-category/math/fAcc" in call("report", "a", "--format", "md")
    assert "vlmevalkit_HallusionBench" in call("list", "vlmevalkit:HallusionBench")
    assert "Hall… aAcc" in call("score", "a")
