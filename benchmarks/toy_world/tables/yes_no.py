"""MME (pairs: one yes and one no a picture) and POPE (many questions a picture)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ..draw import Drawer
from ..questions import Ask, Question, check_question, is_yes_no
from ..scene import Scene, Split, all_names
from .rows import YES_NO_SUFFIX, Entry, encoded

MME_SKILLS = {  # MME's fourteen subtasks, and what stands in for each here
    "OCR": "number",
    "artwork": "relation",
    "celebrity": "size",
    "code_reasoning": "compare",
    "color": "color",
    "commonsense_reasoning": "conditional",
    "count": "count",
    "existence": "existence",
    "landmark": "depth",
    "numerical_calculation": "arithmetic",
    "position": "position",
    "posters": "shape",
    "scene": "distance",
    "text_translation": "number_word",
}
MME_PICTURES = 18  # a subtask
POPE_PICTURES = 40
POPE_PER_PICTURE = 2  # of each kind: present, and absent in each of the three ways


def mme(held_out: Split = "eval") -> Iterator[Entry]:
    """Two rows a subtask and picture. The pair puts the same question with a right and with a wrong value."""
    drawer = Drawer("MME", held_out)
    indices = itertools.count()
    for category, skill in MME_SKILLS.items():
        for number in range(MME_PICTURES):
            scene, pair = _pair(drawer, skill)
            path = f"{category}/{number:04d}.png"
            for question in pair:
                row = {
                    "index": str(next(indices)),
                    "image": encoded(scene),
                    "question": question.text + YES_NO_SUFFIX,
                    "answer": question.answer.capitalize(),
                    "category": category,
                    "image_path": path,
                }
                yield Entry(row, scene, question)


def _pair(drawer: Drawer, skill: str) -> tuple[Scene, list[Question]]:
    """One scene and two questions about it, answered yes and no."""
    for scene in drawer.stream:
        ask = drawer.ask(skill, scene)
        if ask is None:
            continue
        asks = (ask, drawer.ask(skill, scene)) if is_yes_no(ask) else (ask, ask)
        pair = [_check(ask, scene, want, drawer) for ask, want in zip(asks, ("yes", "no"), strict=True)]
        if all(pair):
            return scene, [question for question in pair if question]
    raise AssertionError("unreachable: the stream of scenes never ends")


def _check(ask: Ask | None, scene: Scene, want: str, drawer: Drawer) -> Question | None:
    return None if ask is None else check_question(ask, scene, want, drawer.rng)


def pope(held_out: Split = "eval") -> Iterator[Entry]:
    """Existence only. Each present thing counts towards all three categories, as in the table of VLMEvalKit.

    Absent things are drawn as POPE draws them: *random* of all, *popular* of the frequent ones (of this world's names,
    the first third), *adversarial* of those that go with what is there (color and shape present, on different things).
    """
    drawer = Drawer("POPE", held_out)
    indices = itertools.count()
    for number in range(POPE_PICTURES):
        scene = drawer.scene(min_things=3)
        for name, categories in _pope_names(drawer, scene):
            question = _existence(scene, name)
            row = {
                "index": str(next(indices)),
                "image": encoded(scene),
                "question": question.text + YES_NO_SUFFIX,
                "answer": question.answer.capitalize(),
                "category": categories,
                "image_path": f"{number:04d}.png",
            }
            yield Entry(row, scene, question)


def _pope_names(drawer: Drawer, scene: Scene) -> Iterator[tuple[str, str]]:
    for thing in drawer.rng.sample(scene.things, POPE_PER_PICTURE):
        yield thing.name, "adversarial,popular,random"
    absent = [name for name in all_names() if scene.named(name) is None]
    colors, shapes = {thing.color for thing in scene.things}, {thing.shape for thing in scene.things}
    near = [name for name in absent if name.split()[0] in colors and name.split()[1] in shapes]
    half = [name for name in absent if name.split()[0] in colors or name.split()[1] in shapes]
    kinds = {"adversarial": near + half, "popular": absent[: len(absent) // 3], "random": absent}
    chosen: dict[str, list[str]] = {}
    for category, names in kinds.items():
        candidates = names[: max(POPE_PER_PICTURE, len(near))] if category == "adversarial" else names
        for name in drawer.rng.sample(candidates, POPE_PER_PICTURE):
            chosen.setdefault(name, []).append(category)
    for name, categories in chosen.items():
        yield name, ",".join(categories)


def _existence(scene: Scene, name: str) -> Question:
    def rule(other: Scene) -> str:
        return "yes" if other.named(name) else "no"

    return Question(skill="existence", text=f"is there a {name}?", answer=rule(scene), rule=rule)
