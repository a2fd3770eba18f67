"""Other tools' own files, in small: each is taken over as it is, or refused with what is wrong with it."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from aki_eval.commands.import_ import command
from aki_eval.imports import files
from aki_eval.imports.collect import Fields, Import
from aki_eval.imports.collect import collect as collect_all
from aki_eval.imports.readers import read_records
from aki_eval.imports.sources import find_sources
from aki_eval.run.inputs import find_tasks
from benchmarks.data.load import load_samples
from benchmarks.errors import UserError
from benchmarks.records import Sample
from benchmarks.results.store import RunStore
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables


def asked(task: str) -> list[Sample]:
    return load_samples(TASKS[task], ensure_tables())


def collect(task: str, *paths: Path, **fields: Any) -> Import:
    source = find_sources(list(paths), [TASKS[task]]).by_task[task]
    return collect_all(source, asked(task), Fields(**fields))


def texts(found: Import) -> dict[str, str | None]:
    return {index: prediction.text for index, prediction in found.predictions.items()}


def said(sample: Sample) -> str:
    """An answer that tells the sample."""
    return f"I say {sample.index}"


def everything(task: str) -> dict[str, str]:
    return {sample.index: said(sample) for sample in asked(task)}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


# Benchmarks' own files.


def test_mathvista_s_scored_file_gives_the_response_and_not_what_was_extracted(tmp_path: Path) -> None:
    records = {
        sample.index: {
            "pid": sample.index,
            "question": "another wording",
            "query": sample.question,
            "answer": sample.row["answer"],
            "choices": list(sample.choices.values()) or None,
            "metadata": {"task": "t", "skills": ["s"]},
            "response": said(sample),
            "extraction": "7",
            "prediction": "7",
            "true_false": False,
        }
        for sample in asked("mathvista")
    }
    for record in records.values():
        record["question"] = record["query"]
    found = collect("mathvista", write(tmp_path / "output_model.json", records))
    assert texts(found) == everything("mathvista")


def test_mmmu_s_thirty_files_of_one_name_and_its_file_of_all(tmp_path: Path) -> None:
    folder = tmp_path / "llava"
    for subject in {sample.row["category"] for sample in asked("mmmu")}:
        own = [sample for sample in asked("mmmu") if sample.row["category"] == subject]
        rows = [{"id": s.row["id"], "all_choices": ["A"], "answer": s.target, "response": said(s)} for s in own]
        write(folder / subject / "output.json", rows)
        write(folder / subject / "parsed_output.json", [{**row, "parsed_pred": "A"} for row in rows])
    found = collect("mmmu", folder)
    assert texts(found) == everything("mmmu")
    assert len(found.files) == len(list(folder.glob("*/output.json")))
    assert all(file["num_matched"] == file["num_records"] > 0 for file in found.files.values())
    whole = write(tmp_path / "total.json", {sample.row["id"]: said(sample) for sample in asked("mmmu")})
    assert texts(collect("mmmu", whole)) == everything("mmmu")


def test_mme_s_folder_of_text_files(tmp_path: Path) -> None:
    for sample in asked("mme"):
        subtask, picture = sample.row["image_path"].split("/")
        with (tmp_path / f"{subtask}.txt").open("a") as file:
            file.write(f"{picture}\t{sample.question}\t{sample.target}\t{said(sample)}\n")
    found = collect("mme", tmp_path)
    assert texts(found) == everything("mme")
    with (tmp_path / "OCR.txt").open("a") as file:
        file.write("second line of an answer\n")
    with pytest.raises(UserError, match=r"OCR\.txt line \d+ has 1 cells, expected picture, question"):
        collect("mme", tmp_path)


def llava(
    samples: list[Sample], instruction: str = "\nAnswer the question using a single word or phrase."
) -> list[Any]:
    """LLaVA's answer file: ids that count on their own."""
    return [
        {
            "question_id": number,
            "prompt": sample.question.removesuffix(" Please answer yes or no.") + instruction,
            "text": said(sample),
            "answer_id": "x",
            "model_id": "llava",
            "metadata": {},
        }
        for number, sample in enumerate(samples)
    ]


