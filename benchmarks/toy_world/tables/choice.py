"""Multiple choice: MMBench (circular), SEED-Bench (image), RealWorldQA and CV-Bench."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ..draw import Drawer
from ..questions import LETTERS, Question
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


def mmbench() -> Iterator[Entry]:
    """Every question as often as it has options, each time with the options rolled on by one.

    Roll k has the index base + k * 1,000,000 and names the base row as its picture, as in MMBench_DEV_EN.
    """
    drawer = Drawer("MMBench", "eval")
    base = itertools.count(1)
    for category, leaves in MMBENCH_ABILITIES.items():
        for leaf, skill in leaves.items():
            for _ in range(MMBENCH_QUESTIONS):
                scene, question = drawer.draw(skill, "choice")
                row = choice_row(next(base), scene, question)
                hint = {"hint": MMBENCH_HINT} if skill == "depth" else {}
                row |= {**hint, "category": leaf, "l2-category": category, "split": "dev", "source": "toy world"}
                yield Entry(row, scene, question)
                yield from (Entry(_rolled(row, question, k), scene, question) for k in range(1, len(question.choices)))


def _rolled(row: dict[str, str], question: Question, k: int) -> dict[str, str]:
    choices = (*question.choices[k:], *question.choices[:k])
    answer = LETTERS[choices.index(question.answer)]
    index = str(int(row["index"]) + k * CIRCULAR_STEP)
    return {**row, "index": index, "image": row["index"], **options(choices), "answer": answer}


def seed_bench() -> Iterator[Entry]:
    drawer = Drawer("SEEDBench", "eval")
    indices = itertools.count()
    for dimension, skill in SEED_SKILLS.items():
        for _ in range(SEED_QUESTIONS):
            scene, question = drawer.draw(skill, "choice")
            yield Entry({**choice_row(next(indices), scene, question), "category": dimension}, scene, question)


def real_world_qa() -> Iterator[Entry]:
    """Two to four options."""
    drawer = Drawer("RealWorldQA", "eval")
    for index, skill in zip(range(REAL_WORLD_QUESTIONS), itertools.cycle(REAL_WORLD_SKILLS)):
        scene, question = drawer.draw(skill, "choice", num_choices=2 + index // len(REAL_WORLD_SKILLS) % 3)
        yield Entry(choice_row(index, scene, question), scene, question)


def cv_bench_2d() -> Iterator[Entry]:
    plan = [("ADE20K", "Count"), ("ADE20K", "Relation"), ("COCO", "Count"), ("COCO", "Relation")]
    yield from _cv_bench("2D", plan, {"Count": "count", "Relation": "relation"})


def cv_bench_3d() -> Iterator[Entry]:
    yield from _cv_bench(
        "3D", [("Omni3D", "Depth"), ("Omni3D", "Distance")], {"Depth": "depth", "Distance": "distance"}
    )


def _cv_bench(split: str, plan: list[tuple[str, str]], skills: dict[str, str]) -> Iterator[Entry]:
    """CV-Bench brings its prompt along: the question, then the choices as (A), (B), ..."""
    drawer = Drawer(f"CV-Bench-{split}", "eval")
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
