"""The eleven instruction sets: original annotation formats in, the strings, ids and labels of training out.

`data/instructions_golden.json` holds for each set a piece of annotation in its published format and what must become of
it. Its strings were written by hand after the templates, its ids by a tokenizer with Phi-3.5's layout (phi3_style.py).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from phi3_style import phi3_style_tokenizer

from benchmarks import toy_world
from benchmarks.errors import UserError
from model import AkiImageProcessor, AkiProcessor
from train.data.collate import IGNORED, Encoder
from train.data.instructions import SETS, TABLE_4, Example, InstructionData
from train.data.instructions.json_files import CHUNK, stream_list, stream_mapping
from train.data.instructions.vsr import as_original_question, as_question
from train.data.samples import Item

GOLDEN = json.loads((Path(__file__).parent / "data" / "instructions_golden.json").read_text(encoding="utf-8"))
LATENTS = 3
REGION_SETS = {"refcoco", "refcoco_plus", "refcocog", "visual_genome"}


@pytest.fixture(scope="module")
def toy_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    toy_world.write_training_data(root, num_images=120, num_captions=0)
    return root


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    processor = AkiProcessor(AkiImageProcessor(size=48), phi3_style_tokenizer(), num_latents=LATENTS)
    return Encoder(
        processor,
        image_token_id=processor.image_token_id,
        num_image_tokens=LATENTS,
        question_end_id=processor.question_end_token_id,
        max_length=512,
    )


def write_files(root: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = content if name.endswith(".jsonl") else [content]
        path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")


def example_of(case: dict[str, Any], root: Path) -> Example:
    write_files(root, case["files"])
    data = InstructionData(SETS[case["set"]], root, root / "cache")
    return data.example(case["index"], random.Random(case["seed"]))


def golden(name: str) -> dict[str, Any]:
    return next(case for case in GOLDEN if case["name"] == name)


def item_of(example: Example) -> Item:
    return Item(prompt=example.prompt, answer=example.answer, picture={} if example.image else None, source="test")


def test_every_set_has_a_golden_case() -> None:
    assert {case["set"] for case in GOLDEN} == set(SETS)
    assert len(TABLE_4) == 11


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden(case: dict[str, Any], encoder: Encoder, tmp_path: Path) -> None:
    example = example_of(case, tmp_path)
    assert example.image == case["image"]
    assert encoder.text(item_of(example)) == case["text"]
    encoded = encoder([item_of(example)])[0]
    assert encoded.input_ids == case["input_ids"]
    num_masked = len(case["input_ids"]) - len(case["learned_ids"])
    assert encoded.labels == [IGNORED] * num_masked + case["learned_ids"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_answer_and_end_of_text_are_what_is_learned(case: dict[str, Any], encoder: Encoder) -> None:
    answer = case["text"].split("<|assistant|>\n")[1]
    assert encoder.tokenizer.decode(case["learned_ids"]) == answer + "<|endoftext|>"
    assert case["input_ids"].count(encoder.image_token_id) == (LATENTS if case["image"] else 0)


def test_options_are_shuffled_and_the_letter_goes_along(tmp_path: Path) -> None:
    """The stored options stay as they are: the hundredth visit of a question is labelled as well as the first."""
    write_files(tmp_path, golden("A-OKVQA")["files"])
    data = InstructionData(SETS["aokvqa"], tmp_path, tmp_path / "cache")
    seen = set()
    for visit in range(100):
        example = data.example(0, random.Random(visit))
        lines = dict(line.split(". ", 1) for line in example.prompt.splitlines() if line[1:2] == ".")
        assert lines[example.answer] == "cab"
        seen.add(example.answer)
    assert seen == set("ABCD")
    assert data[0]["choices"] == ["skateboarder", "train", "delivery", "cab"]


@pytest.mark.parametrize(
    ("statement", "question", "original"),
    [
        ("The cat is on the left of the sofa.", "Is the cat on the left of the sofa?", None),
        ("The dish is next to the island.", "Is the dish next to the island?", "Is the d h next to the land?"),
        (
            "The bananas are in front of the person.",
            "Are the bananas in front of the person?",
            "Is the bananas are in front of the person?",
        ),
        (
            "The truck contains the cat.",
            "Is it true that the truck contains the cat?",
            "Is the truck contains the cat?",
        ),
        ("The TV is under the desk", "Is the TV under the desk?", "Is the tv under the desk"),
    ],
)
def test_vsr_questions(statement: str, question: str, original: str | None) -> None:
    assert as_question(statement) == question
    assert as_original_question(statement) == (original or question)


@pytest.mark.parametrize("name", SETS)
def test_toy_data_reads(name: str, toy_root: Path) -> None:
    """Every row: a picture that is there, an answer that can be said, a box inside the picture if any."""
    data = InstructionData(SETS[name], toy_root, toy_root / ".aki")
    known = {*toy_world.vocabulary(), "true", "it", "that"}
    assert len(data) > 0
    for index in range(len(data)):
        example = data.example(index, random.Random(index))
        assert example.image is None or (toy_root / example.image).is_file()
        assert example.answer
        assert set(toy_world.tokens(example.prompt + " " + example.answer)) <= known
        assert (example.box is not None) == (name in REGION_SETS)
        assert example.box is None or 0 <= min(example.box) < max(example.box) <= 1


def test_science_without_picture_has_none(toy_root: Path) -> None:
    data = InstructionData(SETS["scienceqa"], toy_root, toy_root / ".aki")
    images = [data.example(index, random.Random(0)).image for index in range(len(data))]
    assert None in images
    assert any(images)


def test_held_out_splits_are_left_out(toy_root: Path) -> None:
    books = json.loads((toy_root / "ocrvqa/dataset.json").read_text())
    num_train = sum(len(book["questions"]) for book in books.values() if book["split"] == 1)
    assert num_train < sum(len(book["questions"]) for book in books.values())
    assert len(InstructionData(SETS["ocrvqa"], toy_root, toy_root / ".aki")) == num_train


@pytest.mark.parametrize("name", [one.name for one in TABLE_4])
def test_missing_annotations_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        InstructionData(SETS[name], tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("name", [one.name for one in TABLE_4])
def test_annotations_of_another_format_are_named(name: str, tmp_path: Path) -> None:
    write_files(tmp_path, {path: [{"wrong": 1}] for path in SETS[name].annotations})
    with pytest.raises(UserError, match=SETS[name].annotations[0].replace("+", r"\+")):
        InstructionData(SETS[name], tmp_path, tmp_path / "cache")


def test_regions_that_teach_nothing_are_left_out(tmp_path: Path) -> None:
    case = golden("Visual Genome, a box over the edge")
    write_files(tmp_path, case["files"])
    assert len(case["files"]["vg/region_descriptions.json"][0]["regions"]) == 2  # one of them has no phrase
    assert len(InstructionData(SETS["visual_genome"], tmp_path, tmp_path / "cache")) == 1


def test_a_box_larger_than_any_number_costs_its_own_record(tmp_path: Path) -> None:
    case = golden("Visual Genome, a box over the edge")
    (record,) = case["files"]["vg/region_descriptions.json"]
    huge = {**record, "regions": [{**region, "x": 10**400} for region in record["regions"]]}
    write_files(tmp_path, {**case["files"], "vg/region_descriptions.json": [*[record] * 99, huge]})
    data = InstructionData(SETS["visual_genome"], tmp_path, tmp_path / "cache")
    assert len(data) == 99
    assert "OverflowError" in data.skipped[0].reason


def test_long_lists_are_read_in_pieces(tmp_path: Path) -> None:
    elements = [{"number": number, "text": '[{\\",' * (number % 50)} for number in range(12_000)]
    path = tmp_path / "list.json"
    path.write_text(json.dumps(elements, indent=1))
    assert path.stat().st_size > 2 * CHUNK
    assert list(stream_list(path)) == elements
    path.write_text(json.dumps(elements)[:-500])
    with pytest.raises(ValueError, match="ends early"):
        list(stream_list(path))
    path.write_text('{"a": 1}')
    with pytest.raises(ValueError, match="does not begin with a JSON list"):
        list(stream_list(path))


def test_long_mappings_are_read_in_pieces(tmp_path: Path) -> None:
    pairs = {f"id {number}": [number, {"text": '{[\\",: ' * (number % 50)}] for number in range(12_000)} | {
        "last": 12345
    }
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps(pairs, indent=1))
    assert path.stat().st_size > 2 * CHUNK
    assert list(stream_mapping(path)) == list(pairs.items())
    for damaged, message in (
        (json.dumps(pairs)[:-500], "ends early"),
        ("[1]", "does not begin with a JSON mapping by id"),
        ('{"a" 1}', "no value for 'a'"),
        ('{"a": 1, 2: 3}', "no value for 2"),
        ("", "does not begin"),
    ):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=message):
            list(stream_mapping(path))


@pytest.mark.parametrize("size", range(1, 24))
def test_a_value_may_lie_across_two_pieces(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mapping.json"
    path.write_text('{"a": 1234 , "bc": [5, 67], "d": {"e": -8.25}}\n')
    monkeypatch.setattr("train.data.instructions.json_files.CHUNK", size)
    assert dict(stream_mapping(path)) == {"a": 1234, "bc": [5, 67], "d": {"e": -8.25}}


def conversation(question: Any, answer: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "a", "image": "1.jpg", "conversations": turns}


BROKEN_RECORDS: list[Any] = [
    conversation(None, "x"),
    conversation("x", None),
    conversation(" ", "x"),
    conversation(3, "x"),
    conversation("x", {"text": "x"}),
    {"id": "c", "image": "1.jpg", "conversations": [{"from": "gpt", "value": "x"}]},
    {"id": "d", "image": "1.jpg"},
    None,
    "not a record",
]


def test_a_bad_record_is_left_out_and_named_and_costs_no_other(tmp_path: Path) -> None:
    good, bad = [conversation("Why?\n<image>", "Because.")] * 1000, BROKEN_RECORDS
    write_files(tmp_path, {"llava/llava_instruct_150k.json": good[:10] + bad + good[10:]})
    data = InstructionData(SETS["llava"], tmp_path, tmp_path / "cache")
    assert len(data) == 1000
    assert [skip.record for skip in data.skipped] == [f"record {10 + number}" for number in range(len(bad))]
    assert data.skipped[0].reason == "no question: None"
    again = InstructionData(SETS["llava"], tmp_path, tmp_path / "cache")  # from the index
    assert [skip.record for skip in again.skipped] == [skip.record for skip in data.skipped]


def test_a_file_of_mostly_bad_records_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"llava/llava_instruct_150k.json": BROKEN_RECORDS})
    with pytest.raises(UserError, match=r"no LLaVA-150k question in it \(record 0: no question: None\)"):
        InstructionData(SETS["llava"], tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.arrow"))


def test_a_field_of_another_type_costs_its_own_row(tmp_path: Path) -> None:
    questions = {str(n): {"imageId": "1", "question": "Why?", "answer": "so"} for n in range(300)}
    questions["7"] = {"imageId": "1", "question": "How many?", "answer": 3}
    write_files(tmp_path, {"gqa/train_balanced_questions.json": questions})
    data = InstructionData(SETS["gqa"], tmp_path, tmp_path / "cache")
    assert len(data) == 299
    assert "another type" in data.skipped[0].reason


def test_a_line_that_is_no_json_costs_its_own_row(tmp_path: Path) -> None:
    line = {"image_link": "http://images.cocodataset.org/train2017/1.jpg", "caption": "The cat is here.", "label": 1}
    write_files(tmp_path, {"vsr/train.jsonl": [line] * 200})
    path = tmp_path / "vsr" / "train.jsonl"
    path.write_bytes(path.read_bytes() + b'{"image_link": \n' + b"\xff\xfe\n")
    data = InstructionData(SETS["vsr"], tmp_path, tmp_path / "cache")
    assert (len(data), len(data.skipped)) == (200, 2)


@pytest.mark.parametrize(
    ("turn", "question"),
    [
        ("<image>\nWhat is it?", "What is it?"),
        ("What is it?\n<image>", "What is it?"),
        ("<image>What is it?", "What is it?"),
        ("What is it?<image>", "What is it?"),
        ("In <image> what is it?", "In what is it?"),
        ("Look:\n<image>\nWhat is it?", "Look: What is it?"),
        ("What is it?", "What is it?"),
        ("<image>\n<image>\nCompare.", "Compare."),
    ],
)
def test_the_placeholder_is_taken_out_wherever_it_stands(turn: str, question: str) -> None:
    from train.data.instructions.llava import without_placeholder

    assert without_placeholder(turn) == question


BUILD = """
import sys, time
from pathlib import Path
from train.data.instructions import SETS, InstructionData, base
write = base._write

def telling(*arguments):
    print("built", flush=True)
    write(*arguments)

base._write = telling
root = Path(sys.argv[1])
while not (root / "go").exists():
    time.sleep(0.001)
print(len(InstructionData(SETS["gqa"], root, root / ".aki")))
"""


def test_the_processes_of_a_machine_build_an_index_once(warm: Path, tmp_path: Path) -> None:
    question = {"imageId": "1", "question": "What is red?", "answer": "table"}
    write_files(tmp_path, {"gqa/train_balanced_questions.json": {str(number): question for number in range(9000)}})
    command = [warm / "python", "-c", BUILD, str(tmp_path)]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    starts = [subprocess.Popen(command, env=where, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    (tmp_path / "go").touch()
    said = [start.communicate(timeout=120)[0].split() for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert sorted(word for one in said for word in one) == ["9000", "9000", "9000", "built"]
