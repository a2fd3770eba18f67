"""Arms: a recipe's runs, which differ by training seed and by nothing else. A single run is an arm of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError
from .folder import RunFolder

SEEDS_NOT_INCLUDED = "training-seed variance not included"
"""What a verdict on one training a side leaves open: another seed might have turned it."""


@dataclass(frozen=True)
class Arm:
    """`runs` are one recipe's, in the order given."""

    label: str
    runs: tuple[RunFolder, ...]

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError("an arm without runs: give at least one run folder on each side of --")
        known = [seed for seed in self.seeds if seed is not None]
        if len(set(known)) < len(known):
            twice = next(seed for seed in known if known.count(seed) > 1)
            raise UserError(f"{self.label} holds two runs of training seed {twice}: an arm counts each training once")
        _refuse_one_training_twice(self)

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """Training seeds; None where a run does not say."""
        return tuple(run.record.model.training_seed if run.record else None for run in self.runs)

    @property
    def keys(self) -> tuple[int | str, ...]:
        """Seeds to pair by; a run whose seed is not known gets a name that is no other run's."""
        return tuple(str(run.path) if seed is None else seed for seed, run in zip(self.seeds, self.runs, strict=True))

    @property
    def toy(self) -> bool:
        return any(run.toy for run in self.runs)

    @property
    def tasks(self) -> list[str]:
        """That all of its runs have scored, in the paper's order."""
        return [task for task in self.runs[0].results if all(task in run.results for run in self.runs)]


def as_arm(side: RunFolder | Arm) -> Arm:
    return side if isinstance(side, Arm) else Arm(side.label, (side,))


def make_arm(runs: Sequence[RunFolder]) -> Arm:
    """An arm with a name made of what its runs' names share: `mma-seed0 mma-seed1` are `mma (2 seeds)`.

    Raises:
        UserError: no runs, or one training twice.
    """
    if len(runs) < 2:
        return Arm(runs[0].label if runs else "", tuple(runs))
    shared = _shared_name([run.label for run in runs])
    if not shared:
        parents = {run.path.resolve().parent.name for run in runs}
        shared = parents.pop() if len(parents) == 1 else runs[0].label
    return Arm(f"{shared} ({len(runs)} seeds)", tuple(runs))


def _shared_name(labels: Sequence[str]) -> str:
    """What the labels begin with alike, letter by letter, without the word seed and what joins it."""
    length = next(
        (n for n, letters in enumerate(zip(*labels, strict=False)) if len(set(letters)) > 1), min(map(len, labels))
    )
    return re.sub(r"[\s\-_./]*(seeds?)?[\s\-_./=]*$", "", labels[0][:length].rstrip("0123456789"))


def _refuse_one_training_twice(arm: Arm) -> None:
    """The same weights under two names would pass for two draws of a seed that never differ."""
    weights: dict[object, str] = {}
    for run in arm.runs:
        extra = (run.record.model.model_extra or {}) if run.record else {}
        checksum = extra.get("weights_sha256")
        if checksum and checksum in weights:
            raise UserError(
                f"{weights[checksum]} and {run.label} were made by the same weights: an arm counts each training once"
            )
        weights[checksum] = run.label
