"""What the laboratory's models are taught and asked: scenes apart by construction, words for options, equal shares."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import toy_world
from benchmarks.records import ImageRef, Sample
from benchmarks.toy_world import scenes
from benchmarks.toy_world.priors import priors
from benchmarks.toy_world.render import jpeg
from benchmarks.toy_world.scene import PARTS
from benchmarks.toy_world.skills import SKILLS
from benchmarks.toy_world.skills_task import TASK, read
from benchmarks.toy_world.tables.rows import Entry
from benchmarks.toy_world.tables.skills import QUESTIONS_PER_SKILL, SKILLS_TABLE, skills
from train.data import templates

NUM_IMAGES = 60


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("laboratory")
    toy_world.write_laboratory_data(root, num_images=NUM_IMAGES, num_captions=20, seed=1, shard_size=10)
    return root


def turns(root: Path) -> list[tuple[str, str]]:
    found = []
    for row in json.loads((root / "llava/llava_instruct_150k.json").read_text()):
        texts = [message["value"].replace("<image>", "").strip() for message in row["conversations"]]
        found += list(zip(texts[::2], texts[1::2], strict=True))
    return found


def test_what_is_taught_is_never_asked(taught: Path) -> None:
    """Chosen on `eval`, reported on `test`: neither is among the pictures, whatever the seed."""
    assert PARTS["fit"].isdisjoint(PARTS["eval"] | PARTS["test"])
    assert PARTS["eval"].isdisjoint(PARTS["test"])
    drawn = list(scenes("laboratory 1", NUM_IMAGES, "fit"))
    assert {path.read_bytes() for path in taught.glob("coco/*/*.jpg")} == {jpeg(scene) for scene in drawn}
    assert not any(scene.belongs_to("eval") or scene.belongs_to("test") for scene in drawn)


@pytest.mark.parametrize("split", ["eval", "test"])
def test_tables_are_about_their_split(split: toy_world.Split) -> None:
    asked = [entry.scene for entry in skills(split)]
    asked += [entry.scene for table in ("POPE", "CV-Bench-3D") for entry in toy_world.TABLES[table](split)]
    assert all(scene.belongs_to(split) and not scene.belongs_to("fit") for scene in asked)


def test_options_are_named_by_their_words(taught: Path) -> None:
    lettered = re.compile(r"^\(?([A-F])[.)] (.+)$", re.MULTILINE)
    choices = [(dict(lettered.findall(question)), answer) for question, answer in turns(taught) if "\n" in question]
    assert len(choices) > NUM_IMAGES
    assert all(answer in options.values() and answer not in options for options, answer in choices)


def test_skills_are_taught_in_equal_shares(taught: Path) -> None:
    """As far as the scenes offer them: one in three has a number, few have three things for a distance."""
    asked = json.loads((taught / "vqav2/v2_OpenEnded_mscoco_train2014_questions.json").read_text())["questions"]
    starts = Counter(" ".join(question["question"].split()[:2]) for question in asked)
    assert starts["how many"] < 2 * starts["what shape"]


def test_every_skill_has_as_many_questions_and_no_answer_pays() -> None:
    entries = list(skills("eval"))
    assert Counter(entry.row["skill"] for entry in entries) == dict.fromkeys(SKILLS, QUESTIONS_PER_SKILL)
    found = priors([SKILLS_TABLE])
    assert {name.removeprefix("skill/") for name in found if name.startswith("skill/")} == set(SKILLS)
    assert all(prior.majority <= 0.52 for name, prior in found.items())


def as_sample(entry: Entry) -> Sample:
    row = {name: cell for name, cell in entry.row.items() if name != "image"}
    return TASK.to_sample(SKILLS_TABLE, row, (ImageRef(key="picture", read=bytes),))


def test_questions_are_put_as_they_were_taught(taught: Path) -> None:
    """To the letter: what VQAv2's template says of an open question, and a turn's words for options."""
    *_, last = entries = list(skills("eval"))
    asked = [TASK.prompts["aki"](as_sample(entry)) for entry in (entries[0], last)]
    short, choice = ["".join(part for part in prompt.parts if isinstance(part, str)).strip() for prompt in asked]
    assert short == templates.SHORT_ANSWER.format(question=entries[0].row["question"])
    options = templates.options([last.row[letter] for letter in "ABCD"])
    assert choice == templates.CHOICE.format(question=last.row["question"], options=options).strip()
    assert any(question.startswith(choice.split(last.row["question"])[0]) for question, _ in turns(taught))


@pytest.mark.parametrize(
    ("text", "value", "answer"),
    [
        ("red", 1.0, "red"),
        ("Red.", 1.0, "red"),
        (" red \n", 1.0, "red"),
        ("red square", 0.0, "red square"),
        ("", 0.0, None),
    ],
)
def test_an_answer_is_its_words(text: str, value: float, answer: str | None) -> None:
    entry = next(entry for entry in skills("eval") if entry.question.answer == "red")
    assert read(as_sample(entry), text) == (value, answer)
