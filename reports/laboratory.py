"""The tables of an experiment with masks, where the runs hold one: other masks, and what image tokens know."""

from __future__ import annotations

from benchmarks.results.inside import arm_inside

from .crossed import cross_table
from .inside_tables import inside_tables
from .paper_tables import Plan
from .tables import Table


def laboratory_tables(plan: Plan) -> list[Table]:
    """Models under other masks than their own, and the image tokens of those arms that somebody looked into."""
    crossed = cross_table(plan)
    seen = [found for arm in plan.arms if (found := arm_inside(arm)) is not None]
    return [*([] if crossed is None else [crossed]), *(inside_tables(seen) if seen else [])]
