"""Scenes: a 2 x 2 grid that holds one to four things and sometimes a digit.

A *thing* has a shape, a color, a size and a cell. Size is the depth cue of this world: near things are drawn large, far
ones small. No two things of a scene agree in both shape and color, so "the red square" always names one thing.

Training and evaluation scenes are disjoint by construction: a checksum of its content (jitter left out) says to which
splits a scene belongs, so no arrangement that is trained on is ever evaluated, whatever seeds are used.
"""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "eval", "fit", "test"]
"""Remainders of the checksum by 8. train: 1 to 7, the toy's. eval: 0, of the tables; whatever was chosen was chosen on
these. test: 1, for a finding, looked at once. fit: 2 to 7, what a model trains on that is asked about test scenes."""

Size = Literal["small", "large"]
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels, as COCO writes boxes."""

SHAPES = ("circle", "square", "triangle")
COLORS = ("red", "green", "blue", "yellow", "purple", "cyan")
SIZES: tuple[Size, ...] = ("small", "large")
CELL = 24
IMAGE_SIZE = 2 * CELL
MAX_THINGS = 4
MAX_JITTER = 2
RADIUS: dict[str, int] = {"small": 5, "large": 9}
DIGIT_SHARE = 0.35
NUM_PARTS = 8
PARTS: dict[Split, frozenset[int]] = {
    "train": frozenset(range(1, NUM_PARTS)),
    "eval": frozenset({0}),
    "fit": frozenset(range(2, NUM_PARTS)),
    "test": frozenset({1}),
}


@dataclass(frozen=True, slots=True)
class Thing:
    """One shape. `cell` counts 0 1 / 2 3 from the upper left; `x`, `y` is its centre in pixels."""

    shape: str
    color: str
    size: Size
    cell: int
    x: int
    y: int

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"

    @property
    def row(self) -> int:
        return self.cell // 2

    @property
    def column(self) -> int:
        return self.cell % 2

    @property
    def place(self) -> str:
        return f"{('top', 'bottom')[self.row]} {('left', 'right')[self.column]}"

    @property
    def box(self) -> Box:
        radius = RADIUS[self.size]
        return (self.x - radius, self.y - radius, 2 * radius + 1, 2 * radius + 1)


@dataclass(frozen=True, slots=True)
class Digit:
    """A white digit in a cell of its own."""

    value: int
    cell: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Things in the order of their cells, and the digit if there is one."""

    things: tuple[Thing, ...]
    digit: Digit | None = None

    @property
    def content(self) -> str:
        """What is where, without jitter: equal contents are the same arrangement."""
        cells = [f"{thing.cell}{thing.size} {thing.name}" for thing in self.things]
        return ";".join([*cells, f"{self.digit.cell}digit {self.digit.value}" if self.digit else ""])

    def belongs_to(self, split: Split) -> bool:
        return zlib.crc32(self.content.encode()) % NUM_PARTS in PARTS[split]

    def find(self, *, shape: str | None = None, color: str | None = None) -> list[Thing]:
        """The things that have this shape and this color (None: any)."""
        return [
            thing
            for thing in self.things
            if (shape is None or thing.shape == shape) and (color is None or thing.color == color)
        ]

    def named(self, name: str) -> Thing | None:
        """The thing called `name` ("red square"), if it is here."""
        return next((thing for thing in self.things if thing.name == name), None)


def all_names() -> list[str]:
    """The eighteen names a thing can have."""
    return [f"{color} {shape}" for color, shape in itertools.product(COLORS, SHAPES)]


def scenes(seed: int | str, count: int | None = None, split: Split = "train") -> Iterator[Scene]:
    """`count` scenes of a split (endlessly many when None), the same for the same seed on every machine."""
    rng = random.Random(f"toy world {seed}")
    drawn = (scene for scene in map(_draw, itertools.repeat(rng)) if scene.belongs_to(split))
    return itertools.islice(drawn, count)


def _draw(rng: random.Random) -> Scene:
    num_things = rng.randint(1, MAX_THINGS)
    cells = rng.sample(range(4), 4)
    names = rng.sample(all_names(), num_things)
    things = [_thing(name, cell, rng) for name, cell in zip(names, cells, strict=False)]
    digit = None
    if num_things < MAX_THINGS and rng.random() < DIGIT_SHARE * MAX_THINGS / (MAX_THINGS - 1):
        cell = cells[num_things]
        digit = Digit(rng.randrange(10), cell, *_centre(cell, rng))
    return Scene(tuple(sorted(things, key=lambda thing: thing.cell)), digit)


def _thing(name: str, cell: int, rng: random.Random) -> Thing:
    color, shape = name.split()
    return Thing(shape, color, rng.choice(SIZES), cell, *_centre(cell, rng))


def _centre(cell: int, rng: random.Random) -> tuple[int, int]:
    row, column = divmod(cell, 2)
    jitter_x, jitter_y = rng.randint(-MAX_JITTER, MAX_JITTER), rng.randint(-MAX_JITTER, MAX_JITTER)
    return (column * CELL + CELL // 2 + jitter_x, row * CELL + CELL // 2 + jitter_y)
