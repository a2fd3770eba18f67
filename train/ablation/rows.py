"""What is compared: the rows of Table 1, DOT at equal compute beside its double cost, masks the paper lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
    """A line of Table 1, or one beside it. `num_seeds`: its trainings; None: as many as the others."""

    name: str
    title: str
    stages: tuple[RowStage, ...]
    note: str = ""
    num_seeds: int | None = None

    def seeds_of(self, others: int) -> int:
        """How many trainings it has where rows that do not say have `others`."""
        return others if self.num_seeds is None else self.num_seeds


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


MOST_SEEDS = 1000


def choose_rows(text: str, num_layers: int) -> list[AblationRow]:
    """Names separated by commas, each once: of rows (`causal` is `it_it`), `all` or `table1`.

    `NAME:K` gives a row K seeds of its own. Where a name comes twice, the last says how many:
    `table1:3,causal,mma` are five seeds of two rows and three of six, with --seeds 5.

    Raises:
        UserError: an unknown name, none, or a number of seeds that is none.
    """
    known = all_rows(num_layers)
    chosen: dict[str, int | None] = {}
    for part in text.split(","):
        name, colon, num = part.strip().partition(":")
        names = _names(name, known)
        if not names:
            raise UserError(f"--rows {text!r}: expected all, table1, or some of {', '.join(known)}; not {name!r}")
        if colon and not (num.isascii() and num.isdecimal() and len(num) < 5 and 0 < int(num) <= MOST_SEEDS):
            raise UserError(
                f"--rows {text!r}: expected 1 to {MOST_SEEDS} seeds behind a colon, such as dot:3; not {num!r}"
            )
        chosen |= dict.fromkeys(names, int(num) if colon else None)
    return [replace(known[name], num_seeds=num_seeds) for name, num_seeds in chosen.items()]


def _names(name: str, known: Iterable[str]) -> list[str]:
    """What a word of --rows stands for; nothing where it is unknown."""
    if name == "all":
        return list(known)
    if name == "table1":
        return [row for row in known if row in TABLE_1]
    name = "it_it" if name == "causal" else name
    return [name] if name in known else []


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
