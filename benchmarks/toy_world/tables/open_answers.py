"""The judged ones: MM-Vet (short answers, six capabilities) and LLaVA-Bench (conversation, detail, complex)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from ..captions import description
from ..draw import Drawer, Drawn
from ..questions import Question
from ..scene import Scene, Split
from .rows import Entry, encoded

MM_VET_QUESTIONS = 104
LLAVA_PICTURES = 24
DESCRIBE = "describe the picture in detail."
CONVERSATION_SKILLS = ("color", "count", "shape", "position", "size", "number")
COMPLEX_SKILLS = ("depth", "distance", "conditional")


def mm_vet(held_out: Split = "eval") -> Iterator[Entry]:
    drawer = Drawer("MMVet", held_out)
    kinds = itertools.cycle(MM_VET_KINDS.items())
    for number, (capabilities, draw) in zip(range(MM_VET_QUESTIONS), kinds, strict=False):
        scene, question = draw(drawer)
        row = {
            "index": str(number),
            "image": encoded(scene),
            "question": question.text,
            "answer": question.answer,
            "category": capabilities,
        }
        yield Entry(row, scene, question)


def llava_bench(held_out: Split = "eval") -> Iterator[Entry]:
    """Up to three questions a picture, as in the original: clusters of one, two or three rows."""
    drawer = Drawer("LLaVABench", held_out)
    indices = itertools.count()
    for number in range(LLAVA_PICTURES):
        scene = drawer.scene(min_things=3, with_digit=number % 2 == 0)
        for category, question in _llava_questions(drawer, scene, number):
            row = {
                "index": str(next(indices)),
                "image": encoded(scene),
                "question": question.text,
                "category": category,
                "caption": description(scene),
                "gpt4_ans": question.statement,
                "image_path": f"{number:03d}.png",
            }
            yield Entry(row, scene, question)


def describe_question(scene: Scene) -> Question:
    answer = description(scene)
    return Question(skill="describe", text=DESCRIBE, answer=answer, rule=description, statement=answer)


def reason_question(drawer: Drawer, scene: Scene) -> Question | None:
    """Which is nearer, and why: the one question whose answer is an inference and its ground."""
    return _why(drawer, scene) if len({thing.size for thing in scene.things}) == 2 else None


def _llava_questions(drawer: Drawer, scene: Scene, number: int) -> Iterator[tuple[str, Question]]:
    skills = [skill for skill in CONVERSATION_SKILLS if skill != "number" or scene.digit]
    yield "conv", _possible(drawer, scene, skills[number % len(skills) :] + skills)
    if number % 3 != 1:
        yield "detail", describe_question(scene)
    if number % 4 != 3:
        reason = reason_question(drawer, scene)
        yield "complex", reason or _possible(drawer, scene, list(COMPLEX_SKILLS[1:]))


def _possible(drawer: Drawer, scene: Scene, skills: list[str]) -> Question:
    """A question of the first of these skills that the scene offers."""
    for skill in skills:
        drawn = drawer.try_draw(skill, "open", scene)
        if drawn is not None:
            return drawn.question
    raise AssertionError(f"no scene is without something to say about it: {scene.content!r}")


def _why(drawer: Drawer, scene: Scene) -> Question:
    question = drawer.draw("depth", "open", scene=scene).question
    small = {thing.name for thing in scene.things if thing.size == "small"}
    assert question.answer not in small
    reason = f"{question.statement.removesuffix('.')} because it is large."
    return Question(
        skill="depth", text=f"{question.text} why?", answer=question.answer, rule=question.rule, statement=reason
    )


def _skill(name: str) -> Callable[[Drawer], Drawn]:
    return lambda drawer: drawer.draw(name, "open")


def _colors(drawer: Drawer) -> Drawn:
    """All colors that occur: every one must be named (<AND>)."""
    scene = drawer.scene(min_things=2)
    return Drawn(scene, _question("colors", "what colors are there?", scene, _all_colors))


def _all_colors(scene: Scene) -> str:
    return "<AND>".join(sorted({thing.color for thing in scene.things}))


def _any_thing(drawer: Drawer) -> Drawn:
    """Any one of the things will do (<OR>)."""
    scene = drawer.scene(min_things=2)
    return Drawn(scene, _question("any", "what is one of the things?", scene, _some_thing))


def _some_thing(scene: Scene) -> str:
    return "<OR>".join(thing.name for thing in scene.things)


def _number_place(drawer: Drawer) -> Drawn:
    scene = drawer.scene(with_digit=True)
    return Drawn(scene, _question("number_place", "where is the number?", scene, _place_of_number))


def _place_of_number(scene: Scene) -> str | None:
    if scene.digit is None:
        return None
    row, column = divmod(scene.digit.cell, 2)
    return f"{('top', 'bottom')[row]} {('left', 'right')[column]}"


def _describe(drawer: Drawer) -> Drawn:
    scene = drawer.scene(min_things=2)
    return Drawn(scene, describe_question(scene))


def _reason(drawer: Drawer) -> Drawn:
    for scene in drawer.stream:
        question = reason_question(drawer, scene)
        if question is not None:
            return Drawn(scene, question)
    raise AssertionError("unreachable: the stream of scenes never ends")


def _question(skill: str, text: str, scene: Scene, rule: Callable[[Scene], str | None]) -> Question:
    answer = rule(scene)
    assert answer is not None, f"{text!r} makes no sense for {scene.content!r}"
    return Question(skill=skill, text=text, answer=answer, rule=rule)


MM_VET_KINDS: dict[str, Callable[[Drawer], Drawn]] = {  # capabilities -> what is asked
    "rec": _skill("color"),
    "ocr": _skill("number"),
    "ocr,math": _skill("arithmetic"),
    "rec,spat": _skill("conditional"),
    "rec,know": _skill("size"),
    "rec,know,gen": _reason,
    "ocr,spat": _number_place,
    "rec,gen": _describe,
    "rec,math": _skill("count"),
    "spat": _skill("position"),
    "rec,ocr": _skill("number_word"),
    "know,spat": _skill("depth"),
    "rec,know,math": _skill("compare"),
    "rec,gen,know": _colors,
    "rec,gen,spat": _any_thing,
}
