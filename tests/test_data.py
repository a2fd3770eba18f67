"""Reading tables: every cell is text, nothing runs, and what is wrong with a table is named."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.data import load as loading
from benchmarks.data import tsv
from benchmarks.data.load import checksum, load_samples
from benchmarks.errors import UserError
from benchmarks.records import Sample
from benchmarks.tasks import TASKS
from benchmarks.toy_world import ensure_tables


def picture(color: tuple[int, int, int], size: int = 16) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), color).save(file, format="PNG")
    return file.getvalue()


RED, BLUE = (base64.b64encode(picture(color)).decode() for color in ((255, 0, 0), (0, 0, 255)))


def write(folder: Path, name: str, rows: list[dict[str, str]]) -> Path:
    path = folder / f"{name}.tsv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def question(index: str, **cells: str) -> dict[str, str]:
    return {"index": index, "image": RED, "question": "What?", "A": "x", "B": "y", "answer": "A", **cells}


def load(folder: Path, *rows: dict[str, str], task: str = "real_world_qa", table: str = "RealWorldQA") -> list[Sample]:
    write(folder, table, list(rows))
    return load_samples(TASKS[task], folder)


def test_words_that_pandas_takes_for_missing_stay_text(tmp_path: Path) -> None:
    options = {"A": "None", "B": "N/A", "C": "nan", "D": "=1", "E": "null", "F": "NA"}
    (sample,) = load(tmp_path, question("0", **options))
    assert sample.choices == options
    assert "A. None\nB. N/A\nC. nan\nD. =1\nE. null\nF. NA\n" in TASKS["real_world_qa"].prompts["aki"](sample).text


def test_empty_cells_are_absent(tmp_path: Path) -> None:
    (sample,) = load(tmp_path, question("0", C="", hint=""))
    assert set(sample.choices) == {"A", "B"}
    assert "C" not in sample.row
    assert "hint" not in sample.row
    with pytest.raises(UserError, match="row 0: column 'C' is empty"):
        sample.row["C"]


def test_text_keeps_tabs_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = 'She said "no",\n\tthen\u2028left — 图\r\nend '
    (sample,) = load(tmp_path, question("0", question=text))
    assert sample.question == text


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_text_survives(tmp_path: Path, text: str, option: str) -> None:
    (sample,) = load(tmp_path, question("0", question=text, B=option))
    assert (sample.question, sample.choices["B"]) == (text, option)


def test_a_picture_may_be_borrowed_and_equal_pictures_have_equal_keys(tmp_path: Path) -> None:
    first, second, third, fourth = load(
        tmp_path, question("7"), question("8", image="7"), question("9", image=BLUE), question("10")
    )
    assert first.images == second.images == fourth.images
    assert first.images != third.images
    assert third.images[0].decode().getpixel((0, 0)) == (0, 0, 255)
    assert first.cluster == second.cluster != third.cluster


def test_a_list_of_pictures(tmp_path: Path) -> None:
    cells = {
        "category": "Art",
        "l2-category": "Art & Design",
        "split": "validation",
        "question": "<image 2> or <image 1>?",
    }
    (sample,) = load(tmp_path, question("v1", image=repr([RED, BLUE]), **cells), task="mmmu", table="MMMU_DEV_VAL")
    assert [image.decode().getpixel((0, 0)) for image in sample.images] == [(255, 0, 0), (0, 0, 255)]
    prompt = TASKS["mmmu"].prompts["aki"](sample)
    assert [image.decode().getpixel((0, 0)) for image in prompt.images] == [(0, 0, 255), (255, 0, 0)]


def test_cells_are_never_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    code = f"[__import__('pathlib').Path({str(victim)!r}).write_text('x')]"
    cells = {"question_type": "multi_choice", "answer_type": "text", "answer_option": "A", "task": "t"}
    for column in ("choices", "skills"):
        row = question("0", choices="['a', 'b']", skills="['s']", **cells) | {column: code}
        with pytest.raises(UserError, match=f"row 0: column {column} is not a list literal"):
            load(tmp_path, row, task="mathvista", table="MathVista_MINI")
    with pytest.raises(UserError, match="row 0: column image is not a list literal"):
        load(tmp_path, question("0", image=code))
    assert not victim.exists()


def test_numbers_are_also_kept_as_the_kit_shows_them(tmp_path: Path) -> None:
    """pandas reads a column of numbers with a gap as floats: VLMEvalKit asks about 4.0, and so does its prompt here."""
    first, second = load(tmp_path, question("0", C="4", D="1"), question("1", C="", D="2"))
    assert first.choices["C"] == "4"
    assert "C. 4\n" in TASKS["real_world_qa"].prompts["aki"](first).text
    assert "C. 4.0\nD. 1\n" in TASKS["real_world_qa"].prompts["vlmevalkit"](first).text
    assert "C" not in second.choices


def test_tasks_of_two_tables_have_the_tables_name_in_the_index(tmp_path: Path) -> None:
    cells = {"prompt": "What? (A) x (B) y", "source": "COCO", "category": "Count"}
    write(tmp_path, "CV-Bench-2D", [question("0", **cells, split="2D")])
    write(tmp_path, "CV-Bench-3D", [question("0", **cells, split="3D")])
    assert [s.index for s in load_samples(TASKS["cv_bench"], tmp_path)] == ["CV-Bench-2D/0", "CV-Bench-3D/0"]


BROKEN = {
    "occurs twice": [question("3"), question("3")],
    "a row has no index": [question("")],
    "row 3: column image is empty": [question("3", image="")],
    "row 3: column image takes the picture of row '99'": [question("3", image="99")],
    "column 'answer' is missing; the table has": [{k: v for k, v in question("3").items() if k != "answer"}],
    "column 'image' is missing": [{k: v for k, v in question("3").items() if k != "image"}],
    "row 3: column 'question' is empty": [question("3", question="")],
}


@pytest.mark.parametrize("message", BROKEN)
def test_what_is_wrong_with_a_table_is_named(message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(tmp_path, *BROKEN[message])
    assert "RealWorldQA" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_damage_is_named_too(tmp_path: Path) -> None:
    task = TASKS["real_world_qa"]
    with pytest.raises(UserError, match="table RealWorldQA not found"):
        load_samples(task, tmp_path)
    path = write(tmp_path, "RealWorldQA", [question("0"), question("1")])
    whole = path.read_bytes()
    path.write_bytes(whole[:-12])
    with pytest.raises(UserError, match="line 3 has 3 cells, expected 6; cut off"):
        load_samples(task, tmp_path)
    path.write_bytes(whole.split(b"\n")[0] + b"\n")
    with pytest.raises(UserError, match="no rows"):
        load_samples(task, tmp_path)
    path.write_bytes(whole.replace(b"What?", b"\xff\xfe"))
    with pytest.raises(UserError, match="not a UTF-8 table"):
        load_samples(task, tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="column 'index' is missing"):
        load_samples(task, tmp_path)


def test_bad_labels_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="table POPE: row 0: the answer is 'yes', expected Yes or No"):
        load(tmp_path, question("0", answer="yes", category="random"), task="pope", table="POPE")
    with pytest.raises(UserError, match="category 'colour' is none of MME's"):
        load(tmp_path, question("0", answer="Yes", category="colour", image_path="a.jpg"), task="mme", table="MME")


def test_the_csv_limit_of_the_process_is_put_back(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    (sample,) = load(tmp_path, question("0", image=base64.b64encode(picture((1, 2, 3)) + bytes(300_000)).decode()))
    assert len(sample.images[0].read()) > 300_000
    assert csv.field_size_limit() == before


def test_checksum_names_file_and_rows(tmp_path: Path) -> None:
    load(tmp_path, question("0"), question("1"))
    first = checksum(TASKS["real_world_qa"], tmp_path)
    assert first["RealWorldQA"]["num_rows"] == 2
    assert len(first["RealWorldQA"]["sha256"]) == 64
    load(tmp_path, question("0"), question("1", A="changed"))
    assert checksum(TASKS["real_world_qa"], tmp_path) != first


def content(sample: Sample) -> tuple[Any, ...]:
    pictures = [image.read() for image in sample.images]
    return (
        sample.index,
        sample.question,
        sample.target,
        dict(sample.choices),
        sample.groups,
        pictures,
        dict(sample.row),
    )


@pytest.fixture(scope="module")
def toy() -> Path:
    return ensure_tables()


def test_large_tables_give_the_same_samples(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("benchmarks.data.arrow.READS_A_MAP", 7)
    for name in ("mmbench", "mmmu"):  # borrowed pictures; several pictures
        small = load_samples(TASKS[name], toy)
        monkeypatch.setattr(loading, "LARGE", 0)
        for _ in range(2):  # converting, then the converted file
            large = load_samples(TASKS[name], toy)
            assert [content(sample) for sample in large] == [content(sample) for sample in small]
            assert [sample.images for sample in large] == [sample.images for sample in small]
        monkeypatch.undo()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "aki" / "tables"
    assert len(list(folder.glob("*.arrow"))) == 2


def test_a_broken_large_table_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "LARGE", 0)
    with pytest.raises(UserError, match="index 0 occurs twice"):
        load(tmp_path, question("0"), question("1"), question("0"))
    assert {path.suffix for path in (tmp_path / "aki" / "tables").iterdir()} <= {".lock"}


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(loading, "LARGE", 0)
    with pytest.raises(UserError, match=r"cannot be converted into .*; set XDG_CACHE_HOME"):
        load(tmp_path, question("0"))


def test_the_hubs_layout_gives_the_same_cv_bench(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet with the fields of nyu-visionx/CV-Bench, made from the toy tables."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    task = TASKS["cv_bench"]
    expected = load_samples(task, toy)
    for table, stem in (("CV-Bench-2D", "test_2d"), ("CV-Bench-3D", "test_3d")):
        own = [sample for sample in expected if sample.index.startswith(table)]
        write_parquet(own, tmp_path / f"{stem}.parquet", kind=table[-2:])
    found = load_samples(task, tmp_path)
    for ours, theirs in zip(found, expected, strict=True):
        assert content(ours)[:6] == content(theirs)[:6]
        assert ours.images == theirs.images
        for style in ("aki", "vlmevalkit"):
            assert task.prompts[style](ours).parts == task.prompts[style](theirs).parts
    assert checksum(task, tmp_path)["CV-Bench-3D"]["num_rows"] == sum(
        s.index.startswith("CV-Bench-3D") for s in expected
    )


def write_parquet(samples: list[Sample], path: Path, kind: str) -> None:
    from datasets import Dataset

    Dataset.from_list(
        [
            {
                "idx": int(sample.index.split("/")[1]),
                "type": kind,
                "task": sample.groups[1].capitalize(),
                "image": {"bytes": sample.images[0].read(), "path": None},
                "question": sample.question,
                "choices": list(sample.choices.values()),
                "answer": f"({sample.target})",
                "prompt": sample.row["prompt"],
                "filename": f"img/{sample.index}.png",
                "source": {"ade20k": "ADE20K", "coco": "COCO", "omni3d": "Omni3D"}[sample.groups[0]],
            }
            for sample in samples
        ]
    ).to_parquet(str(path))


def test_a_parquet_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for stem in ("test_2d", "test_3d"):
        Dataset.from_list([{"idx": 0, "question": "?"}]).to_parquet(str(tmp_path / f"{stem}.parquet"))
    with pytest.raises(UserError, match="field 'type' is missing"):
        load_samples(TASKS["cv_bench"], tmp_path)


@pytest.mark.parametrize(
    ("task", "column", "cell"),
    [
        ("mme", "answer", "yes"),
        ("mme", "category", "smell"),
        ("mmbench", "answer", ""),
        ("mmbench", "answer", "Z"),
        ("real_world_qa", "answer", "Z"),
        ("cv_bench", "answer", "(Z)"),
        ("seed_image", "answer", "b"),
        ("mmmu", "split", "train"),
        ("mathvista", "skills", "['open"),
        ("llava_bench", "category", "song"),
        ("pope", "category", ""),
        ("cv_bench", "source", ""),
    ],
)
def test_a_row_that_makes_no_sense_is_unscored_and_no_other(task: str, column: str, cell: str, tmp_path: Path) -> None:
    import csv

    from benchmarks.records import Prediction
    from benchmarks.scoring import score_task
    from benchmarks.toy_world import ensure_tables

    table = TASKS[task].tables[0].name
    for source in ensure_tables().glob("*.tsv"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    with (tmp_path / f"{table}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    rows[1][column] = cell
    with (tmp_path / f"{table}.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    samples = load_samples(TASKS[task], tmp_path)
    assert [number for number, sample in enumerate(samples) if sample.fault] == [1]
    given = {sample.index: Prediction(index=sample.index, prompt="", text="A") for sample in samples}
    for scores in score_task(TASKS[task], samples, given, None).values():
        assert [score.index for score in scores] == [sample.index for sample in samples]
        assert scores[1].value is None
        assert (scores[1].reason or "").startswith(f"bad_row: table {table}: row {rows[1]['index']}")
        if not TASKS[task].judged:
            partners = sum(score.reason == "incomplete_group" for score in scores)
            assert sum(score.value is None for score in scores) == 1 + partners
            assert partners <= 3


def test_a_table_is_read_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"index": "1", "image": RED, "question": "What color?", "A": "red", "B": "blue", "answer": "A"}
    path = write(tmp_path, "RealWorldQA", [row])
    reads: list[Path] = []
    whole = tsv._whole
    monkeypatch.setattr(tsv, "_whole", lambda path: reads.append(path) or whole(path))  # type: ignore[func-returns-value]
    first = [load_samples(TASKS["real_world_qa"], tmp_path) for _ in range(3)]
    assert (len(reads), [samples[0].target for samples in first]) == (1, ["A"] * 3)
    write(tmp_path, "RealWorldQA", [row | {"answer": "B", "question": "What color is it?"}])
    assert load_samples(TASKS["real_world_qa"], tmp_path)[0].target == "B"
    monkeypatch.setattr(tsv, "KEPT", 10)
    load_samples(TASKS["real_world_qa"], tmp_path)
    assert reads == [path] * 3, "large tables are not kept"
