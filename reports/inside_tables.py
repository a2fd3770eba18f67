"""What image tokens know, as tables: `aki-eval inspect --data` and `aki-eval report` show the same ones.

Layer 0 is what comes into the first layer: there no question can have reached the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.arms import arm_estimate
from benchmarks.estimates import ALPHA
from benchmarks.paired_tests import Difference, holm
from benchmarks.results.inside import ArmInside, Looked, difference

from .comparison_tables import arm_cell
from .tables import Cell, Column, Row, Table

ARM, CONTROL, OVER = "probe", "shuffled labels", "over the picture alone"

HOW = (
    "A linear probe (ridge, its strength chosen on the training pictures) reads the property of the object asked about "
    "off the image tokens; tested on pictures it has not seen, every object of which is asked about. ± is half the "
    "width of the 95 % interval, by pictures.",
    "over the picture alone: the probe minus the most that any reader of the picture reaches who does not hear the "
    "question; ▲ and ▼: p < 0.05 after Holm's correction over the layers. Layer 0 comes before the first layer.",
)
ATTENTION = (
    "Shares of the image tokens' attention, averaged over tokens, heads and questions; the rest goes to other text. "
    "change: how far the image tokens behind the layer lie from those under another question about the same picture, "
    "relative to their length. What they are behind the last layer, no answer reads."
)


def layer_names(arm: ArmInside) -> list[str]:
    """`0 (in)`, then each layer with its kind."""
    return ["0 (in)", *(f"{place} {kind}" for place, kind in enumerate(arm.first.layers, start=1))]


def inside_tables(arms: Sequence[ArmInside], key: str = "inside") -> list[Table]:
    """A table for each property, then attention and change; the arms side by side."""
    names = [each.name for each in arms[0].first.properties]
    probes = [probe_table(arms, name, f"{key}_{name}", explained=not place) for place, name in enumerate(names)]
    return [*probes, attention_table(arms, f"{key}_attention")]


def probe_table(arms: Sequence[ArmInside], name: str, key: str, *, explained: bool = True) -> Table:
    """Layers as rows; of each arm the probe, by how much it beats the picture alone, and its control.

    explained: says how the numbers came about, which the first of several such tables does for all.
    """
    shown = [arm for arm in arms if any(each.name == name for each in arm.first.properties)]
    first = shown[0]
    rows = [
        Row(label=label, cells=_layer_cells(arm, name, layer, over), section=_section(arm, shown), kind="run")
        for arm in shown
        for layer, (label, over) in enumerate(zip(layer_names(arm), _overs(arm, name), strict=True))
    ]
    picture, words = first.picture_alone(name), first.words_alone(name)
    found = next(each for each in first.first.properties if each.name == name)
    return Table(
        key=key,
        title=f"The {name} of the object asked about, at the image tokens (per cent right)",
        corner="layer",
        columns=tuple(Column(label=label, kind="run") for label in (ARM, OVER, CONTROL)),
        rows=tuple(rows),
        remarks=(
            *(HOW if explained else ()),
            f"Without the image tokens: {picture.value:.1f} by the picture alone, {words.value:.1f} by the question's "
            f"words alone; {found.num_classes} values, {picture.num_scored} questions about {picture.num_clusters} "
            f"pictures, fitted on {first.first.num_fitted} others.",
            *_seeds(shown),
        ),
    )


def _section(arm: ArmInside, arms: Sequence[ArmInside]) -> str:
    return arm.label if len(arms) > 1 else ""


def _seeds(arms: Sequence[ArmInside]) -> tuple[str, ...]:
    if all(len(arm.records) == 1 for arm in arms):
        return ()
    return ("Of several training seeds means; ±q by pictures, ±s by seeds; differences have both.",)


def _overs(arm: ArmInside, name: str) -> list[tuple[Difference | None, float | None]]:
    """By layer what is above the picture alone, and its p after Holm's correction."""
    found = [arm.over_picture(name, layer) for layer in range(len(arm.first.layers) + 1)]
    return list(zip(found, holm([each.p if each else None for each in found]), strict=True))


def _layer_cells(
    arm: ArmInside, name: str, layer: int, over: tuple[Difference | None, float | None]
) -> tuple[Cell, Cell, Cell]:
    own, control = (arm_estimate(arm.accuracy(name, layer, control=control)) for control in (False, True))
    return arm_cell(own), difference_text(*over), arm_cell(control)


def difference_text(found: Difference | None, p_holm: float | None) -> Cell:
    """A difference as a cell, with its mark."""
    if found is None:
        return Cell()
    return Cell(
        value=found.value,
        ci95=found.ci95,
        p_value=found.p,
        p_holm=p_holm,
        test=found.test.name if found.test else None,
        significant=p_holm is not None and p_holm < ALPHA,
        signed=True,
    )


def attention_table(arms: Sequence[ArmInside], key: str) -> Table:
    """Layers as rows: where the image tokens look, and how far the question moves them."""
    shown: tuple[Looked, ...] = ("image_to_question", "image_to_image", "change")
    return Table(
        key=key,
        title="Image tokens, layer by layer (per cent)",
        corner="layer",
        columns=tuple(Column(label=label, kind="run") for label in ("to question", "to image", "change")),
        rows=tuple(
            Row(
                label=label,
                cells=tuple(arm_cell(arm.number(what, layer)) for what in shown),
                section=_section(arm, arms),
                kind="run",
            )
            for arm in arms
            for layer, label in enumerate(layer_names(arm)[1:], start=1)
        ),
        remarks=(ATTENTION, *_seeds(arms)),
    )


def pair_table(arms: Sequence[ArmInside], baseline: ArmInside, key: str = "inside_pairs") -> Table | None:
    """Every arm's probes minus the baseline's, paired by question and seed; None where nothing can be paired."""
    others = [arm for arm in arms if arm is not baseline and arm.first.data_sha256 == baseline.first.data_sha256]
    names = [each.name for each in baseline.first.properties]
    depth = min((len(arm.first.layers) for arm in (*others, baseline)), default=0)
    if not others:
        return None
    rows = []
    for name in names:
        found = [[difference(baseline, arm, name, layer) for layer in range(depth + 1)] for arm in others]
        holms = [holm([each.p if each else None for each in own]) for own in found]
        for layer in range(depth + 1):
            cells = tuple(
                difference_text(own[layer], own_holms[layer]) for own, own_holms in zip(found, holms, strict=True)
            )
            label = "0 (in)" if layer == 0 else str(layer)
            rows.append(Row(label=label, cells=cells, section=name, kind="difference"))
    single = any(len(arm.records) == 1 for arm in (*others, baseline))
    return Table(
        key=key,
        title=f"Probes minus those of {baseline.label} (points of per cent)",
        corner="layer",
        columns=tuple(Column(label=arm.label, kind="run") for arm in others),
        rows=tuple(rows),
        remarks=(
            "Paired by question, and by training seed where both have it; ▲ and ▼: p < 0.05 after Holm's correction "
            "over the layers of a property.",
            *(("Where an arm has one seed: training-seed variance not included.",) if single else ()),
        ),
    )
