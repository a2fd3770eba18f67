"""MathVista (testmini): multiple choice and free form; integer, float, text and list answers.

The question is MathVista's `query`: a hint that says what kind of answer is wanted, the question, the choices. The
hints are shorter than the published ones, which would cost a small vocabulary thirty words.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from ..draw import Drawer, Drawn
from ..questions import Question
from ..scene import Scene, Split
from .rows import Entry, Row, encoded, options

TASKS = (
    "figure question answering",
    "geometry problem solving",
    "math word problem",
    "textbook question answering",
    "visual question answering",
)
MATH_SKILLS = (
    "algebraic reasoning",
    "arithmetic reasoning",
    "geometry reasoning",
    "logical reasoning",
    "numeric commonsense",
    "scientific reasoning",
    "statistical reasoning",
)
QUESTION_SKILLS = {  # our skill -> MathVista's task and skills
    "count": (TASKS[0], (MATH_SKILLS[6],)),
    "position": (TASKS[1], (MATH_SKILLS[2],)),
    "arithmetic": (TASKS[2], (MATH_SKILLS[1], MATH_SKILLS[0])),
    "depth": (TASKS[3], (MATH_SKILLS[5],)),
    "number": (TASKS[4], (MATH_SKILLS[4],)),
    "compare": (TASKS[0], (MATH_SKILLS[3], MATH_SKILLS[6])),
    "shape": (TASKS[1], (MATH_SKILLS[2], MATH_SKILLS[3])),
    "half": (TASKS[2], (MATH_SKILLS[1],)),
    "list": (TASKS[3], (MATH_SKILLS[0], MATH_SKILLS[4])),
}
NUM_QUESTIONS = 200
NUM_LISTS = 4  # VLMEvalKit counts list answers as wrong, always
HINTS = {
    "choice": "Please answer with the option letter.",
    "integer": "Please answer with an integer.",
    "float": "Please answer with a decimal.",
    "text": "Please answer with a word.",
    "list": "Please answer with a list.",
}


def math_vista(held_out: Split = "eval") -> Iterator[Entry]:
    drawer = Drawer("MathVista", held_out)
    skills = itertools.cycle(skill for skill in QUESTION_SKILLS if skill != "list")
    plan = [*itertools.islice(skills, NUM_QUESTIONS - NUM_LISTS), *["list"] * NUM_LISTS]
    for index, skill in enumerate(plan):
        multiple_choice = index % 3 == 0 and skill not in ("half", "list")
        scene, question = _draw(drawer, skill, multiple_choice)
        yield Entry({"index": str(index + 1), "image": encoded(scene), **_columns(skill, question)}, scene, question)


def query(question: Question, answer_type: str) -> str:
    """Hint, question and choices as one text."""
    kind = "choice" if question.choices else answer_type
    lines = [f"Hint: {HINTS[kind]}", f"Question: {question.text}"]
    if question.choices:
        lines += ["Choices:", *(f"({letter}) {text}" for letter, text in options(question.choices).items())]
    return "\n".join(lines)


def answer_type_of(skill: str) -> str:
    special = {"half": "float", "list": "list"}
    return special.get(skill, "integer" if skill in ("count", "arithmetic", "number") else "text")


def half_question(scene: Scene) -> Question:
    """Half of the number shown, with one decimal place."""
    return _number_question("half", "what is half of the number?", scene, lambda digit: str(digit / 2))


def list_question(scene: Scene) -> Question:
    text = "what are the number and the number plus 1?"
    return _number_question("list", text, scene, lambda digit: str([digit, digit + 1]))


def _number_question(skill: str, text: str, scene: Scene, read: Callable[[int], str]) -> Question:
    def rule(other: Scene) -> str | None:
        return None if other.digit is None else read(other.digit.value)

    answer = rule(scene)
    assert answer is not None, f"{text!r} makes no sense for {scene.content!r}"
    return Question(skill=skill, text=text, answer=answer, rule=rule)


def _draw(drawer: Drawer, skill: str, multiple_choice: bool) -> Drawn:
    if skill in ("half", "list"):
        scene = next(scene for scene in drawer.stream if scene.digit and scene.digit.value < 9)
        return Drawn(scene, half_question(scene) if skill == "half" else list_question(scene))
    return drawer.draw(skill, "choice" if multiple_choice else "open")


def _columns(skill: str, question: Question) -> Row:
    answer_type = answer_type_of(skill)
    task, skills = QUESTION_SKILLS[skill]
    choices = {"choices": str(list(question.choices)), "answer_option": question.letter} if question.choices else {}
    return {
        "question": query(question, answer_type),
        "answer": question.answer,
        "question_type": "multi_choice" if question.choices else "free_form",
        "answer_type": "text" if question.choices else answer_type,
        **({"precision": "1.0"} if answer_type == "float" else {}),
        **choices,
        "task": task,
        "skills": str(list(skills)),
        "category": "general-vqa" if task == TASKS[4] else "math-targeted-vqa",
        "context": "synthetic scene",
        "grade": "not applicable",
        "language": "english",
        "source": "toy world",
    }
