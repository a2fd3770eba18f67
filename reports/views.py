"""What a run's answers look like, task by task: said yes or no, which letters, how long, how graded.

Counts of what stands in scores and predictions; nothing is estimated, so nothing has an interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

import numpy as np

from benchmarks.errors import UserError
from benchmarks.likelihood import LABELS, NUM_BINS, bins
from benchmarks.records import Prediction, Score
from benchmarks.results.folder import RunFolder

LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 512)
"""Tokens up to which an answer belongs to a bar."""
NUM_BARS = 10
UNREAD = "unread"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How many answers are of one kind."""

    label: str
    count: int
    share: float
    """Of the answers that the view is about, in percent."""
    beside: float | None = None
    """The share that right answers have, where that is the question."""
    wanted: Mapping[str, str] = field(default_factory=dict)
    """The sample browser's filters that show these answers; empty where it has none."""


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Of multiple choice: what was said, by what was right.

    counts: a row for each of `right`, a column for each of `said`.
    """

    right: tuple[str, ...]
    said: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def largest(self) -> int:
        return max((count for row in self.counts for count in row), default=0)


@dataclass(frozen=True, kw_only=True)
class AnswerView:
    """One question about the answers, a bar for each kind."""

    title: str
    bars: tuple[Bar, ...]
    tick: str = ""
    """What the marks beside the bars say."""
    covers: str = ""
    """Of how many answers it speaks, where it leaves some out."""


def views_of(run: RunFolder, task: str) -> list[AnswerView]:
    """Those that there is something to show for."""
    result = run.results[task]
    scores = run.scores(task, result.headline)
    found = [*_confusion(scores), *_letters(scores), *_grades(scores, judged=result.about.judged)]
    try:
        predictions = list(run.predictions(task).values())
    except UserError:  # answers that are not this run's say nothing about it
        predictions = []
    if LABELS in result.protocols:
        found += _reliability(run.scores(task, LABELS))
    return [*found, *_lengths(predictions)]


def confusion_of(run: RunFolder, task: str) -> Confusion | None:
    """Of a task of multiple choice, under its headline protocol. None for other tasks."""
    result = run.results[task]
    asked, letters = _lettered(run.scores(task, result.headline))
    if len(letters) < 2:
        return None
    pairs = Counter((score.target or "", _said(score, letters)) for score in asked)
    said = (*letters, *([UNREAD] if any(name == UNREAD for _, name in pairs) else []))
    counts = tuple(tuple(pairs[right, name] for name in said) for right in letters)
    return Confusion(right=tuple(letters), said=said, counts=counts)


def said_filter(said: str, right: str | None = None) -> dict[str, str]:
    """The sample browser's filters for answers that were read as `said`, where `right` is right."""
    answers = {"result": UNREAD} if said == UNREAD else {"read": said}
    return answers if right is None else {**answers, "target": right}


def _bars(
    counts: Iterable[tuple[str, int]],
    beside: Counter[str] | None = None,
    wanted: Callable[[str], dict[str, str]] = lambda _: {},
) -> tuple[Bar, ...]:
    pairs = list(counts)
    total = sum(count for _, count in pairs) or 1
    right = sum(beside.values()) if beside else 0
    return tuple(
        Bar(
            label=label,
            count=count,
            share=100 * count / total,
            beside=100 * beside[label] / right if beside and right and label != UNREAD else None,
            wanted=wanted(label),
        )
        for label, count in pairs
    )


def _said(score: Score, known: Sequence[str]) -> str:
    answer = score.answer
    return UNREAD if answer is None or answer not in known or score.unread else answer


def _confusion(scores: Sequence[Score]) -> Iterator[AnswerView]:
    """Of yes/no questions: what was said, by what was right."""
    asked = [score for score in scores if score.value is not None and score.target in ("Yes", "No")]
    for target in ("Yes", "No"):
        said = Counter(_said(score, ("Yes", "No")) for score in asked if score.target == target)
        if said:
            yield AnswerView(
                title=f"Said where {target} is right",
                bars=_bars(
                    ((name, said[name]) for name in ("Yes", "No", UNREAD) if said[name] or name != UNREAD),
                    wanted=partial(said_filter, right=target),
                ),
            )


