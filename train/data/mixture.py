"""The mixture of instruction sets (Table 4), drawn without state.

Sample number `position` of a run is a function of (seed, position) alone: which set, which question, the order of
its options. So a resumed run, and a run with any number of workers, sees the same samples. As in the original, a set
is drawn by its probability and a question of it uniformly, with replacement.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate

import numpy as np
import torch

from benchmarks.errors import UserError

from .held_out import HeldOut, Split, chosen
from .instructions import InstructionData
from .instructions.base import Example
from .pictures import PictureReader, UnreadablePicture
from .samples import Item, Skip

MAX_ATTEMPTS = 10


class Mixture(torch.utils.data.Dataset[Item]):
    """The samples of a whole stage, by position.

    Args:
        data: the sets by name.
        weights: their probabilities, any positive scale.
        num_samples: steps times batch size.
        split: what is never drawn; None: everything may be.

    Raises:
        UserError: the split leaves nothing of a set.
    """

    def __init__(
        self,
        data: Mapping[str, InstructionData],
        weights: Mapping[str, float],
        *,
        pictures: PictureReader,
        num_samples: int,
        seed: int,
        augmentation: str = "none",
        split: Split | None = None,
    ) -> None:
        self.data = dict(data)
        self.pictures = pictures
        self.num_samples = num_samples
        self.seed = seed
        self.augmentation = augmentation
        self._names = list(self.data)
        self._cumulated = list(accumulate(weights[name] for name in self._names))
        self.weights = dict(weights)
        self.split = split
        for name, rows in self.data.items():
            if all(self._is_held_out(name, index) for index in range(len(rows))):
                raise UserError(f"validation: share = {split.share if split else 0} holds out all of {name}; lower it")

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> Item:
        """A sample of the stage's mixture.

        Raises:
            UserError: ten draws in a row cannot be read: then something is wrong with the data as a whole.
        """
        skipped: list[Skip] = []
        for attempt in range(MAX_ATTEMPTS):
            name, index, rng = self.draw(position, attempt)
            example = self.data[name].example(index, rng)
            try:
                return self._item(name, example, rng, tuple(skipped))
            except (OSError, UnreadablePicture) as error:
                reason = str(error) if isinstance(error, UnreadablePicture) else f"{type(error).__name__}: {error}"
                skipped.append(Skip(source=name, record=str(example.image), reason=reason))
        raise UserError(
            f"{MAX_ATTEMPTS} pictures in a row could not be read, the last {skipped[-1].record} "
            f"({skipped[-1].reason}); "
            "check the data root with `aki-train data check`"
        )

    def draw(self, position: int, attempt: int = 0) -> tuple[str, int, random.Random]:
        """Set, number of the question in it, and the randomness left for the sample itself."""
        rng = random.Random(f"{self.seed} {position} {attempt}")
        name = rng.choices(self._names, cum_weights=self._cumulated)[0]
        index = rng.randrange(len(self.data[name]))
        while self._is_held_out(name, index):
            index = rng.randrange(len(self.data[name]))
        return name, index, rng

    def _is_held_out(self, name: str, index: int) -> bool:
        return self.split is not None and self.split.holds_out(self.data[name].key(index))

    def held_out(self, samples: int) -> list[HeldOut]:
        """Up to so many held-out samples of each set, always the same ones.

        Raises:
            UserError: a set has none.
        """
        assert self.split is not None, "asked only of what is split"
        found = []
        for name, rows in self.data.items():
            order = np.random.default_rng(0).permutation(len(rows)).tolist()
            held = (index for index in order if self._is_held_out(name, index))
            indices = chosen(held, samples, name, self.split.share)
            item = partial(self._held_out_item, name, indices)
            found.append(HeldOut(name, self.weights[name], len(indices), item))
        return found

    def _held_out_item(self, name: str, indices: Sequence[int], number: int) -> Item:
        rng = random.Random(f"held out {name} {indices[number]}")
        example = self.data[name].example(indices[number], rng)
        picture = self.pictures(example.image, rng, False) if example.image else None
        return Item(prompt=example.prompt, answer=example.answer, picture=picture, source=name)

    def outline(self, position: int) -> Item:
        """The sample without its picture: for measuring; a picture that cannot be read will make it another one."""
        name, index, rng = self.draw(position)
        example = self.data[name].example(index, rng)
        picture: dict[str, torch.Tensor] | None = {} if example.image else None
        return Item(prompt=example.prompt, answer=example.answer, picture=picture, source=name)

    def _item(self, name: str, example: Example, rng: random.Random, skipped: tuple[Skip, ...]) -> Item:
        may_augment = self.augmentation == "original" or (
            self.augmentation == "safe" and self.data[name].instruction_set.augmentable
        )
        picture = self.pictures(example.image, rng, may_augment) if example.image else None
        return Item(prompt=example.prompt, answer=example.answer, picture=picture, source=name, skipped=skipped)
