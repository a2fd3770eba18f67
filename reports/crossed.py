"""Models measured under another mask than they were trained with: all questions together, arms and pairs.

One number cannot stand for twelve columns, and this table does not stand beside the paper's; columns stand in Tables 1
and 2 as for any run. Here every question of the benchmarks that need no judge counts once under its benchmark's
headline protocol, and intervals respect pictures as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmarks.arms import Seeded, arm_difference, arm_estimate
from benchmarks.estimates import Columns
from benchmarks.paired_tests import Difference, holm
from benchmarks.printable import in_words
from benchmarks.records import Score
from benchmarks.results.arms import Arm
from benchmarks.results.folder import RunFolder
from benchmarks.results.pairing import align, asked_differently_by_arms, pair

from .comparison_tables import arm_cell
from .inside_tables import difference_text
from .paper_tables import Plan
from .tables import Cell, Column, Row, Table

HOW = (
    "Questions right over all benchmarks scored without a judge, per cent, each under its headline protocol. Of "
    "several seeds means; ±q: 95 % by questions, ±s: by training seeds; differences have both, paired by question and "
    "seed. ▲ and ▼: p < 0.05 after Holm's correction over the table's differences."
)


def unjudged(arm: Arm) -> list[str]:
    return [task for task in arm.tasks if not arm.runs[0].results[task].about.judged]


def right(arm: Arm) -> Seeded:
    """Per cent of questions right, by training seed."""
    return _seeded(arm, {task: align(task, arm.runs[0].results[task].headline, arm) for task in unjudged(arm)})


def right_difference(a: Arm, b: Arm) -> Difference | None:
    """B minus A, on the benchmarks that both were asked the same; None where there are none."""
    first, second = {}, {}
    for task in unjudged(a):
        if task in unjudged(b) and not asked_differently_by_arms(task, a, b):
            pairs = pair(task, a.runs[0].results[task].headline, a, b)
            first[task], second[task] = pairs.runs_a, pairs.runs_b
    return arm_difference(_seeded(a, first), _seeded(b, second)) if first else None


def _seeded(arm: Arm, aligned: Mapping[str, Sequence[Sequence[Score]]]) -> Seeded:
    found = {}
    for place, key in enumerate(arm.keys):
        own = [(task, score) for task, runs in aligned.items() for score in runs[place]]
        columns = Columns([replace(score, cluster=f"{task}/{score.cluster}") for task, score in own])
        found[key] = columns.mean(columns.everything)
    return found


def masks_of(arm: Arm) -> tuple[str, str] | None:
    """(trained kind, used kind), with layers of other kinds; None where a run does not say, or its runs differ."""
    found = {_masks(run) for run in arm.runs}
    return found.pop() if len(found) == 1 else None


def _masks(run: RunFolder) -> tuple[str, str] | None:
    model = run.record.model if run.record else None
    if model is None or model.trained_attention is None or model.attention is None:
        return None
    extra = model.model_extra or {}
    layers = [extra.get(name) for name in ("trained_attention_layers", "attention_layers")]
    kinds = (model.trained_attention, model.attention)
    trained, used = (f"{kind} ({in_words(own)})" if own else kind for kind, own in zip(kinds, layers, strict=True))
    return trained, used


def weights_of(arm: Arm) -> frozenset[str]:
    """Checksums of its runs' weights, where they are known."""
    extras = [(run.record.model.model_extra or {}) if run.record else {} for run in arm.runs]
    return frozenset(str(extra["weights_sha256"]) for extra in extras if extra.get("weights_sha256"))


class CrossedModel(NamedTuple):
    """A recipe's models by the mask that they were used with.

    `label` is that of their runs under their own mask, where there are any.
    """

    label: str
    trained: str
    by_mask: dict[str, Arm]


def crossed_models(arms: Sequence[Arm]) -> list[CrossedModel]:
    """Those that were measured under another mask than their own.

    Which runs are of one model follows from run.json: the same weights, trained with one kind and used with another.
    """
    masks = [(arm, found) for arm in arms if (found := masks_of(arm)) is not None]
    models = [CrossedModel(arm.label, trained, {trained: arm}) for arm, (trained, used) in masks if trained == used]
    for arm, (trained, used) in masks:
        if trained != used:
            weights = weights_of(arm)
            home = next((each for each in models if weights and weights <= _own_weights(each)), None)
            if home is None:
                models.append(CrossedModel(arm.label, trained, {used: arm}))
            else:
                home.by_mask[used] = arm
    return [each for each in models if set(each.by_mask) != {each.trained}]


def _own_weights(model: CrossedModel) -> frozenset[str]:
    return weights_of(model.by_mask[model.trained]) if model.trained in model.by_mask else frozenset()


def cross_table(plan: Plan) -> Table | None:
    """Models as rows, the masks that they were used with as columns; None where all were under their own."""
    models = crossed_models(plan.arms)
    if not models:
        return None
    masks = list(dict.fromkeys(mask for model in models for mask in (model.trained, *model.by_mask)))
    moved = {
        (place, mask): right_difference(model.by_mask[model.trained], arm)
        for place, model in enumerate(models)
        for mask, arm in model.by_mask.items()
        if mask != model.trained and model.trained in model.by_mask
    }
    holms = dict(zip(moved, holm([each.p if each else None for each in moved.values()]), strict=True))
    rows = []
    for place, model in enumerate(models):
        values = [_right_cell(model.by_mask[mask]) if mask in model.by_mask else Cell() for mask in masks]
        rows.append(Row(label=model.label, cells=(Cell(text=model.trained), *values), kind="run"))
        if model.trained in model.by_mask:
            keys = [(place, mask) for mask in masks]
            steps = [difference_text(moved[key], holms[key]) if key in moved else Cell(text="") for key in keys]
            label = f"{model.label}, minus its own mask"
            rows.append(Row(label=label, cells=(Cell(text=model.trained), *steps), kind="difference"))
    single = any(len(arm.runs) == 1 for model in models for arm in model.by_mask.values())
    return Table(
        key="cross",
        title="Trained with one mask, used with another",
        corner="model",
        columns=(
            Column(label="trained", kind="run", text=True),
            *(Column(label=f"used {mask}", kind="run") for mask in masks),
        ),
        rows=tuple(rows),
        remarks=(
            HOW,
            "What a mask does while a model learns and what it does while it answers are two things. A difference here "
            "is the second alone: the weights are the same.",
            *(("With one seed: training-seed variance not included.",) if single else ()),
        ),
    )


def _right_cell(arm: Arm) -> Cell:
    return arm_cell(arm_estimate(right(arm))) if unjudged(arm) else Cell()
