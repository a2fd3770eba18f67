"""Questions about scenes, and the three forms in which they are put: open, yes/no check, multiple choice.

An `Ask` is a question before its form is chosen. Its `rule` reads the answer off any scene (None where the question
makes no sense), which is what the prior (priors.py) needs: the same question put to other scenes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .scene import Scene

Rule = Callable[[Scene], str | None]

LETTERS = "ABCDEF"
HARD_SHARE = 0.7  # of the wrong values, this many are taken from what the picture shows elsewhere


class Claim(NamedTuple):
    """A statement in three parts; moving the verb to the front makes it a question."""

    subject: str
    verb: str
    rest: str

    @property
    def statement(self) -> str:
        return f"{self.subject} {self.verb} {self.rest}."

    @property
    def question(self) -> str:
        return f"{self.verb} {self.subject} {self.rest}?"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is asked. `pool` holds the plausible answers, `claim(value)` states that the answer is `value`."""

    skill: str
    text: str
    rule: Rule
    pool: tuple[str, ...]
    claim: Callable[[str], Claim]
    decoys: tuple[str, ...] = ()
    """Answers that the picture suggests: true of something else in it."""
    rule_among: Callable[[tuple[str, ...]], Rule] | None = None
    """Where the answer depends on the options offered: options -> rule."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is put to a model. `answer` is a text also where there are `choices` (in the order shown)."""

    skill: str
    text: str
    answer: str
    rule: Rule
    choices: tuple[str, ...] = ()
    statement: str = ""
    """The answer as a whole sentence."""

    @property
    def letter(self) -> str:
        return LETTERS[self.choices.index(self.answer)]


def open_question(ask: Ask, scene: Scene) -> Question:
    answer = _answer(ask, scene)
    statement = ask.claim(answer).statement
    return Question(skill=ask.skill, text=ask.text, answer=answer, rule=ask.rule, statement=statement)


def check_question(ask: Ask, scene: Scene, want: str, rng: random.Random) -> Question | None:
    """The same as a yes/no question answered by `want`; None where the ask itself is one, of the other answer."""
    answer = _answer(ask, scene)
    if is_yes_no(ask):
        return open_question(ask, scene) if answer == want else None
    value = answer if want == "yes" else _wrong_values(ask, answer, 1, rng)[0]
    rule = _check_rule(ask.rule, value)
    statement = ask.claim(answer).statement
    return Question(skill=ask.skill, text=ask.claim(value).question, answer=want, rule=rule, statement=statement)


def choice_question(
    ask: Ask, scene: Scene, rng: random.Random, num_choices: int = 4, position: int | None = None
) -> Question:
    """The same with up to `num_choices` options, the right one at `position` (modulo their number) or anywhere."""
    answer = _answer(ask, scene)
    wrong = _wrong_values(ask, answer, num_choices - 1, rng)
    position = rng.randrange(len(wrong) + 1) if position is None else position % (len(wrong) + 1)
    choices = (*wrong[:position], answer, *wrong[position:])
    rule = ask.rule_among(choices) if ask.rule_among else ask.rule
    statement = ask.claim(answer).statement
    return Question(skill=ask.skill, text=ask.text, answer=answer, rule=rule, choices=choices, statement=statement)


def is_yes_no(ask: Ask) -> bool:
    return ask.pool == ("yes", "no")


def _answer(ask: Ask, scene: Scene) -> str:
    answer = ask.rule(scene)
    assert answer is not None, f"{ask.text!r} makes no sense for {scene.content!r}"
    return answer


def _wrong_values(ask: Ask, answer: str, count: int, rng: random.Random) -> list[str]:
    """Up to `count` different wrong answers, mostly such as the picture suggests, in random order."""
    decoys = [value for value in dict.fromkeys(ask.decoys) if value != answer]
    others = [value for value in ask.pool if value != answer and value not in decoys]
    rng.shuffle(decoys)
    rng.shuffle(others)
    hard_first = rng.random() < HARD_SHARE
    values = (decoys + others if hard_first else others + decoys)[:count]
    rng.shuffle(values)
    return values


def _check_rule(rule: Rule, value: str) -> Rule:
    def check(scene: Scene) -> str | None:
        answer = rule(scene)
        return None if answer is None else ("yes" if answer == value else "no")

    return check
