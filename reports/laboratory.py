"""The tables of an experiment with masks, where the runs hold one: other masks, skills, what image tokens know."""

from __future__ import annotations

from benchmarks.results.inside import arm_inside

from .inside_tables import inside_tables
from .paper_tables import Plan
from .pooled import cross_table, skill_tables
from .tables import Table


def score_tables(plan: Plan) -> list[Table]:
    """Models under other masks than their own, and the toy world's skills."""
    crossed = cross_table(plan)
    return [*([] if crossed is None else [crossed]), *skill_tables(plan)]


def laboratory_tables(plan: Plan) -> list[Table]:
    """The same, and what image tokens know of those arms that somebody looked into."""
    seen = [found for arm in plan.arms if (found := arm_inside(arm)) is not None]
    return [*score_tables(plan), *(inside_tables(seen) if seen else [])]
