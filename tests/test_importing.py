"""Predictions made elsewhere: every format, every way in which they may not fit, and never a guess."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest

from aki_eval.commands.import_ import command
from aki_eval.imports.collect import Fields, Import
from aki_eval.imports.collect import collect as collect_all
from aki_eval.imports.readers import read_records
from aki_eval.imports.sources import find_sources
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.records import Sample
from benchmarks.results.folder import open_run
from benchmarks.task import Task
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables


@pytest.fixture(scope="module")
def tables() -> Path:
    return ensure_tables()


@pytest.fixture(scope="module")
def choices(tables: Path) -> list[Sample]:
    return load_samples(TASKS["real_world_qa"], tables)


@pytest.fixture(scope="module")
def cv_bench(tables: Path) -> list[Sample]:
    return load_samples(TASKS["cv_bench"], tables)


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def right(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [{"index": sample.index, "prediction": sample.target} for sample in samples]


def collect(task: Task, samples: list[Sample], paths: Sequence[Path], **fields: Any) -> Import:
    return collect_all(find_sources(paths, [task]).by_task[task.name], samples, Fields(**fields))


def take(task: str, samples: list[Sample], *paths: Path, **fields: Any) -> dict[str, str | None]:
    """The texts that were taken over, by sample."""
    found = collect(TASKS[task], samples, list(paths), **fields).predictions
    return {index: prediction.text for index, prediction in found.items()}


def targets(samples: Sequence[Sample]) -> dict[str, str]:
    return {sample.index: sample.target for sample in samples}


# Formats.


def kit_frame(samples: Sequence[Sample]) -> pandas.DataFrame:
    """What VLMEvalKit stores: the table's columns without pictures, and `prediction`."""
    return pandas.DataFrame(
        {
            "index": [int(sample.index) for sample in samples],
            "question": [sample.question for sample in samples],
            "answer": [sample.target for sample in samples],
            "prediction": [sample.target for sample in samples],
        }
    )


ODD = ["=1", "None", "N/A", "nan", "", " A\nbecause", "7", "=SUM(A1)", "Ja, 是", "007"]


