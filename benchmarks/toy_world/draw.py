"""Draws questions: takes scenes from a stream until one offers the question that is wanted."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from .questions import Ask, Question, check_question, choice_question, is_yes_no, open_question
from .scene import Scene, Split, scenes
from .skills import SKILLS, YES_NO, tells_nothing_at_a_glance

Form = Literal["open", "check", "choice"]


class Drawn(NamedTuple):
    """A question and the scene that it is about."""

    scene: Scene
    question: Question


class Drawer:
    """A source of questions about scenes of one split, deterministic by seed.

    Answers are balanced: for each skill and form the wanted answers (and, for multiple choice, the letters) take turns,
    so that no constant answer does better than another.
    """

    def __init__(self, seed: int | str, split: Split) -> None:
        self.rng = random.Random(f"questions {seed}")
        self.split = split
        self.stream = scenes(f"drawer {seed}", split=split)
        self._wanted: dict[tuple[str, Form], Iterator[str]] = {}
        self._positions: dict[tuple[str, int], Iterator[int]] = {}

    def scene(self, *, min_things: int = 1, with_digit: bool | None = None) -> Scene:
        """The next scene with enough things and (True, False, None: any) a digit."""
        return next(
            scene
            for scene in self.stream
            if len(scene.things) >= min_things and with_digit in (None, scene.digit is not None)
        )

    def draw(self, skill: str, form: Form, *, num_choices: int = 4, scene: Scene | None = None) -> Drawn:
        """A question of this skill and form; the scene is taken from the stream unless one is given."""
        wanted: str | None = None
        for attempt in itertools.count():
            current = next(self.stream) if scene is None else scene
            ask = self.ask(skill, current)
            if ask is None:
                assert scene is None or attempt < 200, f"the scene {current.content!r} offers no {skill} question"
                continue
            if wanted is None and scene is None:
                wanted = self._next_wanted(skill, form, ask)
            question = self._put(ask, current, form, num_choices, wanted)
            if question is not None:
                return Drawn(current, question)
        raise AssertionError("unreachable: the stream of scenes never ends")

    def ask(self, skill: str, scene: Scene) -> Ask | None:
        """Something to ask about a scene; evaluation does not ask what a glance tells."""
        if self.split in ("eval", "test") and not tells_nothing_at_a_glance(skill, scene):
            return None
        return SKILLS[skill](scene, self.rng)

    def try_draw(self, skill: str, form: Form, scene: Scene, want: str | None = None) -> Drawn | None:
        """A question about this scene, or None if it does not offer one (with this answer)."""
        ask = self.ask(skill, scene)
        question = ask and self._put(ask, scene, form, 4, want)
        return Drawn(scene, question) if question else None

    def _put(self, ask: Ask, scene: Scene, form: Form, num_choices: int, wanted: str | None) -> Question | None:
        if form == "check":
            return check_question(ask, scene, wanted or self.rng.choice(YES_NO), self.rng)
        if wanted is not None and not _is_relative(ask) and ask.rule(scene) != wanted:
            return None
        if form == "open":
            return open_question(ask, scene)
        return choice_question(ask, scene, self.rng, num_choices, next(self._turns(ask.skill, num_choices)))

    def _next_wanted(self, skill: str, form: Form, ask: Ask) -> str | None:
        """The answer whose turn it is; None for skills whose plausible answers depend on the scene."""
        if form == "check" or is_yes_no(ask):
            values: Sequence[str] = YES_NO
        elif _is_relative(ask):
            return None
        else:
            values = FIXED_POOLS.get(skill, ask.pool)
        return next(self._wanted.setdefault((skill, form), itertools.cycle(values)))

    def _turns(self, skill: str, num_choices: int) -> Iterator[int]:
        """Positions of the right option; counted by number of options, lest the two cycles keep step."""
        return self._positions.setdefault((skill, num_choices), itertools.cycle(range(60)))


FIXED_POOLS = {"count": ("1", "2", "3", "2", "4", "3"), "relation": ("left", "above", "right", "below")}
"""Turns of the wanted answers where an ask's own pool is narrower than the skill's."""


def _is_relative(ask: Ask) -> bool:
    """True where the plausible answers are the names of things: nothing to balance but their order."""
    return ask.skill in {"depth", "distance", "identity"}