def test_ids_of_another_numbering_are_set_aside_and_the_question_file_says_which_picture(tmp_path: Path) -> None:
    samples = asked("pope")[::-1]
    path = lines(tmp_path / "answers.jsonl", llava(samples))
    questions = lines(
        tmp_path / "llava_pope_test.jsonl",
        [
            {"question_id": number, "image": sample.row["image_path"], "text": row["prompt"], "category": "random"}
            for number, (sample, row) in enumerate(zip(samples, llava(samples), strict=True))
        ],
    )
    with pytest.raises(UserError, match="--questions names the benchmark's own question file"):
        collect("pope", path)  # no question of the toy world is asked about one picture only
    found = collect("pope", path, questions=questions)
    assert texts(found) == everything("pope")
    assert found.files[str(path)]["matched_by"] == "picture and text"


def test_an_id_that_occurs_twice_is_told_apart_by_the_text(tmp_path: Path) -> None:
    """LLaVA's MME answers: the picture is the id of both of its questions."""
    rows = [
        {**row, "question_id": s.row["image_path"]} for s, row in zip(asked("mme"), llava(asked("mme")), strict=True)
    ]
    found = collect("mme", lines(tmp_path / "a.jsonl", rows))
    assert texts(found) == everything("mme")


def test_mm_vet_s_results(tmp_path: Path) -> None:
    path = write(tmp_path / "m.json", {f"v1_{sample.index}": said(sample) for sample in asked("mm_vet")})
    assert texts(collect("mm_vet", path)) == everything("mm_vet")


# Harnesses.


def kit_folder(root: Path, model: str, *tasks: str, run: str | None = None) -> Path:
    """VLMEvalKit's output: predictions, and the scores that it writes beside; with `run` the newer layout of links."""
    folder = root / model
    place = folder / run if run else folder
    place.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        for table in (table.name for table in TASKS[task].tables):
            own = [s for s in asked(task) if len(TASKS[task].tables) == 1 or s.index.startswith(table)]
            frame = pandas.DataFrame(
                {"index": [s.index.rpartition("/")[2] for s in own], "question": [s.question for s in own]}
            )
            file = place / f"{model}_{table}.xlsx"
            frame.assign(prediction=[said(s) for s in own]).to_excel(file, index=False)
            frame.to_csv(place / f"{model}_{table}_score.csv")
            frame.assign(prediction="judged").to_excel(place / f"{model}_{table}_gpt-4_result.xlsx", index=False)
            if run:
                (folder / file.name).unlink(missing_ok=True)
                os.symlink(Path(run) / file.name, folder / file.name)
    return folder


