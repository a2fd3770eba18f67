"""The toy world: scenes and files are deterministic, evaluation is held out, answers are true, balanced and sayable."""

from __future__ import annotations

import ast
import csv
import hashlib
import itertools
import json
import random
import tarfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import toy_world
from benchmarks.toy_world.priors import Prior, priors, priors_table
from benchmarks.toy_world.questions import LETTERS, check_question, choice_question
from benchmarks.toy_world.render import BACKGROUND, RGB, WHITE, pixels, png
from benchmarks.toy_world.scene import CELL, Digit, Scene, Thing, scenes
from benchmarks.toy_world.skills import SKILLS
from benchmarks.toy_world.tables import ALL_TABLES, TABLES, default_root
from benchmarks.toy_world.tables.choice import CIRCULAR_STEP, LAST_OPTION, MMBENCH_ABILITIES
from benchmarks.toy_world.tables.mmmu import NUM_PICTURES, SUBJECTS
from benchmarks.toy_world.tables.rows import Entry

TINY = 120  # pictures of the training data that the tests write


@pytest.fixture(scope="module")
def entries() -> dict[str, list[Entry]]:
    return {name: list(table()) for name, table in TABLES.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy_data")
    toy_world.write_training_data(root, num_images=TINY, seed=3, shard_size=50)
    return root


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_world.ensure_tables(tmp_path_factory.mktemp("tables"))


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_scene_is_drawn_as_it_says() -> None:
    scene = Scene(
        (Thing("square", "red", "large", 0, 12, 12), Thing("circle", "blue", "small", 3, 36, 37)), Digit(1, 1, 36, 12)
    )
    canvas = pixels(scene)
    assert canvas.shape == (48, 48, 3)
    assert tuple(canvas[12, 12]) == RGB["red"]
    assert tuple(canvas[37, 36]) == RGB["blue"]
    assert (canvas[:CELL, CELL:] == WHITE).all(axis=-1).any()
    assert (canvas[CELL:, :CELL] == BACKGROUND).all()
    left, top, width, height = scene.things[0].box
    rows, columns = np.nonzero((canvas == RGB["red"]).all(axis=-1))
    assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (left, top, width, height)


@pytest.mark.parametrize("shape", toy_world.SHAPES)
@pytest.mark.parametrize("size", toy_world.SIZES)
def test_boxes_fit_what_is_drawn(shape: str, size: str) -> None:
    thing = Thing(shape, "green", size, 0, 12, 12)  # type: ignore[arg-type]
    rows, columns = np.nonzero((pixels(Scene((thing,))) == RGB["green"]).all(axis=-1))
    drawn = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert np.abs(np.subtract(drawn, thing.box)).max() <= 1


def test_things_never_leave_their_cell() -> None:
    for scene in scenes("cells", 500):
        for thing in scene.things:
            left, top, width, height = thing.box
            assert left // CELL == (left + width - 1) // CELL == thing.column
            assert top // CELL == (top + height - 1) // CELL == thing.row


def test_evaluation_scenes_are_disjoint_from_training_scenes() -> None:
    """By construction, whatever the seeds: the content of a scene decides to which split it belongs."""
    train = {scene.content for seed in range(3) for scene in scenes(seed, 3000, "train")}
    held_out = {scene.content for seed in range(3) for scene in scenes(seed, 500, "eval")}
    assert train.isdisjoint(held_out)
    assert {png(scene) for scene in scenes(0, 500, "eval")}.isdisjoint({png(scene) for scene in scenes(0, 3000)})


def test_tables_use_held_out_scenes_only(entries: dict[str, list[Entry]]) -> None:
    assert all(entry.scene.belongs_to("eval") for rows in entries.values() for entry in rows)


def test_training_uses_training_scenes_only(data: Path) -> None:
    """Pictures on disk, found again among the training scenes' own."""
    from benchmarks.toy_world.training import _pictures

    assert all(picture.scene.belongs_to("train") for pool in _pictures(TINY, 3).values() for picture in pool)


def test_two_runs_write_the_same_bytes(data: Path, tables: Path, tmp_path: Path) -> None:
    toy_world.write_training_data(tmp_path / "again", num_images=TINY, seed=3, shard_size=50)
    assert digests(tmp_path / "again") == digests(data)
    toy_world.write_training_data(tmp_path / "other", num_images=TINY, seed=4, shard_size=50)
    assert digests(tmp_path / "other") != digests(data)
    assert digests(toy_world.ensure_tables(tmp_path / "tables")) == digests(tables)
    assert sorted(digests(tables)) == sorted(f"{name}.tsv" for name in ALL_TABLES)


def test_tables_are_written_once(tables: Path) -> None:
    kept, removed = tables / "POPE.tsv", tables / "MME.tsv"
    before = kept.stat().st_mtime_ns
    removed.unlink()
    toy_world.ensure_tables(tables)
    assert kept.stat().st_mtime_ns == before
    assert removed.exists()


def test_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "aki" / "toy_world" / toy_world.VERSION


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_images is 10"):
        toy_world.write_training_data(tmp_path, num_images=10)


# --- what the questions claim


@pytest.mark.parametrize("skill", SKILLS)
def test_yes_and_no_are_true(skill: str) -> None:
    rng = random.Random(0)
    seen = Counter[str]()
    for scene in scenes(skill, 300):
        ask = SKILLS[skill](scene, rng)
        for want in ("yes", "no"):
            question = ask and check_question(ask, scene, want, rng)
            if question:
                seen[want] += 1
                assert question.rule(scene) == want == question.answer
                assert question.text.endswith("?")
    assert min(seen["yes"], seen["no"]) > 20


@pytest.mark.parametrize("skill", SKILLS)
def test_exactly_one_option_is_right(skill: str) -> None:
    rng = random.Random(0)
    for scene, position in zip(scenes(skill, 200), itertools.cycle(range(4))):
        ask = SKILLS[skill](scene, rng)
        if ask:
            question = choice_question(ask, scene, rng, 4, position)
            assert len(set(question.choices)) == len(question.choices) >= 2
            assert question.choices.index(question.answer) == position % len(question.choices)
            assert question.rule(scene) == question.answer


def test_relations_by_hand() -> None:
    """left | right over one row, large | small: written out, not taken from the code under test."""
    scene = Scene(
        (Thing("square", "red", "large", 0, 12, 12), Thing("circle", "blue", "small", 1, 36, 12)), Digit(7, 2, 12, 36)
    )
    answers = defaultdict(set)
    for seed in range(60):
        rng = random.Random(seed)
        for skill in ("relation", "depth", "conditional", "position", "number", "number_word", "arithmetic", "size"):
            ask = SKILLS[skill](scene, rng)
            assert ask
            answers[ask.text].add(ask.rule(scene))
    assert answers["where is the red square from the blue circle?"] == {"left"}
    assert answers["where is the blue circle from the red square?"] == {"right"}
    assert answers["which is nearer, the red square or the blue circle?"] == {"red square"}
    assert answers["what color is the thing left of the blue circle?"] == {"red"}
    assert answers["where is the blue circle?"] == {"top right"}
    assert answers["what number is shown?"] == {"7"}
    assert answers["what is the number in words?"] == {"seven"}
    assert answers["what is the number minus 3?"] == {"4"}
    assert answers["is the red square small or large?"] == {"large"}


def test_distance_by_hand() -> None:
    first = (Thing("square", "red", "large", 0, 12, 12), Thing("circle", "blue", "small", 1, 36, 12))
    scene = Scene((*first, Thing("triangle", "green", "small", 3, 36, 36)))
    found = {}
    for seed in range(40):
        ask = SKILLS["distance"](scene, random.Random(seed))
        assert ask
        found[ask.text] = ask.rule(scene)
    assert found["which is closer to the red square, the blue circle or the green triangle?"] == "blue circle"


def test_all_words_are_in_the_vocabulary(entries: dict[str, list[Entry]], data: Path) -> None:
    known = set(toy_world.vocabulary())
    assert len(known) < 165
    texts = [entry.row.get(column, "") for rows in entries.values() for entry in rows for column in SAYABLE]
    texts += training_texts(data)
    unknown = {token for text in texts for token in toy_world.tokens(text)} - known
    assert unknown <= {"Yes", "No", "AND", "OR"}  # how tables write targets; nobody says them


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def training_texts(data: Path) -> list[str]:
    texts = [row["question"] for row in load(data / "vqav2/v2_OpenEnded_mscoco_train2014_questions.json")["questions"]]
    texts += [turn["value"] for row in load(data / "llava/llava_instruct_150k.json") for turn in row["conversations"]]
    texts += [row["question"] for row in load(data / "aokvqa/aokvqa_v1p0_train.json")]
    texts += [row["fullAnswer"] for row in load(data / "gqa/train_balanced_questions.json").values()]
    texts += [row["question"] + " " + row["hint"] for row in load(data / "scienceqa/problems.json").values()]
    texts += [json.loads(line)["caption"] for line in (data / "vsr/train.jsonl").read_text().splitlines()]
    for name in ("refcoco", "refcoco+", "refcocog"):
        texts += [row["caption"] for row in load(data / f"mdetr_annotations/finetune_{name}_train.json")["images"]]
    return texts + [text.decode() for text in shard_texts(data / "captions")]


def shard_texts(folder: Path) -> list[bytes]:
    texts = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = [member for member in archive if member.name.endswith(".txt")]
            texts += [content.read() for member in members if (content := archive.extractfile(member))]
    return texts


SAYABLE = ("question", "answer", "prompt", "hint", "caption", "gpt4_ans", *LETTERS)


# --- the tables


def test_evaluation_is_of_a_quick_size(entries: dict[str, list[Entry]]) -> None:
    assert 2500 <= sum(map(len, entries.values())) <= 3500


def test_indices_are_unique(entries: dict[str, list[Entry]]) -> None:
    for name, rows in entries.items():
        assert len({entry.row["index"] for entry in rows}) == len(rows), name


def test_mme_has_a_yes_and_a_no_for_each_picture(entries: dict[str, list[Entry]]) -> None:
    pairs = defaultdict(list)
    for entry in entries["MME"]:
        pairs[entry.row["category"], entry.row["image_path"]].append(entry.row["answer"])
    assert {tuple(answers) for answers in pairs.values()} == {("Yes", "No")}
    assert len({category for category, _ in pairs}) == 14


def test_pope_asks_many_questions_of_a_picture(entries: dict[str, list[Entry]]) -> None:
    counts = Counter[tuple[str, str]]()
    for entry in entries["POPE"]:
        for category in entry.row["category"].split(","):
            counts[category, entry.row["answer"]] += 1
    assert set(counts) == set(itertools.product(("adversarial", "popular", "random"), ("Yes", "No")))
    assert len(set(counts.values())) == 1  # in each category as many yes as no
    assert all(count >= 5 for count in Counter(entry.row["image_path"] for entry in entries["POPE"]).values())


def test_mmbench_rolls_its_options(entries: dict[str, list[Entry]]) -> None:
    rows = {int(entry.row["index"]): entry.row for entry in entries["MMBench_DEV_EN"]}
    leaves = {(row["l2-category"], row["category"]) for row in rows.values()}
    assert leaves == {(category, leaf) for category, each in MMBENCH_ABILITIES.items() for leaf in each}
    assert len(leaves) == 20
    for index, row in rows.items():
        base = rows[index % CIRCULAR_STEP]
        letters = [letter for letter in LETTERS if letter in base and base[letter] != LAST_OPTION]
        k = index // CIRCULAR_STEP
        assert [row[letters[(place + k) % len(letters)]] for place in range(len(letters))] == [
            base[letter] for letter in letters
        ]
        assert row.get("D") == base.get("D") or len(letters) == 4
        assert row[row["answer"]] == base[base["answer"]]
        assert (row["image"] == base["index"]) == (k > 0)
        own = {other for other in rows if other % CIRCULAR_STEP == index % CIRCULAR_STEP}
        assert own == {index % CIRCULAR_STEP + roll * CIRCULAR_STEP for roll in range(len(letters))}
    sizes = Counter(
        (sum(letter in row for letter in LETTERS), sum(other % CIRCULAR_STEP == index for other in rows))
        for index, row in rows.items()
        if index < CIRCULAR_STEP
    )
    assert set(sizes) >= {(2, 2), (4, 4), (4, 3)}  # options, rolls
    assert any(row["answer"] == "D" and row["D"] == LAST_OPTION for row in rows.values())


def test_seed_ids_are_not_unique(entries: dict[str, list[Entry]]) -> None:
    rows = defaultdict(list)
    for entry in entries["SEEDBench_IMG"]:
        rows[entry.row["question_id"]].append(entry.row["answer"])
    twice = [answers for answers in rows.values() if len(answers) > 1]
    assert len(twice) == 9
    assert any(len(set(answers)) == 2 for answers in twice)


def test_mmmu_has_all_its_kinds(entries: dict[str, list[Entry]]) -> None:
    rows = [entry.row for entry in entries["MMMU_DEV_VAL"]]
    assert {row["category"] for row in rows} == {subject for subjects in SUBJECTS.values() for subject in subjects}
    assert len(SUBJECTS) == 6
    for split in ("dev", "validation"):
        assert {row["category"] for row in rows if row["split"] == split} == {row["category"] for row in rows}
    several = [row for row in rows if row["image"].startswith("[")]
    assert all(len(ast.literal_eval(row["image"])) == len(ast.literal_eval(row["image_path"])) for row in several)
    assert {len(ast.literal_eval(row["image"])) for row in several} == {2, NUM_PICTURES}
    assert any("<image 2>" in row.get("B", "") for row in rows)
    assert any("<image 4>" in row.get("D", "") for row in rows)
    answers = [row["answer"] for row in rows if "A" not in row]
    assert any(answer not in LETTERS and not answer.startswith("[") for answer in answers)
    assert any(answer.startswith("[") and len(ast.literal_eval(answer)) == 2 for answer in answers)


def test_math_vista_has_all_answer_types(entries: dict[str, list[Entry]]) -> None:
    rows = [entry.row for entry in entries["MathVista_MINI"]]
    names = {row["task"] for row in rows} | {skill for row in rows for skill in ast.literal_eval(row["skills"])}
    assert len(names) == 12
    assert {row["question_type"] for row in rows} == {"multi_choice", "free_form"}
    assert {row["answer_type"] for row in rows} == {"text", "integer", "float", "list"}
    for row in rows:
        assert row["question"].startswith("Hint: ")
        if row["question_type"] == "multi_choice":
            assert ast.literal_eval(row["choices"])[LETTERS.index(row["answer_option"])] == row["answer"]


def test_judged_tables_have_all_their_groups(entries: dict[str, list[Entry]]) -> None:
    capabilities = Counter(one for entry in entries["MMVet"] for one in entry.row["category"].split(","))
    assert set(capabilities) == {"rec", "ocr", "know", "gen", "spat", "math"}
    answers = [entry.row["answer"] for entry in entries["MMVet"]]
    assert any("<AND>" in answer for answer in answers)
    assert any("<OR>" in answer for answer in answers)
    assert {entry.row["category"] for entry in entries["LLaVABench"]} == {"conv", "detail", "complex"}
    assert len({entry.row["image_path"] for entry in entries["LLaVABench"]}) == 24


def test_cv_bench_has_sources_and_tasks(entries: dict[str, list[Entry]]) -> None:
    groups = {
        (row["split"], row["source"], row["category"])
        for name in ("CV-Bench-2D", "CV-Bench-3D")
        for row in (entry.row for entry in entries[name])
    }
    assert groups == {
        ("2D", "ADE20K", "Count"), ("2D", "ADE20K", "Relation"), ("2D", "COCO", "Count"), ("2D", "COCO", "Relation"),
        ("3D", "Omni3D", "Depth"), ("3D", "Omni3D", "Distance"),
    }  # fmt: skip


def test_letters_are_balanced(entries: dict[str, list[Entry]]) -> None:
    for name in ("SEEDBench_IMG", "RealWorldQA", "CV-Bench-2D", "CV-Bench-3D"):
        by_size = defaultdict(Counter)
        for entry in entries[name]:
            by_size[len(entry.question.choices)][entry.row["answer"]] += 1
        for size, letters in by_size.items():
            expected = sum(letters.values()) / size
            assert max(letters.values()) <= expected + 4 * expected**0.5, (name, size, letters)


def test_tables_read_back_as_written(entries: dict[str, list[Entry]], tables: Path) -> None:
    for name, rows in entries.items():
        with (tables / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
            read = [{key: cell for key, cell in row.items() if cell} for row in csv.DictReader(file, delimiter="\t")]
        assert read == [{key: cell for key, cell in entry.row.items() if cell} for entry in rows], name


# --- the priors


@pytest.fixture(scope="module")
def all_priors() -> dict[str, Prior]:
    return priors()


def test_priors_leave_room_to_learn(all_priors: dict[str, Prior]) -> None:
    found = all_priors
    for skill in ("existence", "color", "count", "number", "shape", "position", "relation", "depth", "conditional"):
        assert 0.1 < found[f"skill/{skill}"].value < 0.72, skill
    assert found["table/MME"].majority == pytest.approx(0.5)
    assert found["table/POPE"].majority == pytest.approx(0.5)
    assert isinstance(found["table/CV-Bench-3D"], Prior)


def test_the_notes_quote_the_priors(all_priors: dict[str, Prior], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.toy_world.priors.priors", lambda: all_priors)  # computed once for both tests
    notes = Path(toy_world.__file__).with_name("toy_world.md").read_text(encoding="utf-8")
    assert priors_table() in notes


# --- the training data


def test_every_annotated_picture_is_there(data: Path) -> None:
    vqa = load(data / "vqav2/v2_mscoco_train2014_annotations.json")["annotations"]
    refcoco = load(data / "mdetr_annotations/finetune_refcocog_train.json")["images"]
    problems = load(data / "scienceqa/problems.json")
    paths = [f"coco/train2014/COCO_train2014_{row['image_id']:012d}.jpg" for row in vqa]
    paths += [f"coco/train2014/{row['file_name']}" for row in refcoco]
    paths += [f"coco/train2017/{row['image_id']:012d}.jpg" for row in load(data / "aokvqa/aokvqa_v1p0_train.json")]
    paths += [f"coco/train2017/{row['image']}" for row in load(data / "llava/llava_instruct_150k.json")]
    paths += [f"gqa/images/{row['imageId']}.jpg" for row in load(data / "gqa/train_balanced_questions.json").values()]
    paths += [f"ocrvqa/images/{key}.jpg" for key in load(data / "ocrvqa/dataset.json")]
    paths += [f"vg/{row['url'].split('rak248/')[1]}" for row in load(data / "vg/image_data.json")]
    paths += [f"scienceqa/images/{row['split']}/{key}/image.png" for key, row in problems.items() if row["image"]]
    assert [path for path in paths if not (data / path).is_file()] == []
    assert any(row["image"] is None for row in problems.values())


def test_ocr_shards_hold_level_one_second(data: Path) -> None:
    lists = [json.loads(text) for text in shard_texts(data / "ocr")]
    assert lists
    for captions in lists:
        assert captions[1]["granularity"] == 1
        assert captions[1]["text"].startswith("the number ")


def test_regions_name_what_is_in_the_box(data: Path) -> None:
    from PIL import Image

    content = load(data / "mdetr_annotations/finetune_refcoco_train.json")
    boxes = {row["image_id"]: row["bbox"] for row in content["annotations"]}
    for row in content["images"][:60]:
        color = next(word for word in row["caption"].split() if word in RGB)
        left, top, width, height = boxes[row["id"]]
        picture = Image.open(data / "coco/train2014" / row["file_name"])
        center = picture.getpixel((int(left + width // 2), int(top + height // 2)))
        assert np.abs(np.subtract(center, RGB[color])).max() < 25  # JPEG
