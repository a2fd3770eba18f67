"""Which process takes which samples of an optimizer step, and in which micro-batch.

The samples of a step are the stage's; dealing them changes neither loss nor gradient (every learned token of a step
weighs the same), only how long the processes wait for each other. A micro-batch costs its number of rows times its
longest row, and the step lasts as long as its slowest process.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from .collate import Encoder
from .mixture import Mixture


@dataclass(frozen=True, kw_only=True)
class Dealing:
    """How the samples of a step become `slots` micro-batches for each of `world_size` processes.

    even_rows: micro-batches of as many rows each; else, with several processes, of as much work each.
    image_cost: work of a picture, in positions of the text backbone.
    """

    world_size: int = 1
    slots: int = 1
    sorts: bool = True
    even_rows: bool = False
    image_cost: float = 0.0

    def deal(self, lengths: Sequence[int], pictures: Sequence[bool]) -> list[list[int]]:
        """Micro-batch s of process r is number s * world_size + r: indices of samples, in order; it may be empty."""
        order = list(range(len(lengths)))
        if self.sorts:
            order.sort(key=lengths.__getitem__)
        num_bins = self.world_size * self.slots
        if not self.sorts or self.even_rows or self.world_size == 1:  # alone, nobody waits
            return even_rows(order, num_bins)
        return even_work(order, [lengths[i] for i in order], [pictures[i] * self.image_cost for i in order], num_bins)


def even_rows(order: Sequence[int], num_bins: int) -> list[list[int]]:
    """The order cut into pieces whose lengths differ by one at most."""
    each, more = divmod(len(order), num_bins)
    ends = [number * each + min(number, more) for number in range(num_bins + 1)]
    return [list(order[start:end]) for start, end in pairwise(ends)]


def even_work(order: Sequence[int], lengths: Sequence[int], extra: Sequence[float], num_bins: int) -> list[list[int]]:
    """The order, ascending by length, cut so that the costliest of `num_bins` pieces costs as little as possible.

    A piece costs rows x longest + the rows' `extra`. Cut from the long end with the smallest allowance that suffices;
    an allowance is tried by filling each piece as far as it goes.
    """
    low, high = 0.0, len(order) * max(lengths, default=0) + sum(extra)
    best = _cut(order, lengths, extra, high)
    while high - low > 0.5:
        middle = (low + high) / 2
        pieces = _cut(order, lengths, extra, middle)
        if len(pieces) <= num_bins:
            best, high = pieces, middle
        else:
            low = middle
    return best + [[] for _ in range(num_bins - len(best))]


def _cut(order: Sequence[int], lengths: Sequence[int], extra: Sequence[float], allowance: float) -> list[list[int]]:
    pieces: list[list[int]] = []
    longest, spent = 0, 0.0
    for index in reversed(range(len(order))):
        rows = len(pieces[-1]) + 1 if pieces else 0
        if not pieces or rows * longest + spent + extra[index] > allowance:
            pieces.append([])
            longest, spent = lengths[index], 0.0
        pieces[-1].append(order[index])
        spent += extra[index]
    return [piece[::-1] for piece in reversed(pieces)]


class DealtBatches(torch.utils.data.Sampler[list[int]]):
    """One process's micro-batches of a stage, as positions in the mixture, from a step on.

    Has no length: the Trainer counts steps.

    Args:
        batch_size: samples of a step.
        group_steps: the samples of so many steps are sorted together; each step then has samples of like length, and
            the steps come in random order. 1: the samples of every step are those that were drawn for it.
    """

    def __init__(
        self,
        mixture: Mixture,
        encoder: Encoder,
        dealing: Dealing,
        *,
        batch_size: int,
        group_steps: int = 1,
        rank: int = 0,
        first_step: int = 0,
    ) -> None:
        self.mixture = mixture
        self.encoder = encoder
        self.dealing = dealing
        self.batch_size = batch_size
        self.group_steps = max(1, group_steps)
        self.rank = rank
        self.first_step = first_step

    def __iter__(self) -> Iterator[list[int]]:
        num_steps = len(self.mixture) // self.batch_size
        for window in range(self.first_step // self.group_steps, -(-num_steps // self.group_steps)):
            start = window * self.group_steps
            steps = self._steps(window, start, min(start + self.group_steps, num_steps))
            for positions in steps[max(0, self.first_step - start) :]:
                yield from self._mine(positions)

    def _steps(self, window: int, start: int, end: int) -> list[list[int]]:
        positions = list(range(start * self.batch_size, end * self.batch_size))
        if self.group_steps > 1:
            lengths = dict(zip(positions, self._measured(positions)[0], strict=True))
            positions.sort(key=lengths.__getitem__)
        steps = [positions[at : at + self.batch_size] for at in range(0, len(positions), self.batch_size)]
        if self.group_steps > 1:
            random.Random(f"steps {self.mixture.seed} {window}").shuffle(steps)
        return steps

    def _mine(self, positions: Sequence[int]) -> list[list[int]]:
        lengths, pictures = self._measured(positions) if self.dealing.sorts else ([0] * len(positions), [])
        dealt = self.dealing.deal(lengths, pictures)
        return [[positions[index] for index in piece] for piece in dealt[self.rank :: self.dealing.world_size]]

    def _measured(self, positions: Sequence[int]) -> tuple[list[int], list[bool]]:
        outlines = [self.mixture.outline(position) for position in positions]
        lengths = [len(one.input_ids) for one in self.encoder(outlines)]
        return lengths, [item.picture is not None for item in outlines]
