"""What a run's probes say about it, column by column.

What the picture contributed; what the order of options, labels, words and damage did. Every difference is one of
`comparison`: paired question by question, clustered, with the same tests and the same reasons for none. The gains from
the picture over the paper's columns are one family of Holm's correction, the effects of each other probe another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from ..errors import UserError
from ..probes import PROBES, base_index
from ..records import Score
from ..tasks import COLUMNS
from .arms import Arm, as_arm
from .comparison import MetricComparison, compare_pairs, corrected
from .folder import RunFolder, open_run
from .pairing import Pairs, pair
from .probes import PROBES_FOLDER, not_its_own

PICTURE = "no_image"
"""The probe that gains are measured against."""
ORDERS = "shuffle_options"


@dataclass(frozen=True)
class ProbesOfRun:
    """The scored runs under probes of one run; `left_out`: by name, why one is not shown beside it."""

    run: RunFolder
    probes: Mapping[str, RunFolder]
    left_out: Mapping[str, str] = field(default_factory=dict)


def open_probes(run: RunFolder) -> ProbesOfRun:
    """Every run under a probe inside a run's folder. What cannot be read, or was made otherwise, is left out."""
    found, left_out = {}, {}
    for name in PROBES:
        folder = run.path / PROBES_FOLDER / name
        if not folder.is_dir():
            continue
        try:
            probe = open_run(folder)
        except UserError as error:
            left_out[name] = str(error)
            continue
        why = _why_not_shown(name, run, probe)
        if why:
            left_out[name] = why
        else:
            found[name] = probe
    return ProbesOfRun(run, found, left_out)


def _why_not_shown(name: str, run: RunFolder, probe: RunFolder) -> str | None:
    if run.record is None or probe.record is None:
        return "nobody knows how it was made"
    if probe.probe != name:
        return f"{probe.path} was asked under {probe.probe}"
    return not_its_own(run.record, probe.record)


@dataclass(frozen=True, kw_only=True)
class ColumnLooks:
    """One of the paper's columns. Each comparison's difference is B minus A; None where the probe was not asked.

    `gain`: A without the picture, B with it. `consistency`: A the mean over all orders of the options, B the share
    right in every one of them. `effects`: by probe, A plain, B under it.
    """

    task: str
    metric: str
    label: str
    gain: MetricComparison | None
    consistency: MetricComparison | None
    effects: Mapping[str, MetricComparison]
    why_not: Mapping[str, str]
    """By probe, why it says nothing about this column."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """`blind`: by task, the questions that this model answers without the picture (`answered_blind`)."""

    run: str
    columns: list[ColumnLooks]
    blind: Mapping[str, list[str]]
    num_questions: Mapping[str, int]
    """By task, how many questions were asked both with and without the picture."""
    probes: tuple[str, ...]
    left_out: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        def plain(comparison: MetricComparison | None) -> dict[str, Any] | None:
            return comparison.as_json() if comparison else None

        columns = [
            {
                "task": column.task,
                "metric": column.metric,
                "label": column.label,
                "gain": plain(column.gain),
                "consistency": plain(column.consistency),
                "effects": {name: plain(effect) for name, effect in column.effects.items()},
                "why_not": dict(column.why_not),
            }
            for column in self.columns
        ]
        return asdict(replace(self, columns=[])) | {"columns": columns}


def looks(found: ProbesOfRun) -> Looks:
    """The columns of a run with what its probes say, and the questions it answers blind.

    Raises:
        UserError: scores that cannot be paired.
    """
    run = found.run
    compared: dict[str, dict[tuple[str, str], MetricComparison]] = {}
    for name, probe in found.probes.items():
        if name == ORDERS:
            continue
        pairs = [
            pair(task, run.results[task].headline, *((probe, run) if name == PICTURE else (run, probe)))
            for task in run.results
            if task in probe.results
        ]
        other = as_arm(replace(probe, label="without the picture" if name == PICTURE else name))
        sides = (other, as_arm(run)) if name == PICTURE else (as_arm(run), other)
        compared[name] = _columns_of(pairs, *sides)
    orders = [
        found_pairs for task in run.results if (found_pairs := _orders(task, run, found.probes.get(ORDERS))) is not None
    ]
    compared[ORDERS] = _columns_of(orders, as_arm(run), as_arm(run))
    blind = found.probes.get(PICTURE)
    flagged = {task: sorted(answered_blind(task, run, blind)) for task in _shared(run, blind)}
    return Looks(
        run=run.label,
        columns=[
            ColumnLooks(
                task=column.task,
                metric=column.metric,
                label=column.label,
                gain=compared.get(PICTURE, {}).get((column.task, column.metric)),
                consistency=compared[ORDERS].get((column.task, column.metric)),
                effects={
                    name: effects[(column.task, column.metric)]
                    for name, effects in compared.items()
                    if name not in (PICTURE, ORDERS) and (column.task, column.metric) in effects
                },
                why_not=_why_nothing(column.task, found),
            )
            for column in COLUMNS
            if column.task in run.results
        ],
        blind=flagged,
        num_questions={} if blind is None else {task: len(_both(task, run, blind)) for task in flagged},
        probes=tuple(found.probes),
        left_out=dict(found.left_out),
    )


def _shared(run: RunFolder, probe: RunFolder | None) -> list[str]:
    return [task for task in run.results if probe is not None and task in probe.results]


def _why_nothing(task: str, found: ProbesOfRun) -> dict[str, str]:
    reasons = {}
    for name, probe in found.probes.items():
        if task not in probe.results and probe.record is not None and probe.record.probe is not None:
            reasons[name] = probe.record.probe.not_asked.get(task, "it was not asked")
    return reasons


def _columns_of(pairs: Sequence[Pairs], a: Arm, b: Arm) -> dict[tuple[str, str], MetricComparison]:
    """The paper's columns, as one family."""
    metrics = [metric for each in pairs for metric in compare_pairs(each, a, b) if metric.is_column]
    return {(metric.task, metric.metric): metric for metric in corrected(metrics)}


