"""Runs side by side: were they asked the same questions, and which of them did all answer?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import UserError
from ..printable import in_words
from ..records import Score
from .arms import Arm, as_arm
from .folder import RunFolder, TaskResult

UNPAIRED = "unscored_in_the_other_run"
MAKING = ("model", "dtype", "decoding", "device", "versions", "commit")
"""The fields of run.json that say how a run was made, apart from what was asked."""
WARNING = (
    "These runs were not asked the same questions in the same way: the differences below are not the model's alone."
)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The scores of one task and protocol on the samples that all runs of both sides hold, aligned.

    A sample that one run could not score counts in none: all have it as unscored. `num_left_out` counts those and the
    samples that some run does not hold.
    """

    task: str
    protocol: str
    runs_a: list[list[Score]]
    runs_b: list[list[Score]]
    num_left_out: int
    num_lost: int
    """Samples that all runs of A scored and some run of B did not."""


def common_tasks(a: Arm | RunFolder, b: Arm | RunFolder) -> list[str]:
    """Tasks that all runs have scored, in the paper's order.

    Raises:
        UserError: there are none.
    """
    first, second = as_arm(a), as_arm(b)
    tasks = [task for task in first.tasks if task in second.tasks]
    if not tasks:
        there, here = (", ".join(arm.tasks) or "none that all its runs have" for arm in (first, second))
        raise UserError(f"{first.label} and {second.label} have no task in common: {there} there, {here} here")
    return tasks


def asked_differently_by_arms(task: str, a: Arm, b: Arm) -> list[str]:
    """`asked_differently` for the first run and every other one, each thing that differs once."""
    first, *others = (*a.runs, *b.runs)
    named = len(others) > 1
    found = [
        f"{what} ({first.label}, {run.label})" if named else what
        for run in others
        for what in asked_differently(task, first, run)
    ]
    return list(dict.fromkeys(found))


def asked_differently(task: str, a: RunFolder, b: RunFolder) -> list[str]:
    """What was not the same for both runs on a task: tables, prompts, judge, subset, protocol.

    Each a sentence that names the values found. A difference between such runs is not the model's alone.
    """
    return [f"{task}: {what}" for what in _differences(task, a, b)]


def refusal(warnings: list[str]) -> UserError:
    """The error to raise: the first of what differs, and how many more there are."""
    more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
    return UserError(
        f"the runs differ in what was asked: {warnings[0]}{more}; --allow-different compares them on what both hold"
    )


def refuse_probes(a: Arm, b: Arm) -> None:
    """Where one of several runs asked otherwise on purpose they are no pair, whatever is allowed.

    Raises:
        UserError: they are not all of one probe, or of none.
    """
    first, *others = (*a.runs, *b.runs)
    for other in others:
        if first.probe != other.probe:
            said = " and ".join(
                f"{run.label} was asked {f'under the probe {run.probe}' if run.probe else 'plainly'}"
                for run in (first, other)
            )
            raise UserError(f"{said}: such runs are never compared; aki-eval probes shows a run beside its probes")


def _differences(task: str, a: RunFolder, b: RunFolder) -> Iterator[str]:
    first, second = a.results[task], b.results[task]
    tables_a, tables_b = first.checksums, second.checksums
    for name in sorted(tables_a.keys() | tables_b.keys()):
        if tables_a.get(name) != tables_b.get(name):
            yield f"table {name} has sha256 {_short(tables_a.get(name))} and {_short(tables_b.get(name))}"
    for what, one, other in (
        ("probe", a.probe, b.probe),
        ("prompts", first.prompts, second.prompts),
        ("hash of the prompts", _prompts_hash(a, task), _prompts_hash(b, task)),
        ("judge", _judge(first), _judge(second)),
        ("subset", first.subset, second.subset),
        ("protocol", first.headline, second.headline),
        ("benchmark by", _code(first), _code(second)),
    ):
        if one != other:
            yield f"{what} {_short(one)} and {_short(other)}"


def made_differently(a: Arm | RunFolder, b: Arm | RunFolder) -> list[tuple[str, str, str]]:
    """(field of run.json, its value in A, in B) for everything about the making of the runs that differs.

    Of arms, what is the same within each and differs between them.
    """
    sides = [_making(as_arm(side)) for side in (a, b)]
    varied = {name for side in sides for name, values in side.items() if len(set(map(repr, values))) > 1}
    first, second = ({name: values[0] for name, values in side.items() if name not in varied} for side in sides)
    return [
        (name, _short(first.get(name)), _short(second.get(name)))
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    ]


