"""Multiple choice: MMBench (circular), SEED-Bench (image), RealWorldQA and CV-Bench."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from ..draw import Drawer
from ..questions import LETTERS, Question
from ..scene import Scene, Split
from .rows import Entry, choice_row, options

CIRCULAR_STEP = 1_000_000

MMBENCH_ABILITIES = {  # six categories, their twenty leaf abilities, and what stands in for each here
    "attribute_reasoning": {
        "function_reasoning": "size",
        "identity_reasoning": "identity",
        "physical_property_reasoning": "depth",
    },
    "coarse_perception": {
        "image_emotion": "count",
        "image_quality": "size",
        "image_scene": "existence",
        "image_style": "shape",
        "image_topic": "identity",
    },
    "finegrained_perception (cross-instance)": {
        "action_recognition": "conditional",
        "attribute_comparison": "depth",
        "spatial_relationship": "relation",
    },
    "finegrained_perception (instance-level)": {
        "attribute_recognition": "color",
        "celebrity_recognition": "shape",
        "object_localization": "position",
        "ocr": "number",
    },
    "logic_reasoning": {
        "future_prediction": "arithmetic",
        "structuralized_imagetext_understanding": "compare",
    },
    "relation_reasoning": {
        "nature_relation": "distance",
        "physical_relation": "relation",
        "social_relation": "conditional",
    },
}
MMBENCH_QUESTIONS = 7  # an ability
MMBENCH_HINT = "near things are large"
LAST_OPTION = "not A, B or C"
"""An option that names others by their letters stays last, whatever the roll ("none of these", "both A, B and C")."""

SEED_SKILLS = {
    "Instance Attributes": "color",
    "Instance Identity": "shape",
    "Instance Interaction": "conditional",
    "Instance Location": "position",
    "Instances Counting": "count",
    "Scene Understanding": "identity",
    "Spatial Relation": "relation",
    "Text Understanding": "number",
    "Visual Reasoning": "depth",
}
SEED_QUESTIONS = 40  # a dimension
REAL_WORLD_SKILLS = ("color", "count", "depth", "distance", "relation", "position", "number", "size")
REAL_WORLD_QUESTIONS = 200
CV_BENCH_QUESTIONS = 75  # a task and source
CV_BENCH_PROMPT = " Select from the following choices."


def mmbench(held_out: Split = "eval") -> Iterator[Entry]:
    """Every question as often as it has options that move, each time with these rolled on by one.

    Roll k has the index base + k * 1,000,000 and names the base row as its picture, as in MMBench_DEV_EN. As there,
    some questions of four options have three rolls: their last option stays last, and in a few of them it is right.
    """
    drawer = Drawer("MMBench", held_out)
    base = itertools.count(1)
    with_last = itertools.count()
    for category, leaves in MMBENCH_ABILITIES.items():
        for leaf, skill in leaves.items():
            for number in range(MMBENCH_QUESTIONS):
                scene, question = drawer.draw(skill, "choice")
                if number == MMBENCH_QUESTIONS - 1 and len(question.choices) == 4:
                    question = _with_last_option(question, is_right=next(with_last) % 4 == 3)
                row = choice_row(next(base), scene, question)
                hint = {"hint": MMBENCH_HINT} if skill == "depth" else {}
                row |= {**hint, "category": leaf, "l2-category": category, "split": "dev", "source": "toy world"}
                yield from _circle(row, scene, question)


def _with_last_option(question: Question, *, is_right: bool) -> Question:
    """The question with three of its four options and `LAST_OPTION`, which is right where the right one is left out."""
    dropped = question.answer if is_right else next(text for text in question.choices if text != question.answer)
    shown = tuple(text for text in question.choices if text != dropped)

    def rule(scene: Scene) -> str | None:
        answer = question.rule(scene)
        return answer if answer is None or answer in shown else LAST_OPTION

    answer = LAST_OPTION if is_right else question.answer
    return replace(question, choices=(*shown, LAST_OPTION), answer=answer, rule=rule)


def _circle(row: dict[str, str], scene: Scene, question: Question) -> Iterator[Entry]:
    """The base row and its rolls."""
    yield Entry(row, scene, question)
    num_moving = len(question.choices) - (question.choices[-1] == LAST_OPTION)
    yield from (Entry(_rolled(row, question, k, num_moving), scene, question) for k in range(1, num_moving))


def _rolled(row: dict[str, str], question: Question, k: int, num_moving: int) -> dict[str, str]:
    moving, staying = question.choices[:num_moving], question.choices[num_moving:]
    choices = (*moving[-k:], *moving[:-k], *staying)
    answer = LETTERS[choices.index(question.answer)]
    index = str(int(row["index"]) + k * CIRCULAR_STEP)
    return {**row, "index": index, "image": row["index"], **options(choices), "answer": answer}


def seed_bench(held_out: Split = "eval") -> Iterator[Entry]:
    """The index tells rows apart; the benchmark's own `question_id` does not: some stand twice, for other questions."""
    drawer = Drawer("SEEDBench", held_out)
    indices = itertools.count()
    for dimension, skill in SEED_SKILLS.items():
        for _ in range(SEED_QUESTIONS):
            scene, question = drawer.draw(skill, "choice")
            index = next(indices)
            row = choice_row(index, scene, question) | {"category": dimension, "question_id": seed_id(index)}
            yield Entry(row, scene, question)


def seed_id(index: int) -> str:
    """The last question of a dimension has the id of its first."""
    return str(100_000 + (index - SEED_QUESTIONS + 1 if index % SEED_QUESTIONS == SEED_QUESTIONS - 1 else index))


def real_world_qa(held_out: Split = "eval") -> Iterator[Entry]:
    """Two to four options."""
    drawer = Drawer("RealWorldQA", held_out)
    for index, skill in zip(range(REAL_WORLD_QUESTIONS), itertools.cycle(REAL_WORLD_SKILLS)):
        scene, question = drawer.draw(skill, "choice", num_choices=2 + index // len(REAL_WORLD_SKILLS) % 3)
        yield Entry(choice_row(index, scene, question), scene, question)


def cv_bench_2d(held_out: Split = "eval") -> Iterator[Entry]:
    plan = [("ADE20K", "Count"), ("ADE20K", "Relation"), ("COCO", "Count"), ("COCO", "Relation")]
    yield from _cv_bench("2D", plan, {"Count": "count", "Relation": "relation"}, held_out)


def cv_bench_3d(held_out: Split = "eval") -> Iterator[Entry]:
    yield from _cv_bench(
        "3D", [("Omni3D", "Depth"), ("Omni3D", "Distance")], {"Depth": "depth", "Distance": "distance"}, held_out
    )


def _cv_bench(split: str, plan: list[tuple[str, str]], skills: dict[str, str], held_out: Split) -> Iterator[Entry]:
    """CV-Bench brings its prompt along: the question, then the choices as (A), (B), ..."""
    drawer = Drawer(f"CV-Bench-{split}", held_out)
    indices = itertools.count()
    for source, task in plan:
        for _ in range(CV_BENCH_QUESTIONS):
            scene, question = drawer.draw(skills[task], "choice", num_choices=5)
            lines = [f"({letter}) {text}" for letter, text in options(question.choices).items()]
            row = choice_row(next(indices), scene, question) | {
                "prompt": "\n".join([question.text + CV_BENCH_PROMPT, *lines]),
                "category": task,
                "source": source,
                "split": split,
            }
            yield Entry(row, scene, question)