@pytest.mark.parametrize("run", [None, "T20260301_G0a1b2c3d"])
def test_a_whole_folder_of_vlmevalkit(tmp_path: Path, run: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    if run:
        kit_folder(tmp_path, "toy-7b", "real_world_qa", run="T20250101_G00000000")
    folder = kit_folder(tmp_path, "toy-7b", "real_world_qa", "cv_bench", "pope", run=run)
    (folder / "01_MMVet.pkl").write_bytes(b"never opened")
    assert command(paths=[folder], out=tmp_path / "run", data="toy", allow_partial=True) == 0
    stored = RunStore(tmp_path / "run")
    record = stored.read_run()
    assert record is not None
    assert record.model.name == "toy-7b"
    assert set(record.tasks) == {"real_world_qa", "cv_bench", "pope"}
    for task in record.tasks:
        assert {index: found.text for index, found in stored.predictions(task).items()} == everything(task)
    printed = capsys.readouterr().err
    assert "01_MMVet.pkl is an unfinished run" in printed
    assert ("1 older ones are not" in printed) == bool(run)


def test_a_copied_folder_without_its_links_and_a_folder_of_models(tmp_path: Path) -> None:
    folder = kit_folder(tmp_path / "outputs", "toy-7b", "real_world_qa", run="T20260301_G0a1b2c3d")
    (folder / "toy-7b_RealWorldQA.xlsx").unlink()
    found = find_sources([folder], None)
    assert list(found.by_task) == ["real_world_qa"]
    assert found.models == {"toy-7b"}
    kit_folder(tmp_path / "outputs", "other", "real_world_qa")
    with pytest.raises(UserError, match=r"holds folders of models \(other.*name one of them"):
        find_sources([tmp_path / "outputs"], None)
    with pytest.raises(UserError, match="holds no predictions that its files' names tell"):
        find_sources([tmp_path], None)


def test_one_benchmark_that_fails_does_not_take_the_others_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = kit_folder(tmp_path, "toy-7b", "real_world_qa", "pope")
    (folder / "toy-7b_POPE.xlsx").write_bytes(b"damaged")
    assert command(paths=[folder], out=tmp_path / "run", data="toy", allow_partial=True) == 1
    record = RunStore(tmp_path / "run").read_run()
    assert record is not None
    assert set(record.tasks) == {"real_world_qa"}
    assert "pope is not imported" in capsys.readouterr().err


def test_lmms_eval_s_name_says_the_benchmark(tmp_path: Path) -> None:
    rows = [
        {"doc_id": number, "doc": {"question_id": "x", "question": s.question, "image_path": s.row["image_path"]},
         "target": s.target, "resps": [[said(s)]], "filtered_resps": ["cut"]}
        for number, s in enumerate(asked("pope"))
    ]  # fmt: skip
    path = lines(tmp_path / "20260301_101010_samples_pope.jsonl", rows)
    source = find_sources([path], None).by_task["pope"]
    assert texts(collect_all(source, asked("pope"), Fields())) == everything("pope")


def lmms_sample(number: int, sample: Sample, metrics: dict[str, Any], prompt: str) -> dict[str, Any]:
    """As lmms-eval 0.7.3 writes it: `doc` is never there, `resps` only where a filter changed them."""
    changed = {"resps": [f"<think>hm</think>{said(sample)}"]} if number % 3 == 0 else {}
    return {
        **{
            "doc_id": number,
            "target": sample.target,
            **changed,
            "filtered_resps": said(sample),
            "token_counts": [None],
        },
        **{"doc_hash": "0" * 64, **metrics, "input": prompt},
    }


def test_lmms_eval_s_samples_without_the_question_s_record(tmp_path: Path) -> None:
    suffix = "\nAnswer the question using a single word or phrase."
    rows = []
    for number, sample in enumerate(asked("mme")):
        told = {"question_id": sample.row["image_path"], "category": sample.row["category"], "score": 1.0}
        rows.append(lmms_sample(number, sample, {"mme_perception_score": told}, sample.question + suffix))
    path = lines(tmp_path / "20260301_101010_samples_mme.jsonl", rows[::-1])
    found = collect_all(find_sources([path], None).by_task["mme"], asked("mme"), Fields())
    assert [text.removeprefix("<think>hm</think>") for text in texts(found).values() if text] == [
        *everything("mme").values()
    ][::-1]
    assert sum(str(text).startswith("<think>") for text in texts(found).values()) == (len(rows) + 2) // 3
    rows = [
        lmms_sample(number, sample, {"gpt_eval_score": {"question_id": f"v1_{sample.index}"}}, sample.question)
        for number, sample in enumerate(asked("mm_vet"))
    ]
    path = lines(tmp_path / "20260301_101010_samples_mmvet.jsonl", rows)
    found = collect_all(find_sources([path], None).by_task["mm_vet"], asked("mm_vet"), Fields())
    assert {index: str(text).removeprefix("<think>hm</think>") for index, text in texts(found).items()} == everything(
        "mm_vet"
    )


def inspect_sample(sample: Sample) -> dict[str, Any]:
    content = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": said(sample)}]
    asking = [{"type": "image", "image": "x"}, {"type": "text", "text": sample.question}]
    return {
        "id": int(sample.index),
        "epoch": 1,
        "input": [{"role": "user", "content": asking}],
        "choices": list(sample.choices.values()),
        "target": sample.target,
        "output": {"model": "m", "choices": [{"message": {"role": "assistant", "content": content}}]},
        "scores": {"choice": {"value": "C"}},
    }


def test_inspect_logs(tmp_path: Path) -> None:
    samples = [inspect_sample(sample) for sample in asked("real_world_qa")]
    samples[1] |= {"output": {"model": "m", "choices": []}, "error": {"message": "time out", "traceback": "..."}}
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({"version": 2, "status": "success"}))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    log = write(tmp_path / "log.json", {"version": 2, "status": "success", "eval": {}, "samples": samples})
    for path in (tmp_path / "log.eval", log):
        found = collect("real_world_qa", path)
        index = asked("real_world_qa")[1].index
        assert found.predictions[index].error == "time out"
        assert texts(found) == everything("real_world_qa") | {index: None}


