"""Questions that say which object of their picture they are about, for probes: is it known where the picture is read?

From the toy world, whose questions name one thing, and from files of JSON lines:

    {"image": "kitchen.jpg", "question": "What is left of the cup?", "asked": {"place": "top left", "name": "cup"}}

`asked` holds properties of the object asked about, as words; each is probed for by itself. `image` is a path from the
file's folder. `split` ("fit" or "test") may say which pictures are for what; else a checksum of the path does, half of
them each. All questions about a picture are on one side. Benchmarks' own tables name no such object and are refused.
"""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import UserError
from .records import ImageRef

Side = Literal["fit", "test"]
TOY = "toy"
SUFFIX = ".jsonl"
TOY_SKILLS = ("size", "position")
"""Of these every question names one thing; of the first, nothing that is probed for is the answer."""
MOST_DRAWS = 400
TOY_PROMPT = "\nAnswer the question using a single word or phrase. {question}"


@dataclass(frozen=True, kw_only=True)
class AskedAbout:
    """A question and the object it is about.

    `prompt` is what the user says behind the picture, `question` the part of it whose words are looked at. Questions
    about one picture share their `image.key`. `asked`: property of the object asked about -> value.
    """

    index: str
    image: ImageRef
    prompt: str
    question: str
    asked: dict[str, str] = field(hash=False)
    side: Side


def read_questions(source: str, num_pictures: int) -> list[AskedAbout]:
    """Of the toy world or a file; questions about a picture stand together.

    Args:
        source: `toy`, or a file of JSON lines.
        num_pictures: about so many are fitted on, half as many are tested on; of a file the first ones.

    Raises:
        UserError: nothing of the kind, or nothing to fit or to test on.
    """
    if source != TOY and not source.endswith(SUFFIX):
        raise UserError(
            f"--data {source!r} does not say which object its questions are about; expected {TOY!r}, or a file "
            f'NAME{SUFFIX} of lines {{"image": ..., "question": ..., "asked": {{"place": "top left"}}}}'
        )
    found = list(_toy(num_pictures) if source == TOY else _of_file(Path(source), num_pictures))
    for side in get_args(Side):
        if sum(each.side == side for each in found) < 2:
            raise UserError(f"--data {source}: fewer than two questions to {side}; give more pictures")
    return found


def checksum(questions: Sequence[AskedAbout]) -> str:
    """Of all that is asked: results with the same one are of the same questions."""
    content = [[each.index, each.image.key, each.prompt, sorted(each.asked.items()), each.side] for each in questions]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


# -- the toy world ----------------------------------------------------------------------------------------------------


def _toy(num_pictures: int) -> Iterator[AskedAbout]:
    """Every thing of a picture is asked about once: who knows the picture alone does no better than guess one of them.

    Fitted on arrangements that models are trained on, tested on those that none is.
    """
    from . import toy_world

    sides: tuple[tuple[Side, toy_world.Split, int], ...] = (
        ("fit", "train", num_pictures),
        ("test", "eval", max(1, num_pictures // 2)),
    )
    for side, split, number in sides:
        rng = random.Random(f"asked about {split}")
        scenes = (scene for scene in toy_world.scenes(f"asked about {split}", split=split) if len(scene.things) > 1)
        asked = (found for place, scene in enumerate(scenes) if (found := _about(scene, side, place, rng)))
        for questions in islice(asked, number):
            yield from questions


def _about(scene: Any, side: Side, place: int, rng: random.Random) -> list[AskedAbout]:
    """A question for each thing; none where some thing is never named."""
    from .toy_world.render import png
    from .toy_world.skills import SKILLS

    skill = TOY_SKILLS[place % len(TOY_SKILLS)]
    texts: dict[str, str] = {}
    for _ in range(MOST_DRAWS):
        ask = SKILLS[skill](scene, rng)
        value = ask.rule(scene) if ask else None
        if ask is None or value is None or len(texts) == len(scene.things):
            break
        texts[ask.claim(value).subject.removeprefix("the ")] = ask.text
    named = {name: thing for name in texts if (thing := scene.named(name)) is not None}
    if len(named) < len(scene.things):
        return []
    picture = ImageRef(f"{side}{place}", lambda: png(scene))
    return [
        AskedAbout(
            index=f"{side}{place}/{name}",
            image=picture,
            prompt=TOY_PROMPT.format(question=texts[name]),
            question=texts[name],
            asked={"place": thing.place, "color": thing.color, "shape": thing.shape},
            side=side,
        )
        for name, thing in named.items()
    ]


# -- files ------------------------------------------------------------------------------------------------------------


def _of_file(path: Path, num_pictures: int) -> Iterator[AskedAbout]:
    """The file's questions, picture by picture in the order in which these first stand there."""
    by_picture: dict[str, list[AskedAbout]] = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"--data {path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            each = _of_line(path, number, line)
            by_picture.setdefault(each.image.key, []).append(each)
    left: dict[str, int] = {"fit": num_pictures, "test": max(1, num_pictures // 2)}
    properties: set[str] | None = None
    for questions in by_picture.values():
        side = questions[0].side
        if len({each.side for each in questions}) > 1:
            raise UserError(f"--data {path}: {questions[0].image.key} stands on both sides, to fit and to test on")
        if left[side] <= 0:
            continue
        left[side] -= 1
        for each in questions:
            properties = set(each.asked) if properties is None else properties
            if set(each.asked) != properties:
                raise UserError(
                    f"--data {path} line {each.index}: asked has {', '.join(sorted(each.asked))}, the first line "
                    f"{', '.join(sorted(properties))}; every line names the same properties"
                )
            yield each


def _of_line(path: Path, number: int, line: str) -> AskedAbout:
    """Raises UserError for what is no such question."""
    where = f"--data {path} line {number}"
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{where} is a {type(content).__name__}, expected an object")
    texts = {name: content.get(name) for name in ("image", "question")}
    for name, text in texts.items():
        if not (isinstance(text, str) and text.strip()):
            raise UserError(f"{where}: {name} is {text!r}, expected a text")
    asked = content.get("asked")
    if not (isinstance(asked, dict) and asked and all(isinstance(value, str) and value for value in asked.values())):
        raise UserError(
            f"{where} does not say which object the question is about: asked is {str(asked)[:60]!r}, expected an "
            'object of texts such as {"place": "top left"}'
        )
    picture = path.parent / texts["image"]
    if not picture.is_file():
        raise UserError(f"{where}: no picture {picture}")
    side = content.get("split", ("fit", "test")[zlib.crc32(texts["image"].encode()) % 2])
    if side not in get_args(Side):
        raise UserError(f"{where}: split is {side!r}, expected fit or test")
    return AskedAbout(
        index=str(number),
        image=ImageRef(texts["image"], picture.read_bytes),
        prompt=texts["question"],
        question=texts["question"],
        asked=asked,
        side=side,
    )
