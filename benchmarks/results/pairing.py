"""Two runs side by side: were they asked the same questions, and which of them did both answer?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..errors import UserError
from ..printable import in_words
from ..records import Score
from .folder import RunFolder, TaskResult

UNPAIRED = "unscored_in_the_other_run"
MAKING = ("model", "dtype", "decoding", "device", "versions", "commit")
"""The fields of run.json that say how a run was made, apart from what was asked."""
WARNING = (
    "These runs were not asked the same questions in the same way: the differences below are not the model's alone."
)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The scores of one task and protocol on the samples that both runs hold, aligned.

    A sample that one run could not score counts in neither: both have it as unscored. `num_left_out` counts those
    and the samples that only one run holds.
    """

    task: str
    protocol: str
    a: list[Score]
    b: list[Score]
    num_left_out: int
    num_lost: int
    """Samples that run A scored and run B did not."""


def common_tasks(a: RunFolder, b: RunFolder) -> list[str]:
    """Tasks that both runs have scored, in the paper's order.

    Raises:
        UserError: there are none.
    """
    tasks = [task for task in a.results if task in b.results]
    if not tasks:
        raise UserError(
            f"{a.label} and {b.label} have no task in common: {', '.join(a.results)} there, {', '.join(b.results)} here"
        )
    return tasks


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


def _differences(task: str, a: RunFolder, b: RunFolder) -> Iterator[str]:
    first, second = a.results[task], b.results[task]
    tables_a, tables_b = first.checksums, second.checksums
    for name in sorted(tables_a.keys() | tables_b.keys()):
        if tables_a.get(name) != tables_b.get(name):
            yield f"table {name} has sha256 {_short(tables_a.get(name))} and {_short(tables_b.get(name))}"
    for what, one, other in (
        ("prompts", first.prompts, second.prompts),
        ("hash of the prompts", _prompts_hash(a, task), _prompts_hash(b, task)),
        ("judge", _judge(first), _judge(second)),
        ("subset", first.subset, second.subset),
        ("protocol", first.headline, second.headline),
    ):
        if one != other:
            yield f"{what} {_short(one)} and {_short(other)}"


def made_differently(a: RunFolder, b: RunFolder) -> list[tuple[str, str, str]]:
    """(field of run.json, its value in A, in B) for everything about the making of the runs that differs."""
    first, second = (dict(_flat({name: run.made_by.get(name) for name in MAKING})) for run in (a, b))
    names = [*first, *(name for name in second if name not in first)]
    return [
        (name, _short(first.get(name)), _short(second.get(name)))
        for name in names
        if first.get(name) != second.get(name)
    ]


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Nested objects as (dotted name, value)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def pair(task: str, protocol: str, a: RunFolder, b: RunFolder) -> Pairs:
    """Align the scores of both runs.

    Raises:
        UserError: a run holds two scores for one sample, or the same index stands for different questions.
    """
    first, second = _by_index(a, task, protocol), _by_index(b, task, protocol)
    common = [index for index in first if index in second]
    for index in common:
        if first[index].cluster != second[index].cluster or first[index].groups != second[index].groups:
            raise UserError(f"{task}: sample {index} is another question in {a.label} than in {b.label}")
    scored = {index for index in common if first[index].value is not None and second[index].value is not None}
    left_out = len(first.keys() | second.keys()) - len(scored)
    lost = sum(score.value is not None and index not in scored for index, score in first.items())
    return Pairs(
        task=task,
        protocol=protocol,
        a=[_only_if(index in scored, first[index]) for index in common],
        b=[_only_if(index in scored, second[index]) for index in common],
        num_left_out=left_out,
        num_lost=lost,
    )


def _only_if(paired: bool, score: Score) -> Score:
    return score if paired or score.value is None else replace(score, value=None, reason=UNPAIRED, parts={})


def _by_index(run: RunFolder, task: str, protocol: str) -> dict[str, Score]:
    scores = run.scores(task, protocol)
    found = {score.index: score for score in scores}
    if len(found) < len(scores):
        raise UserError(f"{run.path / task}/scores.jsonl holds a sample twice under {protocol}; score the run again")
    return found


def _prompts_hash(run: RunFolder, task: str) -> object:
    return run.prompts_hash(task)


def _judge(result: TaskResult) -> object:
    return result.judge.get("name") if result.judge else None


def _short(value: object) -> str:
    text = in_words(value)
    return f"{text[:12]}..." if len(text) == 64 else text
