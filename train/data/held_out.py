"""Which samples are never trained on, and those of them on which the loss is measured.

A sample is held out by its picture: a hash of which picture it is decides, and nothing else, neither seed nor step nor
the number of processes. So all questions about a picture stay together, in every set that asks about it, and every
stage and seed holds out the same ones; those of a smaller share are among those of a larger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

from benchmarks.errors import UserError

from .samples import Item

T = TypeVar("T")
NUMBERED = re.compile(r"(?:COCO_[a-z]+\d+_)?0*(\d+)\.\w+")
"""COCO's releases of 2014 and 2017 name a picture differently and share its number, as GQA and Visual Genome do. That
Visual Genome took some of its pictures from COCO no name tells: those may be held out in one set and not in another."""
SPACE = 2**64


@dataclass(frozen=True)
class Split:
    """Holds out a share of all pictures, and of the questions without one."""

    share: float

    def holds_out(self, key: str | bytes) -> bool:
        """key: `picture_key` of a named picture, the bytes of a caption's, the text of a question without one."""
        content = key if isinstance(key, bytes) else key.encode()
        return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") < self.share * SPACE


class HeldOut(NamedTuple):
    """The held-out samples of one set on which is measured.

    item: sample number 0 to num - 1; raises UnreadablePicture where its picture cannot be read.
    weight: of the set in the stage's mixture.
    """

    name: str
    weight: float
    num: int
    item: Callable[[int], Item]


def picture_key(path: str) -> str:
    """What tells pictures apart: the number where files are named by one, else the path."""
    found = NUMBERED.fullmatch(PurePosixPath(path).name)
    return found[1] if found else path


def chosen(held: Iterator[T], wanted: int, name: str, share: float) -> Sequence[T]:
    """The first `wanted` of what is held out.

    Raises:
        UserError: there is none.
    """
    found = list(islice(held, wanted))
    if not found:
        raise UserError(
            f"validation: no sample of {name} is held out by share = {share}; raise it, or leave the table out"
        )
    return found
