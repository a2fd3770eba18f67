"""Run folders on a command line, in groups with `--` between them: each group is an arm, a group of one is a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from benchmarks.errors import UserError
from benchmarks.results.arms import Arm, make_arm
from benchmarks.results.folder import open_runs

BETWEEN = "\x1f"
"""What `--` becomes on its way through the parser, which would take everything behind it for arguments."""


class SidesCommand(TyperCommand):
    """A command whose arguments may be groups with `--` between them; options may stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [BETWEEN if arg == "--" else arg for arg in args])


def groups_of(paths: Sequence[Path]) -> list[list[Path]]:
    """The groups, in order.

    Raises:
        UserError: nothing on one side of a `--`.
    """
    separated = Path(BETWEEN) in paths
    groups = [list(group) for between, group in groupby(paths, Path(BETWEEN).__eq__) if not between]
    if separated and len(groups) != sum(path == Path(BETWEEN) for path in paths) + 1:
        raise UserError("nothing stands on one side of --: give run folders on both (does the pattern match any?)")
    return groups


def open_arms(groups: Sequence[Sequence[Path]]) -> list[Arm]:
    """Opens all runs and makes an arm of each group.

    Raises:
        UserError: as `open_runs` and `make_arm`.
    """
    runs = iter(open_runs([path for group in groups for path in group]))
    arms = [make_arm([next(runs) for _ in group]) for group in groups]
    labels = [arm.label for arm in arms]
    return [
        arm if labels.count(arm.label) == 1 else Arm(f"{arm.label} #{number}", arm.runs)
        for number, arm in enumerate(arms, start=1)
    ]


def two_sides(paths: Sequence[Path]) -> tuple[Arm, Arm]:
    """Two runs, or two arms with `--` between them.

    Raises:
        UserError: anything else.
    """
    groups = groups_of(paths)
    if len(groups) == 1 and len(paths) == 2:
        groups = [[paths[0]], [paths[1]]]
    if len(groups) != 2:
        found = f"{len(paths)} run folders" if len(groups) == 1 else f"{len(groups)} groups"
        raise UserError(f"{found}: expected two runs, or two arms of runs with -- between them (A1 A2 -- B1 B2)")
    first, second = open_arms(groups)
    return first, second