@pytest.mark.parametrize("suffix", ["xlsx", "tsv", "csv"])
def test_tables_lose_nothing(tmp_path: Path, choices: list[Sample], suffix: str) -> None:
    frame = kit_frame(choices)
    frame.loc[: len(ODD) - 1, "prediction"] = ODD
    path = tmp_path / f"model_RealWorldQA.{suffix}"
    if suffix == "xlsx":
        frame.to_excel(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    texts = take("real_world_qa", choices, path)
    assert list(texts.values())[: len(ODD)] == ODD
    assert list(texts.values())[len(ODD) :] == [sample.target for sample in choices[len(ODD) :]]


def test_lmms_eval_samples(tmp_path: Path, tables: Path) -> None:
    samples = load_samples(TASKS["mmbench"], tables)
    rows = [
        {
            "doc_id": position,
            "doc": {"index": int(sample.index), "question": sample.question},
            "target": sample.target,
            "arguments": [sample.question],
            "resps": [[sample.target]] if position % 2 else [[[sample.target]]],
            "filtered_resps": ["cut"],
            "gpt_eval_score": {"index": 1},
        }
        for position, sample in enumerate(samples)
    ]
    rows[3]["resps"] = [["A", "B"]]
    rows[4]["resps"] = []
    path = write_lines(tmp_path / "20261122_samples_mmbench_en_dev.jsonl", rows)
    found = collect(TASKS["mmbench"], samples, [path]).predictions
    assert found[samples[3].index].error == "2 different responses, expected one"
    assert found[samples[4].index].error == "no response"
    assert [prediction.text for prediction in found.values()][5:] == [sample.target for sample in samples[5:]]


def aki_script(samples: Sequence[Sample]) -> list[dict[str, str]]:
    """The rows of cv_bench_results.csv, written by the script of AKI's authors: no index."""
    rows = []
    for sample in samples:
        options = "\n".join(f"{letter}. {text}" for letter, text in sample.choices.items())
        question = (
            f"Answer with the option's letter from the given choices directly. {sample.question}\nOptions:\n{options}\n"
        )
        cells = {"question": question, "path": "x.png", "answer": sample.target, "prediction": sample.target}
        rows.append({**cells, "source": sample.groups[0].upper(), "result": "1"})
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_aki_script_in_the_tables_order(tmp_path: Path, cv_bench: list[Sample]) -> None:
    path = write_csv(tmp_path / "cv_bench_results.csv", aki_script(cv_bench))
    found = collect(TASKS["cv_bench"], cv_bench, [path])
    assert found.files[str(path)]["matched_by"] == "position"
    assert {index: p.text for index, p in found.predictions.items()} == targets(cv_bench)


def test_aki_script_in_another_order_is_matched_where_the_text_is_unique(
    tmp_path: Path, cv_bench: list[Sample]
) -> None:
    rows = aki_script(cv_bench)
    path = write_csv(tmp_path / "cv_bench_results.csv", rows[::-1])
    found = collect(TASKS["cv_bench"], cv_bench, [path])
    summary = found.files[str(path)]
    texts = [row["question"] for row in rows]
    unique = {sample.index for sample, text in zip(cv_bench, texts, strict=True) if texts.count(text) == 1}
    assert summary["matched_by"] == "text"
    assert {index: p.text for index, p in found.predictions.items()} == {
        index: target for index, target in targets(cv_bench).items() if index in unique
    }
    assert 0 < found.num_missing == len(cv_bench) - len(unique) == summary["unknown"]["count"]


def test_two_files_for_two_tables(tmp_path: Path, cv_bench: list[Sample]) -> None:
    paths = []
    for table in ("CV-Bench-2D", "CV-Bench-3D"):
        own = [sample for sample in cv_bench if sample.index.startswith(table)]
        rows = [{"index": sample.index.split("/")[1], "prediction": sample.target} for sample in own]
        paths.append(write_lines(tmp_path / f"aki_{table}.jsonl", rows))
    assert take("cv_bench", cv_bench, *paths) == targets(cv_bench)
    with pytest.raises(UserError, match="is given twice"):
        take("cv_bench", cv_bench, paths[1], paths[1])
    with pytest.raises(UserError, match="have other indices"):  # a bare 0 could be of either table
        take("cv_bench", cv_bench, paths[0].rename(tmp_path / "aki.jsonl"))


def test_json_objects_and_lists(tmp_path: Path, choices: list[Sample]) -> None:
    for content in (targets(choices), right(choices)):
        (tmp_path / "answers.json").write_text(json.dumps(content))
        assert take("real_world_qa", choices, tmp_path / "answers.json") == targets(choices)


def test_named_fields(tmp_path: Path, choices: list[Sample]) -> None:
    rows = [{"meta": {"id": sample.index}, "said": sample.target, "prediction": "x"} for sample in choices]
    path = write_lines(tmp_path / "answers.jsonl", rows)
    assert take("real_world_qa", choices, path, index="meta.id", prediction="said") == targets(choices)
    with pytest.raises(UserError, match=r"has no field 'meta\.index'"):
        take("real_world_qa", choices, path, index="meta.index")


def test_index_in_another_column_of_the_table(tmp_path: Path, tables: Path) -> None:
    samples = load_samples(TASKS["mme"], tables)[::2]  # one question a picture: image_path tells them apart
    rows = [{"doc_id": 0, "doc": {"question_id": s.row["image_path"]}, "resps": [[s.target]]} for s in samples]
    path = write_lines(tmp_path / "samples_mme.jsonl", rows)
    fields = {"index": "doc.question_id", "table_column": "image_path"}
    assert take("mme", samples, path, **fields) == targets(samples)
    with pytest.raises(UserError, match=r"--table-column answer: 252 questions have only \d values?"):
        take("mme", samples, path, index="doc.question_id", table_column="answer")
    with pytest.raises(UserError, match="column 'no_such' is missing"):
        take("mme", samples, path, index="doc.question_id", table_column="no_such")


# What does not fit.


def test_missing_unknown_and_repeated(
    tmp_path: Path, choices: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = right(choices)
    rows = [*rows[2:], rows[5], {**rows[6], "prediction": "other"}, {"index": "no such", "prediction": "A"}]
    found = collect(TASKS["real_world_qa"], choices, [write_lines(tmp_path / "a.jsonl", rows)])
    summary = found.files[str(tmp_path / "a.jsonl")]
    assert summary["missing"] == {"count": 2, "examples": [choices[0].index, choices[1].index]}
    assert summary["unknown"] == {"count": 1, "examples": [f"no such (line {len(rows)})"]}
    assert summary["num_repeated"] == 1
    assert summary["conflicting"]["count"] == 1
    conflicting = found.predictions[choices[6].index]
    assert (conflicting.text, found.num_missing) == (None, 2)
    assert "2 different predictions" in (conflicting.error or "")
    printed = capsys.readouterr().err
    assert "2 questions have no prediction" in printed
    assert "1 predictions answer no question" in printed


def test_another_question_under_the_same_index(tmp_path: Path, choices: list[Sample]) -> None:
    rows: list[dict[str, Any]] = right(choices)
    rows[0]["question"] = "what is the capital of France?"
    rows[1]["question"] = choices[1].question.upper() + "  "
    found = collect(TASKS["real_world_qa"], choices, [write_lines(tmp_path / "a.jsonl", rows)])
    assert found.files[str(tmp_path / "a.jsonl")]["disagreeing"]["count"] == 1
    assert choices[0].index not in found.predictions
    assert choices[1].index in found.predictions
    for row in rows:
        row["question"] = "of another table"
    with pytest.raises(UserError, match="quote other questions"):
        take("real_world_qa", choices, write_lines(tmp_path / "b.jsonl", rows))


def test_a_benchmark_may_have_one_wording_only(tmp_path: Path, choices: list[Sample]) -> None:
    ours = TASKS["real_world_qa"]
    task = replace(ours, prompts={"aki": ours.prompts["aki"]})
    rows = [{"index": sample.index, "question": sample.question, "prediction": "A"} for sample in choices]
    assert len(collect(task, choices, [write_lines(tmp_path / "a.jsonl", rows)]).predictions) == len(choices)


def test_failures_are_no_answers(tmp_path: Path, choices: list[Sample]) -> None:
    texts = [
        "Failed to obtain answer via API.",
        "Failed to obtain answer: <class 'RuntimeError'> CUDA error: no kernel image",
        None,
        "Failed, I think",
    ]
    rows = [{"index": s.index, "prediction": text} for s, text in zip(choices, texts, strict=False)]
    rows.append({"index": choices[4].index, "prediction": None, "error": "out of memory"})
    found = collect(TASKS["real_world_qa"], choices, [write_lines(tmp_path / "a.jsonl", rows)]).predictions
    assert [found[sample.index].text for sample in choices[:5]] == [None, None, None, "Failed, I think", None]
    assert found[choices[4].index].error == "out of memory"


def test_cut_off_cell(tmp_path: Path, choices: list[Sample]) -> None:
    frame = kit_frame(choices)
    frame.loc[0, "prediction"] = "x" * 32_767
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    found = collect(TASKS["real_world_qa"], choices, [tmp_path / "a.xlsx"]).predictions
    assert "cut off" in (found[choices[0].index].error or "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "holds no predictions"),
        ("a.jsonl", '{"index": 1, "prediction": "A"}\n{"index"\n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 holds a list"),
        ("a.json", '["A"]', "entry 1 is a str"),
        ("a.csv", "index,prediction\n1,A,B\n", "number of cells differs"),
        ("a.csv", "index,prediction\n1\n", "number of cells differs"),
        ("a.csv", "index,answer\n1,A\n", "no field for predictions"),
        ("a.csv", "index,prediction,response\n1,A,B\n", "prediction and response for predictions"),
        ("a.xlsx", "no spreadsheet", "is not a spreadsheet, or not a whole one"),
        ("a.pkl", "x", "predictions are read from .xlsx"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_records(tmp_path / name)


def test_nothing_to_go_by(tmp_path: Path, choices: list[Sample]) -> None:
    rows = [{"prediction": "A"} for _ in choices]
    with pytest.raises(UserError, match="no prediction matches a question: there is no index"):
        take("real_world_qa", choices, write_lines(tmp_path / "a.jsonl", rows))
    with pytest.raises(UserError, match="no file of predictions"):
        take("real_world_qa", choices, tmp_path / "missing.jsonl")


# The command.


@pytest.fixture
def run_import(tmp_path: Path) -> Callable[..., int]:
    def run(task: str, *paths: Path, **options: Any) -> int:
        defaults = {"out": tmp_path / "run", "data": "toy", "name": "elsewhere"}
        return command(bench=task, predictions=list(paths), **{**defaults, **options})

    return run


def test_imported_answers_are_scored_like_our_own(
    tmp_path: Path, tables: Path, choices: list[Sample], run_import: Callable[..., int]
) -> None:
    rows = right(choices)
    rows[0]["prediction"] = "nonsense"
    assert run_import("real_world_qa", write_lines(tmp_path / "a.jsonl", rows)) == 0
    open_answers = load_samples(TASKS["mm_vet"], tables)
    assert run_import("mm_vet", write_lines(tmp_path / "b.jsonl", right(open_answers))) == 0
    run = open_run(tmp_path / "run")
    overall = run.results["real_world_qa"].protocols["kit"]["overall"]
    assert overall.value == pytest.approx(100 * (1 - 1 / len(choices)))
    assert run.results["mm_vet"].judge == {**(run.results["mm_vet"].judge or {}), "comparable": False}
    assert run.made_by["tasks"]["real_world_qa"]["imported"][str(tmp_path / "a.jsonl")]["matched_by"] == "index"
    assert run.results["real_world_qa"].prompts == "unknown"


def test_partial_import_exits_with_1(tmp_path: Path, choices: list[Sample], run_import: Callable[..., int]) -> None:
    path = write_lines(tmp_path / "a.jsonl", right(choices)[1:])
    assert run_import("real_world_qa", path) == 1
    assert run_import("real_world_qa", path, allow_partial=True, out=tmp_path / "other") == 0
    metric = open_run(tmp_path / "run").results["real_world_qa"].protocols["kit"]["overall"]
    assert (metric.num_samples, metric.num_unscored, metric.value) == (len(choices), 1, 100.0)


def test_run_folder_is_of_one_model(tmp_path: Path, choices: list[Sample], run_import: Callable[..., int]) -> None:
    path = write_lines(tmp_path / "a.jsonl", right(choices))
    run_import("real_world_qa", path)
    before = (tmp_path / "run/real_world_qa/predictions.jsonl").read_bytes()
    run_import("real_world_qa", path)  # the same once more changes nothing
    assert (tmp_path / "run/real_world_qa/predictions.jsonl").read_bytes() == before
    other = write_lines(tmp_path / "b.jsonl", right(choices)[::-1])
    with pytest.raises(UserError, match="holds other predictions for real_world_qa already"):
        run_import("real_world_qa", other)
    with pytest.raises(UserError, match=r"its model is 'elsewhere'.* say --name elsewhere, else"):
        run_import("real_world_qa", path, name="someone else")
    assert run_import("real_world_qa", other, name="someone else", fresh=True) == 0
    assert (tmp_path / "run/real_world_qa/predictions.jsonl").read_bytes() != before
    with pytest.raises(UserError, match="one at a time"):
        run_import("real_world_qa,pope", path)
