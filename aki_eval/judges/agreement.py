"""Two judges on the same answers: by how much does the number depend on who judged?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from benchmarks.errors import UserError
from benchmarks.estimates import Estimate
from benchmarks.paired_tests import paired_difference
from benchmarks.records import Score, Verdict
from benchmarks.results.folder import RunFolder
from benchmarks.scoring import estimates_of

from .judge import spread

KINDS = {"mm_vet": ("mm_vet", "mm_vet_official"), "llava_bench": ("llava_bench", "llava_bench_swapped")}
"""Tasks whose answers a judge grades, with their judge protocols."""


@dataclass(frozen=True, kw_only=True)
class Offset:
    """A metric under judge A and under judge B, and B minus A with its clustered 95 % interval."""

    metric: str
    a: float | None
    b: float | None
    difference: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Grades of the candidates' answers: 0 to 1 for MM-Vet, 1 to 10 for LLaVA-Bench, the mean over a judge's repeats.

    `spearman` is None where a judge gave one grade only. `spread_a`, `spread_b`: standard deviation of a judge's own
    repeats, None without repeats. `largest`: (index, grade of A, grade of B).
    """

    task: str
    kind: str
    judge_a: str
    judge_b: str
    num_answers: int
    num_only_one: int
    share_equal: float
    mean_absolute: float
    spearman: float | None
    spread_a: float | None
    spread_b: float | None
    offsets: list[Offset]
    largest: list[tuple[str, float, float]]


@dataclass(frozen=True)
class Graded:
    """What one judge made of one task's answers: by sample, the text it was asked and its readable grades."""

    asked: dict[str, str]
    grades: dict[str, list[Any]]
    verdicts: list[Verdict]


def judges_in(run: RunFolder, task: str, kind: str) -> list[str]:
    """Names of the judges with verdicts in a run."""
    return sorted({verdict.judge for verdict in run.verdicts(task) if verdict.kind == kind})


def read_grades(run: RunFolder, task: str, kind: str, judge: str) -> Graded:
    """The last reading of each (sample, repeat): a later try replaces an earlier one's unreadable reply."""
    asked: dict[str, str] = {}
    final: dict[tuple[str, int], Verdict] = {}
    for verdict in run.verdicts(task):
        if verdict.kind == kind and verdict.judge == judge and verdict.raw is not None:
            if verdict.tries == 1:
                asked[verdict.index] = verdict.prompt_hash
            final[verdict.index, verdict.repeat] = verdict
    grades: dict[str, list[Any]] = {}
    for (index, _), verdict in final.items():
        if verdict.value is not None:
            grades.setdefault(index, []).append(verdict.value)
    return Graded(asked, grades, list(final.values()))


def agree(run_a: RunFolder, run_b: RunFolder, task: str, kind: str, judge_a: str, judge_b: str) -> Agreement:
    """Compare judge A's verdicts in run A with judge B's in run B; only identical questions with identical answers.

    Raises:
        UserError: there are none.
    """
    a, b = read_grades(run_a, task, kind, judge_a), read_grades(run_b, task, kind, judge_b)
    same = [index for index in a.grades if index in b.grades and a.asked.get(index) == b.asked.get(index)]
    if not same:
        raise UserError(
            f"{task}: {judge_a} and {judge_b} graded no answer in common (of {len(a.grades)} and {len(b.grades)}); "
            "the runs hold different answers, or different judge protocols"
        )
    grades = [(index, _grade(a.grades[index]), _grade(b.grades[index])) for index in same]
    return Agreement(
        task=task,
        kind=kind,
        judge_a=judge_a,
        judge_b=judge_b,
        num_answers=len(same),
        num_only_one=len(a.grades.keys() | b.grades.keys()) - len(same),
        share_equal=fmean(first == second for _, first, second in grades),
        mean_absolute=fmean(abs(second - first) for _, first, second in grades),
        spearman=_spearman([first for _, first, _ in grades], [second for _, _, second in grades]),
        spread_a=_own_spread(a.verdicts),
        spread_b=_own_spread(b.verdicts),
        offsets=_offsets(run_a, task, a.grades, b.grades, set(same)),
        largest=sorted(grades, key=lambda grade: (-abs(grade[2] - grade[1]), grade[0]))[:10],
    )


def _offsets(
    run: RunFolder, task: str, a: Mapping[str, list[Any]], b: Mapping[str, list[Any]], same: set[str]
) -> list[Offset]:
    about = run.results[task].about
    protocol = about.headline
    scores = [score for score in run.scores(task, protocol) if score.index in same]
    first, second = (estimates_of(about, protocol, [_regraded(s, by[s.index]) for s in scores]) for by in (a, b))
    return [_offset(name, first[name], second[name]) for name in first]


def _offset(name: str, a: Estimate, b: Estimate) -> Offset:
    found = paired_difference(a, b)
    value, interval = (found.value, found.ci95) if found else (None, None)
    return Offset(metric=name, a=a.value, b=b.value, difference=value, ci95=interval)


def _regraded(score: Score, values: Sequence[Any]) -> Score:
    """The score as it would be under these verdicts alone."""
    parts = {"reference": fmean(value[0] for value in values)} if isinstance(values[0], Sequence) else {}
    return replace(score, value=_grade(values), reason=None, parts=parts)


def _grade(values: Sequence[Any]) -> float:
    """The candidate's mean grade; of a pair it is the second."""
    return fmean(value[1] if isinstance(value, Sequence) else value for value in values)


def _own_spread(verdicts: Iterable[Verdict]) -> float | None:
    found = list(spread(verdicts).values())
    return found[0]["sd"] if found else None


def _spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    if len(set(a)) < 2 or len(set(b)) < 2:
        return None
    return float(spearmanr(a, b).statistic)
