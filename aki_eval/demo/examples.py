"""Pictures and questions to begin with: scenes of the toy world, and the question of the published model's card."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.toy_world import Scene

CARD_QUESTION = "Describe the scene of this image."
"""https://huggingface.co/Sony/AKI-4B-phi-3.5-mini"""
LARGE = 8
"""Pixels a side for each of a scene's, where a model is shown more than the toy is."""


class Suggestion(NamedTuple):
    """A picture's file and a question."""

    picture: str
    question: str


def write_examples(folder: Path, *, toy: bool) -> list[Suggestion]:
    """Writes the pictures. A toy is asked what it was trained to answer; another model first what the card asks."""
    from benchmarks.toy_world import image

    found = []
    for number, (scene, question) in enumerate(islice(_asked(), 4)):
        path = folder / f"scene_{number}.png"
        drawn = image(scene)
        drawn.resize([side * (1 if toy else LARGE) for side in drawn.size], 0).save(path)
        found.append(Suggestion(str(path), CARD_QUESTION if number == 0 and not toy else question))
    return found


def _asked() -> Iterator[tuple[Scene, str]]:
    """Scenes that no toy is trained on, each with a question of another kind that has one answer."""
    from benchmarks.toy_world import scenes, skills

    rng = random.Random("demo")
    asks = iter((skills.color, skills.number, skills.existence, skills.count))
    wanted = next(asks)
    for scene in scenes("demo", 200, "eval"):
        ask = wanted(scene, rng)
        if ask is not None and len(scene.things) > 1:
            yield scene, ask.text
            wanted = next(asks, wanted)