def test_an_inspect_log_of_several_epochs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        for sample in map(inspect_sample, asked("real_world_qa")):
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
            again = sample | {"epoch": 2, "output": {"choices": [{"message": {"content": "B"}}]}}
            archive.writestr(f"samples/{sample['id']}_epoch_2.json", json.dumps(again))
    first = collect("real_world_qa", tmp_path / "log.eval")
    assert texts(first) == everything("real_world_qa")
    assert "of its 2 epochs the first is read; --epoch names another" in capsys.readouterr().err
    second = collect("real_world_qa", tmp_path / "log.eval", epoch=2)
    assert set(texts(second).values()) == {"B"}
    assert "epochs" not in capsys.readouterr().err
    with pytest.raises(UserError, match="has no epoch 3; it has 1, 2"):
        collect("real_world_qa", tmp_path / "log.eval", epoch=3)


# Tables and text as they come.


def test_any_sheet_of_a_spreadsheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pandas.ExcelWriter(tmp_path / "a.xlsx") as book:
        for name, answer in (("greedy", "A"), ("sampled", "B")):
            pandas.DataFrame({"index": [1], "prediction": [answer]}).to_excel(book, sheet_name=name, index=False)
    assert [record.text for record in read_records(tmp_path / "a.xlsx")] == ["A"]
    assert "of its sheets 'greedy', 'sampled' the first is read; --sheet names another" in capsys.readouterr().err
    assert [record.text for record in read_records(tmp_path / "a.xlsx", sheet="sampled")] == ["B"]
    with pytest.raises(UserError, match="has no sheet 'best'; it has 'greedy', 'sampled'"):
        read_records(tmp_path / "a.xlsx", sheet="best")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_of_any_office(tmp_path: Path, encoding: str, mark: str) -> None:
    frame = pandas.DataFrame({"index": [1, 2], "Modell ä": ['a; "b", c\td', "e\nf"], "error": ["None", "nan"]})
    frame.to_csv(tmp_path / "a.csv", index=False, sep=mark, encoding=encoding)
    found = read_records(tmp_path / "a.csv", prediction_field="Modell ä")
    assert [record.text for record in found] == ['a; "b", c\td', "e\nf"]
    assert [record.ids["index"] for record in found] == ["1", "2"]


def test_any_column_of_a_spreadsheet_and_blank_rows(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"index": [1, None, 2], "model A": ["x", None, None], "model B": ["y", None, "z"]})
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    assert [record.text for record in read_records(tmp_path / "a.xlsx", prediction_field="model A")] == ["x", ""]
    with pytest.raises(
        UserError, match=r"no field for predictions.*--prediction-field \(it has index, model A, model B\)"
    ):
        read_records(tmp_path / "a.xlsx")
    frame.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "a.csv").write_text("index,prediction,prediction\n1,a,b\n")
    with pytest.raises(UserError, match="two columns 'prediction'"):
        read_records(tmp_path / "a.csv")


