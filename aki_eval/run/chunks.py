"""The work of a session in pieces that any number of workers take one by one: `.workers/N/chunks.json` and `claims/`.

A *lot* is what is to be done for a task, `pope` (its answers) or `pope/likelihoods`; a chunk is some of its questions,
in the order of batching, and always all about a picture, so that no two workers encode it. Who opens the session writes
the list; a worker takes a chunk by making its claim, `claims/LOT-CHUNK.0`, with `O_CREAT | O_EXCL`. Should it die, the
next one makes `claims/LOT-CHUNK.1`: nothing is deleted or renamed, so nobody takes what somebody else has taken again.

Whoever was only thought to be dead goes on with its chunk. Then a question is answered twice, and counts once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.records import Prompt
from benchmarks.results.roll import Roll, create, note, read
from benchmarks.results.store import RunStore

from .batching import ordered
from .inputs import TaskInput
from .threads import share_machine

CHUNKS_A_LOT = 128
SMALLEST, LARGEST = 8, 128
"""Questions in a chunk. Small ones keep all workers busy to the end; a batch may be made of several."""
DONE = "done"

Lots = Mapping[str, Sequence[Sequence[str]]]
"""Lot -> chunks -> indices of questions."""


def cut(prompts: Sequence[Prompt]) -> list[list[str]]:
    """Chunks of prompts that are in the order of batching. Groups stay whole, and come where their first prompt was."""
    size = min(LARGEST, max(SMALLEST, -(-len(prompts) // CHUNKS_A_LOT)))
    groups: dict[tuple[str, ...], list[str]] = {}
    for prompt in prompts:
        groups.setdefault(_group(prompt), []).append(prompt.index)
    chunks: list[list[str]] = []
    for group in groups.values():
        if not chunks or len(chunks[-1]) >= size:
            chunks.append([])
        chunks[-1] += group
    return chunks


def _group(prompt: Prompt) -> tuple[str, ...]:
    """Its pictures; without any its words, so that prompts that are the same stay together too."""
    return tuple(image.key for image in prompt.images) or (prompt.text,)


def pending(folder: RunStore, given: TaskInput) -> list[Prompt]:
    """What has no answer yet. An error is no answer: it is asked again."""
    predictions = folder.predictions(given.task.name)
    known = {index for index, prediction in predictions.items() if prediction.error is None}
    return ordered([prompt for prompt in given.prompts if prompt.index not in known], given.open_ended)


class Chunk(NamedTuple):
    """`taken_over`: from a worker that may have done some of it."""

    lot: str
    number: int
    indices: Sequence[str]
    taken_over: bool


@dataclass
class Chunks:
    """The list, and which of it this worker has taken. `elsewhere` is told how many questions somebody else does."""

    folder: Path
    roll: Roll
    lots: Lots
    elsewhere: Callable[[str, int], None] = lambda lot, number: None
    _done: set[tuple[str, int]] = field(default_factory=set)
    _others: set[tuple[str, int]] = field(default_factory=set)
    _mine: dict[tuple[str, int], Path] = field(default_factory=dict)

    @classmethod
    def publish(cls, roll: Roll, lots: Lots) -> Chunks:
        """Writes the list. Only for who opened the session."""
        (roll.folder / "claims").mkdir(exist_ok=True)
        write_atomically(roll.folder / "chunks.json", json.dumps(lots) + "\n")
        return cls(roll.folder, roll, lots)

    @classmethod
    def join(cls, roll: Roll) -> Chunks:
        """The list of a session that is ready.

        Raises:
            UserError: it cannot be read.
        """
        path = roll.folder / "chunks.json"
        try:
            return cls(roll.folder, roll, json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); end all workers, delete {roll.folder.parent}") from error

    def count(self, lot: str) -> int:
        """Questions of a lot, whoever does them."""
        return sum(map(len, self.lots.get(lot, ())))

    def is_empty(self) -> bool:
        return not any(self.lots.values())

    def take(self, lot: str) -> Iterator[Chunk]:
        """Chunks that nobody has, as they are asked for; in later rounds also those of workers that have died."""
        for number, indices in enumerate(self.lots.get(lot, ())):
            if (lot, number) in self._done or (lot, number) in self._mine:
                continue
            generation = self._claim(lot, number)
            if generation is not None:
                yield Chunk(lot, number, indices, taken_over=generation > 0)

    def finish(self, lot: str, number: int) -> None:
        """Says that all of a chunk of one's own has been asked, and is on the disk."""
        note(self._mine.pop((lot, number)), DONE)
        self._done.add((lot, number))

    def all_done(self) -> bool:
        return len(self._done) == sum(map(len, self.lots.values()))

    def _claim(self, lot: str, number: int) -> int | None:
        """The generation of the claim; None where somebody else has the chunk, or had it and is done."""
        key, generation = (lot, number), 0
        while True:
            path = self.folder / "claims" / f"{list(self.lots).index(lot)}-{number}.{generation}"
            if create(path, f"{self.roll.number}\n"):
                if key in self._others:
                    self.elsewhere(lot, -len(self.lots[lot][number]))
                self._mine[key] = path
                share_machine(self.roll)
                return generation
            if key not in self._others:  # what it is can be looked at when nothing is free any more
                self._others.add(key)
                self.elsewhere(lot, len(self.lots[lot][number]))
                return None
            if self._is_done(path):
                self._done.add(key)
                return None
            if self._is_held(path):
                return None
            generation += 1

    def _is_done(self, path: Path) -> bool:
        found = read(path)
        return found is not None and DONE in found[0]

    def _is_held(self, path: Path) -> bool:
        found = read(path)
        if found is None:
            return False
        lines, stamp = found
        if lines and lines[0].isdecimal():
            return self.roll.is_alive(int(lines[0]))
        return self.roll.watch.is_fresh(path, stamp)  # made, and its maker killed before it wrote its number
