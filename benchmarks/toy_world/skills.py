"""What can be asked about a scene: one function a skill, which picks what to ask about and returns an `Ask`.

Each returns None where the scene offers nothing to ask (no number in it, all things of one size, ...).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from .questions import Ask, Claim, Rule
from .scene import COLORS, MAX_THINGS, SHAPES, SIZES, Scene, Thing, all_names

Maker = Callable[[Scene, random.Random], Ask | None]
T = TypeVar("T")

YES_NO = ("yes", "no")
DIGITS = tuple("0123456789")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLACES = ("top left", "top right", "bottom left", "bottom right")
SIDES = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


def existence(scene: Scene, rng: random.Random) -> Ask:
    """Is a thing there? Half the time it is; if not, its color and its shape mostly are, but on different things."""
    name = rng.choice(scene.things).name if rng.random() < 0.5 else absent_name(scene, rng)

    def rule(other: Scene) -> str:
        return "yes" if other.named(name) else "no"

    claim = {"yes": Claim("there", "is", f"a {name}"), "no": Claim("there", "is", f"no {name}")}
    return Ask(skill="existence", text=f"is there a {name}?", rule=rule, pool=YES_NO, claim=lambda value: claim[value])


def absent_name(scene: Scene, rng: random.Random, *, hard_share: float = 0.7) -> str:
    """A thing that is not there. A hard one has a color and a shape of the picture, bound wrongly."""
    absent = [name for name in all_names() if scene.named(name) is None]
    colors = {thing.color for thing in scene.things}
    shapes = {thing.shape for thing in scene.things}
    hard = [name for name in absent if name.split()[0] in colors and name.split()[1] in shapes]
    return rng.choice(hard if hard and rng.random() < hard_share else absent)


def color(scene: Scene, rng: random.Random) -> Ask | None:
    shape = _pick([shape for shape in SHAPES if len(scene.find(shape=shape)) == 1], rng)
    if shape is None:
        return None
    return Ask(
        skill="color",
        text=f"what color is the {shape}?",
        rule=lambda other: _only(other.find(shape=shape), "color"),
        pool=COLORS,
        claim=lambda value: Claim(f"the {shape}", "is", value),
        decoys=tuple(thing.color for thing in scene.things),
    )


def shape(scene: Scene, rng: random.Random) -> Ask | None:
    color = _pick([color for color in COLORS if len(scene.find(color=color)) == 1], rng)
    if color is None:
        return None
    return Ask(
        skill="shape",
        text=f"what shape is the {color} thing?",
        rule=lambda other: _only(other.find(color=color), "shape"),
        pool=SHAPES,
        claim=lambda value: Claim(f"the {color} thing", "is", f"a {value}"),
        decoys=tuple(thing.shape for thing in scene.things),
    )


def size(scene: Scene, rng: random.Random) -> Ask:
    name = rng.choice(scene.things).name
    return Ask(
        skill="size",
        text=f"is the {name} small or large?",
        rule=lambda other: thing.size if (thing := other.named(name)) else None,
        pool=SIZES,
        claim=lambda value: Claim(f"the {name}", "is", value),
    )


def count(scene: Scene, rng: random.Random) -> Ask:
    """How many things, or things of a shape, or of a color; kinds that are there twice or more come more often."""
    kinds: list[tuple[str | None, str | None]] = [
        (None, None),
        *((s, None) for s in SHAPES),
        *((None, c) for c in COLORS),
    ]
    weights = [1 + 2 * len(scene.find(shape=s, color=c)) for s, c in kinds]
    shape, color = rng.choices(kinds, weights)[0]
    noun = f"{shape}s" if shape else f"{color} things" if color else "things"

    def claim(value: str) -> Claim:
        return Claim("there", "is", f"1 {noun[:-1]}") if value == "1" else Claim("there", "are", f"{value} {noun}")

    def rule(other: Scene) -> str:
        return str(len(other.find(shape=shape, color=color)))

    pool = DIGITS[:5] if shape or color else DIGITS[1:5]
    return Ask(skill="count", text=f"how many {noun} are there?", rule=rule, pool=pool, claim=claim)


def compare(scene: Scene, rng: random.Random) -> Ask:
    present = [shape for shape in SHAPES if scene.find(shape=shape)]
    more, fewer = rng.sample(present if len(present) > 1 else SHAPES, 2)

    def rule(other: Scene) -> str:
        return "yes" if len(other.find(shape=more)) > len(other.find(shape=fewer)) else "no"

    claim = {
        "yes": Claim("there", "are", f"more {more}s than {fewer}s"),
        "no": Claim("there", "are", f"no more {more}s than {fewer}s"),
    }
    text = f"are there more {more}s than {fewer}s?"
    return Ask(skill="compare", text=text, rule=rule, pool=YES_NO, claim=lambda value: claim[value])


def position(scene: Scene, rng: random.Random) -> Ask:
    name = rng.choice(scene.things).name
    return Ask(
        skill="position",
        text=f"where is the {name}?",
        rule=lambda other: thing.place if (thing := other.named(name)) else None,
        pool=PLACES,
        claim=lambda value: Claim(f"the {name}", "is", f"at the {value}"),
        decoys=tuple(thing.place for thing in scene.things),
    )


def relation(scene: Scene, rng: random.Random) -> Ask | None:
    """Where one thing is, seen from another in its row or column. The two directions of that axis are plausible."""
    pairs = [(a, b) for a, b in itertools.permutations(scene.things, 2) if _side(a, b)]
    pair = _pick(pairs, rng)
    if pair is None:
        return None
    a, b = pair[0].name, pair[1].name
    pool = ("left", "right") if pair[0].row == pair[1].row else ("above", "below")
    return Ask(
        skill="relation",
        text=f"where is the {a} from the {b}?",
        rule=_pair_rule(a, b, _side),
        pool=pool,
        claim=lambda value: Claim(f"the {a}", "is", f"{SIDES[value]} the {b}"),
    )


def depth(scene: Scene, rng: random.Random) -> Ask | None:
    pair = _pick([(a, b) for a, b in itertools.permutations(scene.things, 2) if a.size != b.size], rng)
    if pair is None:
        return None
    a, b = pair[0].name, pair[1].name
    return Ask(
        skill="depth",
        text=f"which is nearer, the {a} or the {b}?",
        rule=_pair_rule(a, b, _nearer),
        pool=(a, b),
        claim=lambda value: Claim(f"the {value}", "is", f"nearer than the {b if value == a else a}"),
    )


def distance(scene: Scene, rng: random.Random) -> Ask | None:
    """Which of two things is closer to a third: the one beside it, not the one across the picture."""
    triples = [(a, b, c) for a, b, c in itertools.permutations(scene.things, 3) if _closer(a, b, c)]
    triple = _pick(triples, rng)
    if triple is None:
        return None
    a, b, c = (thing.name for thing in triple)

    def rule(other: Scene) -> str | None:
        things = [other.named(name) for name in (a, b, c)]
        present = [thing for thing in things if thing]
        return _closer(*present) if len(present) == 3 else None

    return Ask(
        skill="distance",
        text=f"which is closer to the {a}, the {b} or the {c}?",
        rule=rule,
        pool=(b, c),
        claim=lambda value: Claim(f"the {value}", "is", f"closer to the {a} than the {c if value == b else b}"),
    )


def conditional(scene: Scene, rng: random.Random) -> Ask | None:
    """The color of the thing beside another one: first find the place, then look there."""
    pairs = [(a, b) for a, b in itertools.permutations(scene.things, 2) if _side(a, b)]
    pair = _pick(pairs, rng)
    if pair is None:
        return None
    side, name = _side(*pair), pair[1].name
    where = f"the thing {SIDES[str(side)]} the {name}"

    def rule(other: Scene) -> str | None:
        anchor = other.named(name)
        return _only([thing for thing in other.things if anchor and _side(thing, anchor) == side], "color")

    return Ask(
        skill="conditional",
        text=f"what color is {where}?",
        rule=rule,
        pool=COLORS,
        claim=lambda value: Claim(where, "is", value),
        decoys=tuple(thing.color for thing in scene.things),
    )


def number(scene: Scene, rng: random.Random) -> Ask | None:
    return _number_ask(
        scene,
        "number",
        "what number is shown?",
        _digit_rule(str),
        DIGITS,
        lambda value: (f"the number {value}", "shown"),
    )


def number_word(scene: Scene, rng: random.Random) -> Ask | None:
    """The number as a word: reading and translating."""
    text = "what is the number in words?"
    rule = _digit_rule(lambda digit: WORDS[digit])
    return _number_ask(scene, "number_word", text, rule, WORDS, lambda value: (f"the number {value}", "shown"))


def arithmetic(scene: Scene, rng: random.Random) -> Ask | None:
    """The number plus or minus one, two or three, where the result has one digit."""
    if scene.digit is None:
        return None
    shifts = [shift for shift in (-3, -2, -1, 1, 2, 3) if 0 <= scene.digit.value + shift <= 9]
    shift = rng.choice(shifts)
    term = f"the number {'plus' if shift > 0 else 'minus'} {abs(shift)}"
    rule = _digit_rule(lambda digit: str(digit + shift) if 0 <= digit + shift <= 9 else None)
    return _number_ask(scene, "arithmetic", f"what is {term}?", rule, DIGITS, lambda value: (term, f"equal to {value}"))


def identity(scene: Scene, rng: random.Random) -> Ask:
    """Which thing is there? Only as multiple choice: the wrong options are absent things."""
    name = rng.choice(scene.things).name
    absent = tuple(other for other in all_names() if scene.named(other) is None)
    decoys = tuple(dict.fromkeys(absent_name(scene, rng, hard_share=1.0) for _ in range(3)))

    def rule(other: Scene) -> str | None:
        return name if other.named(name) else None

    def rule_among(names: tuple[str, ...]) -> Rule:
        return lambda other: present[0] if len(present := [name for name in names if other.named(name)]) == 1 else None

    return Ask(
        skill="identity",
        text="which thing is there?",
        rule=rule,
        pool=(name, *absent),
        claim=lambda value: Claim("there", "is", f"a {value}"),
        decoys=decoys,
        rule_among=rule_among,
    )


VARIETY = {  # skill -> how many colors and shapes must occur for the answer not to be plain
    "existence": (2, 2),
    "identity": (2, 2),
    "count": (2, 2),
    "color": (2, 1),
    "conditional": (3, 1),
    "shape": (1, 2),
    "compare": (1, 2),
}
SKILLS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        existence, color, shape, size, count, compare, position, relation,
        depth, distance, conditional, number, number_word, arithmetic, identity,
    )
}  # fmt: skip


def tells_nothing_at_a_glance(skill: str, scene: Scene) -> bool:
    """False where the colors and shapes that occur give the answer away: nothing is to be bound or counted.

    Evaluation leaves such questions out, training keeps them.
    """
    num_colors = len({thing.color for thing in scene.things})
    num_shapes = len({thing.shape for thing in scene.things})
    if skill == "count" and not num_colors < MAX_THINGS <= len(scene.things) + 1:
        return False  # one or two things are told by their colors and shapes, and so are four colors
    colors, shapes = VARIETY.get(skill, (1, 1))
    return num_colors >= colors and num_shapes >= shapes


def _number_ask(
    scene: Scene, skill: str, text: str, rule: Rule, pool: tuple[str, ...], claim: Callable[[str], tuple[str, str]]
) -> Ask | None:
    if scene.digit is None:
        return None

    def stated(value: str) -> Claim:
        subject, rest = claim(value)
        return Claim(subject, "is", rest)

    return Ask(skill=skill, text=text, rule=rule, pool=pool, claim=stated)


def _digit_rule(read: Callable[[int], str | None]) -> Rule:
    return lambda scene: None if scene.digit is None else read(scene.digit.value)


def _pair_rule(a: str, b: str, compare: Callable[[Thing, Thing], str | None]) -> Rule:
    def rule(scene: Scene) -> str | None:
        first, second = scene.named(a), scene.named(b)
        return compare(first, second) if first and second else None

    return rule


def _side(a: Thing, b: Thing) -> str | None:
    """Where `a` is, seen from `b`; None for things that are neither in a row nor in a column."""
    if a.row == b.row and a.column != b.column:
        return "left" if a.column < b.column else "right"
    if a.column == b.column and a.row != b.row:
        return "above" if a.row < b.row else "below"
    return None


def _nearer(a: Thing, b: Thing) -> str | None:
    if a.size == b.size:
        return None
    return a.name if a.size == "large" else b.name


def _closer(a: Thing, b: Thing, c: Thing) -> str | None:
    """Which of `b` and `c` is closer to `a`; None if both are beside it."""
    beside_b, beside_c = _side(b, a) is not None, _side(c, a) is not None
    if beside_b == beside_c:
        return None
    return b.name if beside_b else c.name


def _only(things: list[Thing], attribute: str) -> str | None:
    return str(getattr(things[0], attribute)) if len(things) == 1 else None


def _pick(values: Sequence[T], rng: random.Random) -> T | None:
    return rng.choice(values) if values else None