def _letters(scores: Sequence[Score]) -> Iterator[AnswerView]:
    """Of multiple choice: how often each letter is said, beside how often it is right."""
    asked, letters = _lettered(scores)
    if len(letters) < 2:
        return
    right = Counter(score.target or "" for score in asked)
    said = Counter(_said(score, letters) for score in asked)
    names = [*letters, *([UNREAD] if said[UNREAD] else [])]
    bars = _bars(((name, said[name]) for name in names), right, said_filter)
    covers = f"{len(asked)} of {len(scores)} answers: those to a letter"
    yield AnswerView(title="Letters said", bars=bars, tick="how often it is right", covers=covers)


def _lettered(scores: Sequence[Score]) -> tuple[list[Score], list[str]]:
    """Those of multiple choice that are scored, and the letters that are right somewhere."""
    asked = [score for score in scores if score.value is not None and len(score.target or "") == 1]
    letters = sorted({letter for score in asked if (letter := score.target or "").isupper()})
    return [score for score in asked if score.target in letters], letters


def _reliability(scores: Sequence[Score]) -> Iterator[AnswerView]:
    """Of option probabilities: how often an answer is right that was held so probable."""
    asked = [score for score in scores if score.value is not None and "confidence" in score.parts]
    if not asked:
        return
    places = bins(np.array([score.parts["confidence"] for score in asked]))
    bars = []
    for place in sorted(set(places.tolist())):
        own = [score for score, at in zip(asked, places, strict=True) if at == place]
        bars.append(
            Bar(
                label=f"{place / NUM_BINS:.2f} to {(place + 1) / NUM_BINS:.2f}",
                count=len(own),
                share=100 * fmean(score.value or 0.0 for score in own),
                beside=100 * fmean(score.parts["confidence"] for score in own),
            )
        )
    yield AnswerView(title="Right, by the probability of the answer", bars=tuple(bars), tick="probability said")


def _grades(scores: Sequence[Score], *, judged: bool) -> Iterator[AnswerView]:
    """Of judged answers: the grades, in ten bars from 0 to 1 or from 0 to 10."""
    values = [score.value for score in scores if score.value is not None]
    if not judged or not values:
        return
    width = 1.0 if max(values) > 1 else 0.1
    places = Counter(min(NUM_BARS - 1, int(round(value / width, 6))) for value in values)
    bars = ((f"{place * width:g} to {(place + 1) * width:g}", places[place]) for place in range(NUM_BARS))
    yield AnswerView(title="Grades of the judge", bars=_bars(bars))


def _lengths(predictions: Sequence[Prediction]) -> Iterator[AnswerView]:
    """Tokens of an answer, and how many were cut at the limit."""
    known = [prediction.num_tokens for prediction in predictions if prediction.num_tokens is not None]
    if known:
        bounds = [bound for bound in LENGTHS if bound < max(known)] + [max(known)]
        places = Counter(next(bound for bound in bounds if number <= bound) for number in known)
        starts = [0, *bounds]
        bars = [
            (str(bound) if bound - start <= 1 else f"{start + 1} to {bound}", places[bound])
            for start, bound in zip(starts, bounds, strict=False)
        ]
        yield AnswerView(title="Tokens of an answer", bars=_bars(bars))
    known_ends = [each for each in predictions if each.finish_reason is not None]
    if known_ends:
        cut = sum(each.cut for each in known_ends)
        bars = [("ended by itself", len(known_ends) - cut), ("cut at the limit", cut)]
        wanted: dict[str, dict[str, str]] = {"cut at the limit": {"result": "cut"}}
        yield AnswerView(title="How answers ended", bars=_bars(bars, wanted=lambda label: wanted.get(label, {})))