SEEDS_OWN = ("model.name", "model.path", "model.weights_sha256", "model.training_seed", "commit.sha", "commit.dirty")
"""Fields that trainings of one recipe may differ in."""


def not_one_recipe(arm: Arm) -> list[str]:
    """What its runs differ in besides the training seed, a sentence each: then their spread is not the seed's alone."""
    return [
        f"{arm.label}: its runs differ in {name} ({', '.join(dict.fromkeys(_short(value) for value in values))})"
        for name, values in _making(arm).items()
        if name not in SEEDS_OWN and not name.startswith(("versions.", "device")) and len(set(map(repr, values))) > 1
    ]


def _making(arm: Arm) -> dict[str, list[object]]:
    """By dotted field of run.json: the value in each run."""
    made = [dict(_flat({name: run.made_by.get(name) for name in MAKING})) for run in arm.runs]
    return {name: [each.get(name) for each in made] for name in dict.fromkeys(name for each in made for name in each)}


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Nested objects as (dotted name, value)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def pair(task: str, protocol: str, a: Arm | RunFolder, b: Arm | RunFolder, without: Collection[str] = ()) -> Pairs:
    """Align the scores of all runs of both sides; samples in `without` count as if nobody had been asked.

    Raises:
        UserError: a run holds two scores for one sample, or the same index stands for different questions.
    """
    sides = [as_arm(a).runs, as_arm(b).runs]
    runs = [run for side in sides for run in side]
    by_run = [_by_index(run, task, protocol, without) for run in runs]
    first = by_run[0]
    common = [index for index in first if all(index in other for other in by_run)]
    for run, other in zip(runs[1:], by_run[1:], strict=True):
        for index in common:
            if first[index].cluster != other[index].cluster or first[index].groups != other[index].groups:
                raise UserError(f"{task}: sample {index} is another question in {runs[0].label} than in {run.label}")
    scored = {index for index in common if all(other[index].value is not None for other in by_run)}
    aligned = [[_only_if(index in scored, other[index]) for index in common] for other in by_run]
    num_a = len(sides[0])
    return Pairs(
        task=task,
        protocol=protocol,
        runs_a=aligned[:num_a],
        runs_b=aligned[num_a:],
        num_left_out=len({index for other in by_run for index in other} - scored),
        num_lost=sum(index not in scored for index in _scored_in_all(by_run[:num_a])),
    )


def align(task: str, protocol: str, arm: Arm) -> list[list[Score]]:
    """The scores of an arm's runs on the samples that all of them scored.

    Raises:
        UserError: as `pair`.
    """
    paired = pair(task, protocol, Arm(arm.label, arm.runs[:1]), Arm(arm.label, arm.runs[1:] or arm.runs))
    return [*paired.runs_a, *paired.runs_b][: len(arm.runs)]


def _scored_in_all(by_run: Sequence[Mapping[str, Score]]) -> list[str]:
    """Samples that every one of these runs gave a value."""
    return [
        index
        for index, score in by_run[0].items()
        if score.value is not None and all(index in run and run[index].value is not None for run in by_run)
    ]


def _only_if(paired: bool, score: Score) -> Score:
    return score if paired or score.value is None else replace(score, value=None, reason=UNPAIRED, parts={})


def _by_index(run: RunFolder, task: str, protocol: str, without: Collection[str]) -> dict[str, Score]:
    scores = [score for score in run.scores(task, protocol) if score.index not in without]
    found = {score.index: score for score in scores}
    if len(found) < len(scores):
        raise UserError(f"{run.path / task}/scores.jsonl holds a sample twice under {protocol}; score the run again")
    return found


def _prompts_hash(run: RunFolder, task: str) -> object:
    return run.prompts_hash(task)


def _judge(result: TaskResult) -> object:
    return result.judge.get("name") if result.judge else None


def _code(result: TaskResult) -> object:
    """Of a task outside the paper: what it was defined by, wherever it lay."""
    source = str((result.definition or {}).get("source", ""))
    place, known, digits = source.rpartition(" (sha256 ")
    return f"{place.rpartition('/')[2]} {digits.rstrip(')')}" if known else source


def _short(value: object) -> str:
    text = in_words(value)
    return f"{text[:12]}..." if len(text) == 64 else text