def test_packed_lines(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write('\ufeff{"index": 1, "prediction": "A"}\n')
    (record,) = read_records(tmp_path / "a.jsonl.gz")
    assert (record.text, record.ids) == ("A", {"index": "1"})


def test_json_lines_and_json_lists_by_what_they_hold_and_not_by_their_name(tmp_path: Path) -> None:
    rows = [{"index": 1, "prediction": "A"}, {"index": 2, "prediction": "B"}]
    for path in (lines(tmp_path / "a.json", rows), write(tmp_path / "a.jsonl", rows)):
        assert [record.text for record in read_records(path)] == ["A", "B"]


def test_ids_that_pandas_made_floats(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "index,prediction\n1.0,A\n2.0,1.0\n")
    assert [(each.ids, each.text) for each in read_records(tmp_path / "a.csv")] == [
        ({"index": "1"}, "A"),
        ({"index": "2"}, "1.0"),
    ]
    write(tmp_path / "b.csv", "index,prediction\n1.0,A\n1.1,B\n")  # not numbers of rows
    assert [each.ids["index"] for each in read_records(tmp_path / "b.csv")] == ["1.0", "1.1"]


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a Git LFS pointer, not the file itself"):
        read_records(write(tmp_path / "a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"answer": 1, "text": "A"}, r"prediction holds an object \(answer, text\).*such as prediction\.text"),
        (["A", "B"], "prediction holds a list of 2"),
        ([{"a": 1}], "prediction holds a list of 1"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_records(lines(tmp_path / "a.jsonl", [{"index": 1, "prediction": value}]))


SCALARS = [
    *[(True, "true"), (7, "7"), (7.0, "7"), (0.1, "0.1"), (["B"], "B"), (float("nan"), None), (float("inf"), None)],
    *[([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"), (10**310, str(10**310))],
]


@pytest.mark.parametrize(("value", "text"), SCALARS)
def test_scalars(tmp_path: Path, value: Any, text: str | None) -> None:
    (record,) = read_records(lines(tmp_path / "a.jsonl", [{"index": 1, "prediction": value}]))
    assert record.text == text
    assert (record.error is None) == (text is not None)


def test_a_field_inside(tmp_path: Path) -> None:
    row = {"index": 1, "response": {"choices": [{"message": {"content": "A"}}]}}
    path = lines(tmp_path / "a.jsonl", [row])
    (record,) = read_records(path, prediction_field="response.choices.0.message.content")
    assert record.text == "A"


def test_two_models_files_are_not_mixed(tmp_path: Path) -> None:
    rows = [{"index": sample.index, "prediction": "A"} for sample in asked("real_world_qa")]
    first = lines(tmp_path / "a.jsonl", rows)
    second = lines(tmp_path / "b.jsonl", [{**row, "prediction": "B"} for row in rows])
    with pytest.raises(UserError, match="they are not one model's"):
        collect("real_world_qa", first, second)
    again = lines(tmp_path / "c.jsonl", rows[:5])
    assert collect("real_world_qa", first, again).files[str(again)]["num_repeated"] == 5


# What is dangerous.


def bomb_xlsx(path: Path) -> None:
    pandas.DataFrame({"index": [1], "prediction": ["x"]}).to_excel(path, index=False)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/more.xml", b"\0" * 3_000_000)


def bomb_gz(path: Path) -> None:
    with gzip.open(path, "wb") as file:
        file.write(b" " * 3_000_000)


@pytest.mark.parametrize(("name", "make"), [("a.xlsx", bomb_xlsx), ("a.jsonl.gz", bomb_gz), ("a.eval", bomb_xlsx)])
def test_bombs(tmp_path: Path, name: str, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST", 2_000_000)
    make(tmp_path / "made.xlsx")
    (tmp_path / "made.xlsx").rename(tmp_path / name)
    with pytest.raises(UserError, match=r"unpacks to .*it is not read"):
        read_records(tmp_path / name)


def test_nested_too_deep(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nested too deep"):
        read_records(write(tmp_path / "a.json", "[" * 100_000))


# Names.


@pytest.mark.parametrize(
    ("names", "tasks"),
    [
        ("POPE", ["pope"]),
        ("MMBench_DEV_EN,MMMU_DEV_VAL", ["mmbench", "mmmu"]),
        ("CV-Bench-2D", ["cv_bench"]),
        ("realworldqa, MMVet", ["mm_vet", "real_world_qa"]),
        ("SEEDBench_IMG,LLaVABench,MathVista_MINI,MME", ["mme", "seed_image", "llava_bench", "mathvista"]),
    ],
)
def test_vlmevalkit_s_names_are_names(names: str, tasks: list[str]) -> None:
    assert [task.name for task in find_tasks(names)] == tasks
