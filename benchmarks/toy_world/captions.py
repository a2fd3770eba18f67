"""What can be said about a scene: short captions, full descriptions, and the text in it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from .scene import Scene, Thing
from .skills import SKILLS

SENTENCE_SKILLS = ("relation", "depth", "count", "conditional", "distance")


def caption(scene: Scene, rng: random.Random) -> str:
    """All things in random order, and one or two sentences on how they relate: different each time, always true."""
    sentences = [_thing_sentence(thing, rng) for thing in scene.things]
    sentences += _number_sentences(scene)
    sentences += _relation_sentences(scene, rng, rng.randint(1, 2))
    rng.shuffle(sentences)
    return " ".join(sentences)


def statements(scene: Scene, rng: random.Random, count: int = 5) -> str:
    """Half of the things, and statements about skills drawn at random, also such as deny ("there is no red square").

    What a question will ask has then been said before, and in either direction: a caption of things names the color
    before the shape, so that nothing teaches to find a thing by its shape.
    """
    sentences = [_thing_sentence(thing, rng) for thing in scene.things if rng.random() < 0.5]
    sentences += _statements(scene, rng, [name for name in SKILLS if name != "identity"], count)
    rng.shuffle(sentences)
    return " ".join(sentences)


def description(scene: Scene) -> str:
    """Everything in reading order: the reference answer to "describe the picture"."""
    sentences = [f"there are {len(scene.things)} things." if len(scene.things) > 1 else "there is 1 thing."]
    sentences += [f"a {thing.size} {thing.name} is at the {thing.place}." for thing in scene.things]
    return " ".join(sentences + _number_sentences(scene))


def _thing_sentence(thing: Thing, rng: random.Random) -> str:
    place = f" is at the {thing.place}" if rng.random() < 0.7 else ""
    size = f"{thing.size} " if rng.random() < 0.7 else ""
    return f"a {size}{thing.name}{place}."


def _number_sentences(scene: Scene) -> list[str]:
    return [f"the number {scene.digit.value} is shown."] if scene.digit else []


def _relation_sentences(scene: Scene, rng: random.Random, count: int) -> list[str]:
    return _statements(scene, rng, SENTENCE_SKILLS, count)


def _statements(scene: Scene, rng: random.Random, skills: Sequence[str], count: int) -> list[str]:
    asks = [SKILLS[skill](scene, rng) for skill in rng.sample(skills, len(skills))]
    known = [(ask, ask.rule(scene)) for ask in asks if ask is not None]
    return [ask.claim(answer).statement for ask, answer in known if answer is not None][:count]
