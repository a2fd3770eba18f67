"""What is compared: the rows of Table 1, DOT at equal compute beside its double cost, masks the paper lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.errors import UserError

from ..data.collate import ImageOrder
from ..recipe import Kind, load_recipe


@dataclass(frozen=True, kw_only=True)
class RowStage:
    """One stage of a row. `share`: of the steps that a stage of its kind has."""

    kind: Kind
    attention: str
    image_order: ImageOrder
    attention_layers: tuple[tuple[str, str], ...] = ()
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """A line of Table 1, or one beside it."""

    name: str
    title: str
    stages: tuple[RowStage, ...]
    note: str = ""


TABLE_1 = (
    "it_it",
    "cca",
    "mma",
    "dot_without_it_pretraining",
    "dot_without_ti_pretraining",
    "dot_without_it_sft",
    "dot_without_ti_sft",
    "dot",
)
"""Recipes with a row of Table 1, those that a budget should reach first in front."""
EQUAL = "dot_equal"
NEW_KINDS = ("v2v", "future", "prefix", "mma_v2v")
LATE = "mma_late"
THIRD = 3
"""`mma_late`: the first third of the layers is causal."""


def all_rows(num_layers: int) -> dict[str, AblationRow]:
    """Every row by name; `num_layers` of the text backbone."""
    printed = {name: _of_recipe(name) for name in TABLE_1}
    causal = printed["it_it"].stages
    halves = tuple(
        RowStage(kind=stage.kind, attention=stage.attention, image_order=stage.image_order, share=0.5)
        for stage in printed["dot"].stages
    )
    first_third = ((f"0-{max(1, num_layers // THIRD) - 1}", "causal"),)
    made = [
        AblationRow(name=EQUAL, title="DOT, equal compute", stages=halves, note="every stage has half the steps"),
        *(
            AblationRow(name=kind, title=kind, stages=(causal[0], _fine_tuning(kind)), note="not in the paper")
            for kind in NEW_KINDS
        ),
        AblationRow(
            name=LATE,
            title="MMA, first third causal",
            stages=(causal[0], _fine_tuning("mma", first_third)),
            note="not in the paper",
        ),
    ]
    found = {row.name: row for row in made}
    order = [*TABLE_1[:3], "v2v", "future", "prefix", "mma_v2v", LATE, *TABLE_1[3:-1], EQUAL, "dot"]
    return {name: printed.get(name) or found[name] for name in order}


def choose_rows(text: str, num_layers: int) -> list[AblationRow]:
    """`all`, `table1`, or names separated by commas; `causal` is `it_it`.

    Raises:
        UserError: an unknown name, or none.
    """
    known = all_rows(num_layers)
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return list(known.values())
    if names == ["table1"]:
        names = [name for name in known if name in TABLE_1]
    names = list(dict.fromkeys("it_it" if name == "causal" else name for name in names))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UserError(f"--rows {text!r}: expected all, table1, or some of {', '.join(known)}")
    return [known[name] for name in names]


def _of_recipe(name: str) -> AblationRow:
    recipe = load_recipe(name)
    return AblationRow(
        name=name,
        title=recipe.title,
        stages=tuple(
            RowStage(kind=stage.kind, attention=stage.attention, image_order=stage.image_order)
            for stage in recipe.stages
        ),
    )


def _fine_tuning(kind: str, layers: Sequence[tuple[str, str]] = ()) -> RowStage:
    return RowStage(kind="sft", attention=kind, image_order="image_first", attention_layers=tuple(layers))