def _orders(task: str, run: RunFolder, shuffled: RunFolder | None) -> Pairs | None:
    """One score a question, the mean over the orders of its options against the worst of them.

    None where there is one order only. A benchmark that rolls its options itself needs no probe.
    """
    if run.results[task].about.rolls_options:
        return _by_question(task, run, lambda score: score.cluster, spread=True)
    if shuffled is None or task not in shuffled.results:
        return None
    return _by_question(task, shuffled, lambda score: base_index(score.index), spread=False)


def _by_question(task: str, run: RunFolder, question: Callable[[Score], str], *, spread: bool) -> Pairs:
    """`spread`: the protocol itself makes one question of the rolls, so each of them gets the question's value."""
    protocol = run.results[task].headline
    rolls: dict[str, list[Score]] = {}
    for score in run.scores(task, protocol):
        rolls.setdefault(question(score), []).append(score)
    a: list[Score] = []
    b: list[Score] = []
    num_left_out = 0
    for members in rolls.values():
        values = [score.value for score in members if score.value is not None]
        if len(values) < len(members):
            num_left_out += 1
            continue
        unread = next((score.reason for score in members if score.unread), None)
        kept = members if spread else members[:1]
        for worth, scores in ((fmean(values), a), (min(values), b)):
            scores += [replace(score, value=worth, reason=unread, answer=None, target=None) for score in kept]
    return Pairs(task=task, protocol=protocol, runs_a=[a], runs_b=[b], num_left_out=num_left_out, num_lost=0)


def _values(task: str, run: RunFolder) -> dict[str, float]:
    scores = run.scores(task, run.results[task].headline)
    return {score.index: score.value for score in scores if score.value is not None}


def _both(task: str, run: RunFolder, probe: RunFolder) -> set[str]:
    """The questions that both have scored."""
    return _values(task, run).keys() & _values(task, probe).keys()


def answered_blind(task: str, run: RunFolder, probe: RunFolder | None) -> set[str]:
    """The questions that the model answers without the picture.

    Right without it, or, where answers are graded, graded no worse. Of a benchmark that makes one question of several
    samples, all of these or none.

    A guess may be right: of questions with four options a quarter of those that nobody could answer blind are among
    these. It is a flag for choosing questions, not a measurement; that is the gain.
    """
    if probe is None or task not in probe.results or task not in run.results:
        return set()
    rule, seen, unseen = run.results[task].about, _values(task, run), _values(task, probe)
    flagged = {index for index in _both(task, run, probe) if unseen[index] >= (seen[index] if rule.judged else 1)}
    if not rule.whole_clusters:
        return flagged
    clusters: dict[str, list[str]] = {}
    for score in run.scores(task, run.results[task].headline):
        clusters.setdefault(score.cluster, []).append(score.index)
    return {index for members in clusters.values() if flagged.issuperset(members) for index in members}


def blind_questions(run: RunFolder) -> dict[str, set[str]] | None:
    """By task, what this run's model answers without the picture; None where nobody asked."""
    blind = open_probes(run).probes.get(PICTURE)
    return None if blind is None else {task: answered_blind(task, run, blind) for task in _shared(run, blind)}
