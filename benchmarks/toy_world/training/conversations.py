"""LLaVA-Instruct-150k: conversations in whole sentences, and what a benchmark's own prompt text asks for.

The original holds conversation, detailed description and reasoning. Here a part of the turns is phrased as VLMEvalKit,
MathVista and CV-Bench phrase their questions, so that a toy model can be evaluated with either prompt style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..draw import Drawer
from ..questions import LETTERS, Question
from ..scene import Scene
from ..tables.math_vista import answer_type_of, half_question, query
from ..tables.open_answers import describe_question, reason_question
from .files import Picture, write_json
from .questions import questions

Turn = tuple[str, str]
KIT_SUFFIX = "Please select the correct answer from the options above. \n"


def write_llava(
    root: Path,
    pictures: Sequence[Picture],
    drawer: Drawer,
    per_image: int,
    turn: Callable[[Drawer, Scene], Turn] | None = None,
) -> None:
    """llava_instruct_150k.json: alternating turns, `<image>` once, before or after the first (Liu et al. 2023)."""
    rows = [
        {
            "id": f"{picture.number:012d}",
            "image": f"{picture.number:012d}.jpg",
            "conversations": _conversation([(turn or _turn)(drawer, picture.scene) for _ in range(per_image)], drawer),
        }
        for picture in pictures
    ]
    write_json(root / "llava_instruct_150k.json", rows)


def _conversation(turns: Sequence[Turn], drawer: Drawer) -> list[dict[str, str]]:
    first = "<image>\n{}" if drawer.rng.random() < 0.5 else "{}\n<image>"
    messages = []
    for number, (question, answer) in enumerate(turns):
        messages.append({"from": "human", "value": first.format(question) if number == 0 else question})
        messages.append({"from": "gpt", "value": answer})
    return messages


def _turn(drawer: Drawer, scene: Scene) -> Turn:
    make = drawer.rng.choices(list(TURNS), list(TURNS.values()))[0]
    return make(drawer, scene)


def sentence(drawer: Drawer, scene: Scene) -> Turn:
    question = next(questions(drawer, scene, 1, "open"))
    return question.text, question.statement


def detail(drawer: Drawer, scene: Scene) -> Turn:
    question = describe_question(scene)
    return question.text, question.answer


def reason(drawer: Drawer, scene: Scene) -> Turn:
    question = reason_question(drawer, scene)
    return (question.text, question.statement) if question else sentence(drawer, scene)


def _yes_no(drawer: Drawer, scene: Scene) -> Turn:
    question = next(questions(drawer, scene, 1, "check"))
    return f"{question.text} Please answer yes or no.", question.answer


def _kit_choice(drawer: Drawer, scene: Scene) -> Turn:
    """VLMEvalKit's text for multiple choice."""
    question = next(questions(drawer, scene, 1, "choice"))
    return f"Question: {question.text}\nOptions:\n{in_lines(question, '{}. {}')}\n{KIT_SUFFIX}", question.letter


def _cv_bench(drawer: Drawer, scene: Scene) -> Turn:
    question = next(questions(drawer, scene, 1, "choice"))
    return f"{question.text} Select from the following choices.\n{in_lines(question, '({}) {}')}", question.letter


def _math(drawer: Drawer, scene: Scene) -> Turn:
    """MathVista's hint, question and choices."""
    if scene.digit and drawer.rng.random() < 0.3:
        question = half_question(scene)
        return query(question, "float"), question.answer
    form = drawer.rng.choice(("open", "choice"))
    question = next(questions(drawer, scene, 1, "open" if form == "open" else "choice"))
    return query(question, answer_type_of(question.skill)), question.letter if question.choices else question.answer


def in_lines(question: Question, pattern: str) -> str:
    return "\n".join(pattern.format(letter, text) for letter, text in zip(LETTERS, question.choices, strict=False))


TURNS: dict[Callable[[Drawer, Scene], Turn], int] = {
    sentence: 4,
    detail: 1,
    reason: 1,
    _yes_no: 1,
    _kit_choice: 1,
    _cv_bench: 1,
    _math: 1,
}
"""What a turn is, and how often."""
