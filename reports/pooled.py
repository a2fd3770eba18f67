"""All questions together: what an arm gets right over the benchmarks that need no judge, by mask and by skill.

One number cannot stand for twelve columns, and these tables do not stand beside the paper's. They are for what columns
spread thin: a model under another mask than its own, and the toy world's skills, which several benchmarks ask about.
Every question counts once under its benchmark's headline protocol, and intervals respect pictures as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from benchmarks.arms import Seeded, arm_difference, arm_estimate
from benchmarks.estimates import Columns
from benchmarks.paired_tests import Difference, holm
from benchmarks.records import Score
from benchmarks.results.arms import Arm
from benchmarks.results.pairing import align, asked_differently_by_arms, pair
from benchmarks.tasks import TASKS

from .comparison_tables import arm_cell
from .inside_tables import difference_text
from .paper_tables import Plan
from .tables import Cell, Column, Row, Table

Groups = Callable[[str, str], Sequence[str]]
"""(task, index) -> the groups that a question counts in, as often as it does."""
ALL = "all of them"
HOW = (
    "Questions right over all benchmarks scored without a judge, per cent, each under its headline protocol. Of "
    "several seeds means; ±q: 95 % by questions, ±s: by training seeds; differences have both, paired by question and "
    "seed. ▲ and ▼: p < 0.05 after Holm's correction over the table's differences."
)


def everything(task: str, index: str) -> Sequence[str]:
    return (ALL,)


def unjudged(arm: Arm) -> list[str]:
    return [task for task in arm.tasks if not arm.runs[0].results[task].about.judged]


def pooled(arm: Arm, groups: Groups = everything) -> dict[str, Seeded]:
    """By group the share of questions right, by training seed."""
    aligned = {task: align(task, arm.runs[0].results[task].headline, arm) for task in unjudged(arm)}
    return _seeded(arm, aligned, groups)


def pooled_difference(a: Arm, b: Arm, groups: Groups = everything) -> dict[str, Difference | None]:
    """By group B minus A, on the benchmarks that both were asked the same."""
    first, second = {}, {}
    for task in unjudged(a):
        if task in unjudged(b) and not asked_differently_by_arms(task, a, b):
            pairs = pair(task, a.runs[0].results[task].headline, a, b)
            first[task], second[task] = pairs.runs_a, pairs.runs_b
    own, other = _seeded(a, first, groups), _seeded(b, second, groups)
    return {name: arm_difference(own[name], other[name]) for name in own}


def _seeded(arm: Arm, aligned: Mapping[str, Sequence[Sequence[Score]]], groups: Groups) -> dict[str, Seeded]:
    found: dict[str, dict[int | str, Columns]] = {}
    for place, key in enumerate(arm.keys):
        by_group: dict[str, list[Score]] = {}
        for task, runs in aligned.items():
            for score in runs[place]:
                for group in groups(task, score.index):
                    by_group.setdefault(group, []).append(replace(score, cluster=f"{task}/{score.cluster}"))
        for group, scores in by_group.items():
            found.setdefault(group, {})[key] = Columns(scores)
    return {
        group: {key: columns.mean(columns.everything) for key, columns in runs.items()} for group, runs in found.items()
    }


# -- another mask than a model was trained with -----------------------------------------------------------------------


def masks_of(arm: Arm) -> tuple[str, str] | None:
    """(trained kind, used kind); None where a run does not say, or they differ among its runs."""
    models = [run.record.model if run.record else None for run in arm.runs]
    found = {(model.trained_attention, model.attention) if model else (None, None) for model in models}
    trained, used = found.pop() if len(found) == 1 else (None, None)
    return (trained, used) if trained and used else None


def weights_of(arm: Arm) -> frozenset[str]:
    """Checksums of its runs' weights, where they are known."""
    extras = [(run.record.model.model_extra or {}) if run.record else {} for run in arm.runs]
    return frozenset(str(extra["weights_sha256"]) for extra in extras if extra.get("weights_sha256"))


