"""Which questions are asked of a training picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..draw import Drawer, Form
from ..questions import Question
from ..scene import Scene
from ..skills import YES_NO

WEIGHTS = {  # how often a skill is asked about, where a scene offers it
    "existence": 4,
    "color": 5,
    "count": 13,
    "number": 9,  # only one scene in three has a number
    "shape": 2,
    "position": 2,
    "relation": 1,
    "depth": 1,
    "size": 1,
    "distance": 1,
    "conditional": 1,
    "compare": 1,
    "number_word": 1,
    "arithmetic": 1,
    "identity": 1,
}
NEVER_OPEN = {"identity"}  # "which thing is there?" has one answer only among options
CHECK_SHARE = 0.4


def questions(
    drawer: Drawer,
    scene: Scene,
    count: int,
    form: Form | None = None,
    *,
    weights: Mapping[str, int] = WEIGHTS,
    check_share: float = CHECK_SHARE,
) -> Iterator[Question]:
    """`count` questions about a scene, of one form (None: open ones and yes/no checks mixed)."""
    asked = 0
    while asked < count:
        kind = form or ("check" if drawer.rng.random() < check_share else "open")
        names = [skill for skill in weights if kind == "choice" or skill not in NEVER_OPEN]
        skill = drawer.rng.choices(names, [weights[name] for name in names])[0]
        want = drawer.rng.choice(YES_NO) if kind == "check" else None
        drawn = drawer.try_draw(skill, kind, scene, want)
        if drawn is not None:
            asked += 1
            yield drawn.question
