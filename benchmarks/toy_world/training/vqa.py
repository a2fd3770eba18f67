"""Short answers: VQAv2, GQA, VSR and OCR-VQA, each in its own published annotation format."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..draw import Drawer
from ..questions import Question, check_question
from ..scene import Scene
from ..skills import SKILLS, YES_NO
from .files import Picture, write_json, write_json_lines
from .questions import questions

VQA_CONFIDENCE = ("yes", "yes", "yes", "yes", "yes", "yes", "yes", "maybe", "maybe", "no")
SUFFIX = " Please answer yes or no."
SUFFIX_SHARE = 0.5
VSR_SKILLS = ("relation", "depth", "position")
Asking = Callable[[Drawer, Scene, int], Iterator[Question]]
"""So many questions about a scene."""


def write_vqav2(
    root: Path, pictures: Sequence[Picture], drawer: Drawer, per_image: int, ask: Asking = questions
) -> None:
    """v2_OpenEnded_mscoco_train2014_questions.json and v2_mscoco_train2014_annotations.json (visualqa.org).

    Half of the yes/no questions end as MME's and POPE's do, so that a model knows the phrase.
    """
    asked, answered = [], []
    for picture in pictures:
        for number, question in enumerate(ask(drawer, picture.scene, per_image)):
            ids = {"image_id": picture.number, "question_id": picture.number * 1000 + number}
            asked.append({**ids, "question": _with_suffix(question, drawer.rng)})
            answered.append({**ids, **_vqa_annotation(question)})
    header = {
        "info": {"description": "toy world", "version": "2.0", "year": 2017},
        "license": {"name": "none", "url": ""},
        "data_type": "mscoco",
        "data_subtype": "train2014",
    }
    write_json(
        root / "v2_OpenEnded_mscoco_train2014_questions.json", {**header, "task_type": "Open-Ended", "questions": asked}
    )
    write_json(root / "v2_mscoco_train2014_annotations.json", {**header, "annotations": answered})


def write_gqa(root: Path, pictures: Sequence[Picture], drawer: Drawer, per_image: int) -> None:
    """train_balanced_questions.json: a mapping of question ids (cs.stanford.edu/people/dorarad/gqa)."""
    rows: dict[str, Any] = {}
    for picture in pictures:
        for number, question in enumerate(questions(drawer, picture.scene, per_image)):
            key = f"{picture.number:06d}{number:02d}"
            rows[key] = {
                "semantic": [{"operation": "query", "dependencies": [], "argument": question.skill}],
                "entailed": [],
                "equivalent": [key],
                "question": question.text,
                "imageId": str(picture.number),
                "isBalanced": True,
                "groups": {"global": question.skill, "local": question.skill},
                "answer": question.answer,
                "semanticStr": question.skill,
                "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
                "types": {"detailed": question.skill, "semantic": "attr", "structural": "query"},
                "fullAnswer": question.statement,
            }
    write_json(root / "train_balanced_questions.json", rows)


def write_vsr(root: Path, pictures: Sequence[Picture], drawer: Drawer) -> None:
    """train.jsonl: true and false statements on where things are (github.com/cambridgeltl/visual-spatial-reasoning)."""
    rows = []
    for picture in pictures:
        skill = drawer.rng.choice(VSR_SKILLS)
        ask = SKILLS[skill](picture.scene, drawer.rng)
        want = drawer.rng.choice(YES_NO)
        question = ask and check_question(ask, picture.scene, want, drawer.rng)
        if not question:
            continue
        name = f"{picture.number:012d}.jpg"
        rows.append(
            {
                "image": name,
                "image_link": f"http://images.cocodataset.org/train2017/{name}",
                "caption": _as_caption(question),
                "label": int(want == "yes"),
                "relation": skill,
                "annotator_id": 0,
                "vote_true_validator_id": [1, 2] if want == "yes" else [],
                "vote_false_validator_id": [] if want == "yes" else [1, 2],
            }
        )
    write_json_lines(root / "train.jsonl", rows)


def write_ocrvqa(root: Path, pictures: Sequence[Picture], drawer: Drawer) -> None:
    """dataset.json: a mapping of book ids to lists of questions and answers; split 1 trains (ocr-vqa.github.io)."""
    rows = {}
    for picture in pictures:
        skills = ("number", "number_word", "number")
        drawn = [drawer.draw(skill, "open", scene=picture.scene).question for skill in skills[:2]]
        check = drawer.try_draw("number", "check", picture.scene, drawer.rng.choice(YES_NO))
        asked = drawn + ([check.question] if check else [])
        rows[f"{picture.number:010d}"] = {
            "imageURL": f"http://ecx.images-amazon.com/images/I/{picture.number:010d}.jpg",
            "questions": [question.text for question in asked],
            "answers": [question.answer for question in asked],
            "title": "toy world",
            "authorName": "toy world",
            "genre": "toy world",
            "split": 2 if picture.number % 5 == 4 else 1,
        }
    write_json(root / "dataset.json", rows)


def _vqa_annotation(question: Question) -> dict[str, Any]:
    return {
        "question_type": " ".join(question.text.split()[:2]),
        "multiple_choice_answer": question.answer,
        "answers": [
            {"answer": question.answer, "answer_confidence": confidence, "answer_id": number}
            for number, confidence in enumerate(VQA_CONFIDENCE, 1)
        ],
        "answer_type": _answer_type(question.answer),
    }


def _answer_type(answer: str) -> str:
    if answer in YES_NO:
        return "yes/no"
    return "number" if answer.isdigit() else "other"


def _with_suffix(question: Question, rng: random.Random) -> str:
    return question.text + SUFFIX if question.answer in YES_NO and rng.random() < SUFFIX_SHARE else question.text


def _as_caption(question: Question) -> str:
    """The statement that a yes/no question asks about, as VSR writes it: "The red square is above the blue circle."."""
    words = question.text.removesuffix("?").split()
    verb, subject, rest = words[0], words[1:4], words[4:]
    return " ".join([subject[0].capitalize(), *subject[1:], verb, *rest]) + "."
