"""The table of skills: the same number of questions for each of the fifteen, each in the form in which it is learned.

The eleven tables ask as the benchmarks do, so that a skill's questions there are mostly yes/no checks and multiple
choice, and few of some. Here nothing but the skill is asked for: the open form; yes or no where that is the answer
(existence, compare); options for identity, which has no other form.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ..draw import Drawer, Form
from ..scene import Split
from ..skills import SKILLS
from .rows import Entry, encoded, options

SKILLS_TABLE = "ToySkills"
QUESTIONS_PER_SKILL = 160


def skills(held_out: Split = "eval") -> Iterator[Entry]:
    """Columns index, image, question, answer (a text), skill; options A to D for identity."""
    drawer = Drawer(SKILLS_TABLE, held_out)
    indices = itertools.count()
    for skill in SKILLS:
        form: Form = "choice" if skill == "identity" else "open"
        for _ in range(QUESTIONS_PER_SKILL):
            scene, question = drawer.draw(skill, form)
            row = {
                "index": str(next(indices)),
                "image": encoded(scene),
                "question": question.text,
                **options(question.choices),
                "answer": question.answer,
                "skill": skill,
            }
            yield Entry(row, scene, question)