def cross_table(plan: Plan) -> Table | None:
    """Models as rows, the masks that they were measured under as columns; None where all were under their own.

    Which runs are of one model follows from run.json: the same weights, trained with one kind and used with another.
    """
    kinds = {id(arm): found for arm in plan.arms if (found := masks_of(arm)) is not None}
    own = [arm for arm in plan.arms if id(arm) in kinds and kinds[id(arm)][0] == kinds[id(arm)][1]]
    others = [arm for arm in plan.arms if id(arm) in kinds and kinds[id(arm)][0] != kinds[id(arm)][1]]
    if not others:
        return None
    homes = {id(arm): _home(arm, own) for arm in others}
    shown = [home for home in own if any(homes[id(arm)] is home for arm in others)]
    used = list(dict.fromkeys([kinds[id(arm)][1] for arm in (*shown, *others)]))
    rows: list[tuple[str, str, dict[str, Cell]]] = []
    differences: list[tuple[int, str, Difference | None]] = []
    for home in shown:
        trained = kinds[id(home)][0]
        arms = {kinds[id(arm)][1]: arm for arm in others if homes[id(arm)] is home}
        cells = {kind: _right_cell(arm) for kind, arm in ({trained: home} | arms).items()}
        rows.append((home.label, trained, cells))
        for kind, arm in arms.items():
            differences.append((len(rows), kind, pooled_difference(home, arm).get(ALL)))
        rows.append(("minus its own mask", trained, {}))
    alone = [arm for arm in others if homes[id(arm)] is None]
    rows += [(arm.label, kinds[id(arm)][0], {kinds[id(arm)][1]: _right_cell(arm)}) for arm in alone]
    for (place, kind, found), p in zip(
        differences, holm([found.p if found else None for _, _, found in differences]), strict=True
    ):
        rows[place][2][kind] = difference_text(found, p)
    single = any(len(arm.runs) == 1 for arm in (*shown, *others))
    return Table(
        key="cross",
        title="Trained with one mask, used with another",
        corner="model",
        columns=(
            Column(label="trained", kind="run", text=True),
            *(Column(label=f"used {kind}", kind="run") for kind in used),
        ),
        rows=tuple(
            Row(
                label=label,
                cells=(Cell(text=trained), *(cells.get(kind, Cell()) for kind in used)),
                kind="difference" if label.startswith("minus") else "run",
                section=f"trained {trained}",
            )
            for label, trained, cells in rows
        ),
        remarks=(
            HOW,
            "What a mask does while a model learns and what it does while it answers are two things. A difference here "
            "is the second alone: the weights are the same.",
            *(("With one seed: training-seed variance not included.",) if single else ()),
        ),
    )


def _home(arm: Arm, own: Sequence[Arm]) -> Arm | None:
    """The arm of the same models under their own mask."""
    weights = weights_of(arm)
    return next((home for home in own if weights and weights <= weights_of(home)), None)


def _right_cell(arm: Arm) -> Cell:
    found = pooled(arm).get(ALL)
    return arm_cell(arm_estimate(found)) if found else Cell()


# -- the toy world's skills -------------------------------------------------------------------------------------------


@cache
def toy_skills() -> dict[tuple[str, str], tuple[str, ...]]:
    """(task, index) -> skill, as often as the question counts (POPE's once a split); of tasks without a judge."""
    from benchmarks.toy_world.priors import distinct_entries, weight

    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for task in TASKS.values():
        for table in task.tables if not task.judged else ():
            for entry in distinct_entries(table.name):
                index = f"{table.name}/{entry.row['index']}" if len(task.tables) > 1 else entry.row["index"]
                found[task.name, index] = (entry.question.skill,) * weight(entry)
    return found


def skill_tables(plan: Plan) -> list[Table]:
    """The toy world's skills as rows, arms as columns: what each gets right, and its difference to the baseline's.

    None where arms are not grouped, or some run is not of the toy world. Below the skills all questions together, which
    Holm's correction over the skills leaves alone.
    """
    if not plan.grouped or not all(arm.toy for arm in plan.arms):
        return []
    skills = toy_skills()

    def groups(task: str, index: str) -> Sequence[str]:
        own = skills.get((task, index), ())
        return (*own, ALL) if own else ()

    values = [pooled(arm, groups) for arm in plan.arms]
    names = sorted({name for found in values for name in found} - {ALL})
    priors = "What one gets right who has not looked stands in benchmarks/toy_world/toy_world.md (priors)."
    cells = [{name: arm_cell(arm_estimate(found[name])) for name in (*names, ALL) if name in found} for found in values]
    tables = [_skill_table("skills", "per cent right", names, plan.arms, cells, (HOW, priors))]
    baseline = plan.pairs[0].baseline if plan.pairs else None
    if baseline is not None:
        others = [arm for arm in plan.arms if arm is not baseline]
        found = [_differences(pooled_difference(baseline, arm, groups), names) for arm in others]
        title = f"minus {baseline.label}, points of per cent"
        how = HOW.replace("over the table's differences", f"over the skills of an arm; {ALL} stands for itself")
        single = any(len(arm.runs) == 1 for arm in plan.arms)
        remarks = (how, *(("With one seed: training-seed variance not included.",) if single else ()))
        tables.append(_skill_table("skill_differences", title, names, others, found, remarks))
    return tables


def _differences(found: Mapping[str, Difference | None], names: Sequence[str]) -> dict[str, Cell]:
    tests = [found.get(name) for name in names]
    cells = {
        name: difference_text(each, p)
        for name, each, p in zip(names, tests, holm([each.p if each else None for each in tests]), strict=True)
    }
    every = found.get(ALL)
    return cells | {ALL: difference_text(every, every.p if every else None)}


def _skill_table(
    key: str,
    unit: str,
    names: Sequence[str],
    arms: Sequence[Arm],
    cells: Sequence[Mapping[str, Cell]],
    remarks: tuple[str, ...],
) -> Table:
    return Table(
        key=key,
        title=f"Skills of the toy world ({unit})",
        corner="skill",
        columns=tuple(Column(label=arm.label, kind="run") for arm in arms),
        rows=tuple(
            Row(label=name, cells=tuple(own.get(name, Cell()) for own in cells), kind="run") for name in (*names, ALL)
        ),
        remarks=remarks,
    )
