"""The sample browser's data: one index and numbered pages for each task, as scripts.

A page opened from disk may not fetch files, but it may load scripts: every file calls `AKI.receive(name, content)`. The
index of a task is small (ids, groups, worth of each answer); texts come in pages of `PAGE` samples, loaded when they
are looked at or searched. So thirty thousand samples open as fast as thirty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.progress import track

from benchmarks.catalogue import in_order
from benchmarks.console import PlainConsole
from benchmarks.records import ImageRef, Prediction, Sample, Score, Verdict
from benchmarks.results.folder import RunFolder, other_data
from benchmarks.results.rows import NOT_ASKED
from benchmarks.scoring import UNREAD as UNREAD_REASON

from ..asked import in_short
from ..links import unions
from ..series import why_unread
from .questions import questions

PAGE = 250
ABSENT = -1
"""Worth of a sample that a run does not hold."""
UNREAD = -2
"""Worth of an answer that could not be read."""
LONGEST_SHORT = 120
"""Of a question in the list, without the instructions that many of the benchmark's questions begin with."""
LONGEST_WORD = 24
MOST_WORDS = 16
"""As many readings as a reader chooses from; more are searched for."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one run holds of one task."""

    scores: Mapping[str, Mapping[str, Score]]
    """By protocol and sample."""
    predictions: Mapping[str, Prediction]
    verdicts: Mapping[str, list[Verdict]]
    why_unread: Mapping[str, str] = field(default_factory=dict)
    """By protocol."""


@dataclass(frozen=True, kw_only=True)
class BrowserTask:
    """A task as the manifest lists it."""

    name: str
    title: str
    num_samples: int
    protocols: tuple[str, ...]
    headline: str
    note: str | None
    groups: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """What right answers and readings are, where they are few enough to choose from."""


class PicturePlaces(Protocol):
    """Where a picture is shown from."""

    def path_of(self, picture: ImageRef) -> str: ...


def write_browser(runs: Sequence[RunFolder], out: Path, pictures: PicturePlaces | None) -> list[BrowserTask]:
    """Writes `data/` (and `pictures/`) below `out` and returns what is in it."""
    scored = in_order(task for run in runs for task in run.results)
    console = PlainConsole(stderr=True)
    steps = track(scored, "Writing samples", console=console, transient=True, disable=not console.is_terminal)
    tasks = [_write_task(task, runs, out, pictures) for task in steps]
    manifest = {
        "runs": [run.label for run in runs],
        "page_size": PAGE,
        "tasks": [
            {
                "name": task.name,
                "title": task.title,
                "count": task.num_samples,
                "protocols": task.protocols,
                "headline": task.headline,
                "note": task.note,
            }
            for task in tasks
        ],
    }
    _write(out / "data" / "manifest.js", "manifest", manifest)
    return tasks


def _write_task(task: str, runs: Sequence[RunFolder], out: Path, pictures: PicturePlaces | None) -> BrowserTask:
    first = next(run for run in runs if task in run.results)
    other = [run.label for run in runs if task in run.results and other_data(run, first, task)]
    evidence = [None if run.label in other else _evidence(run, task) for run in runs]
    protocols = tuple(dict.fromkeys(name for each in evidence if each for name in each.scores))
    order = dict.fromkeys(index for each in evidence if each for name in each.scores for index in each.scores[name])
    samples, note = questions(first, task)
    if other:
        note = f"{note or ''} Not shown, because measured on other data: {', '.join(other)}.".strip()
    folder = out / "data" / task
    index = _index(list(order), protocols, evidence)
    _write(folder / "index.js", f"{task}/index", index)
    short = in_short({index: _words(index, samples.get(index), evidence) for index in order})
    for number, page in enumerate(_pages(list(order))):
        records = [_record(index, samples.get(index), short.get(index, ""), evidence, pictures) for index in page]
        _write(folder / f"page-{number}.js", f"{task}/page-{number}", records)
    return BrowserTask(
        name=task,
        title=first.results[task].about.title,
        num_samples=len(order),
        protocols=protocols,
        headline=first.results[task].headline,
        note=note,
        groups=tuple(index["groups"]),
        words=tuple(index["words"]),
    )


def _evidence(run: RunFolder, task: str) -> Evidence | None:
    if task not in run.results:
        return None
    scores: dict[str, dict[str, Score]] = {}
    for score in run.scores(task):
        scores.setdefault(score.protocol, {})[score.index] = score
    verdicts: dict[str, list[Verdict]] = {}
    for verdict in run.verdicts(task):
        verdicts.setdefault(verdict.index, []).append(verdict)
    return Evidence(
        scores=scores,
        predictions=run.predictions(task),
        verdicts=verdicts,
        why_unread={protocol: why_unread(run.results[task], protocol) for protocol in scores},
    )


def _pages(order: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(order), PAGE):
        yield order[start : start + PAGE]


def _index(order: Sequence[str], protocols: Sequence[str], evidence: Sequence[Evidence | None]) -> dict[str, Any]:
    groups = [_groups(index, evidence) for index in order]
    names = sorted({name for each in groups for name in each})
    places = {name: place for place, name in enumerate(names)}
    return {
        "ids": list(order),
        "groups": names,
        "unions": {name: [places[group] for group in own] for name, own in unions(names).items()},
        "members": [[places[name] for name in each] for each in groups],
        "worth": {
            protocol: [[_worth(each, protocol, index) for index in order] for each in evidence]
            for protocol in protocols
        },
        # Positions of answers that nobody could read, and of those that the limit on tokens cut off.
        "unread": {
            protocol: [
                [place for place, index in enumerate(order) if _is_unread(each, protocol, index)] for each in evidence
            ]
            for protocol in protocols
        },
        "cut": [[place for place, index in enumerate(order) if _is_cut(each, index)] for each in evidence],
        **_readings(order, protocols, evidence),
    }


def _is_unread(evidence: Evidence | None, protocol: str, index: str) -> bool:
    score = evidence.scores.get(protocol, {}).get(index) if evidence else None
    return score is not None and score.unread


def _is_cut(evidence: Evidence | None, index: str) -> bool:
    prediction = evidence.predictions.get(index) if evidence else None
    return prediction is not None and prediction.cut


def _readings(order: Sequence[str], protocols: Sequence[str], evidence: Sequence[Evidence | None]) -> dict[str, Any]:
    """What was right and how answers were read, as places in `words`, where these are few: Yes and No, A to D."""
    targets = [_target(index, evidence) for index in order]
    read = {
        protocol: [[_read_as(each, protocol, index) for index in order] for each in evidence] for protocol in protocols
    }
    words = sorted({word for word in targets if word} | {w for own in read.values() for each in own for w in each if w})
    short = [word for word in words if len(word) <= LONGEST_WORD]
    if not short or len(short) > MOST_WORDS:
        return {"words": []}
    places = {word: place for place, word in enumerate(short)}
    return {
        "words": short,
        "targets": [places.get(word or "") for word in targets],
        "read": {name: [[places.get(word or "") for word in each] for each in own] for name, own in read.items()},
    }


def _read_as(evidence: Evidence | None, protocol: str, index: str) -> str | None:
    score = evidence.scores.get(protocol, {}).get(index) if evidence else None
    return score.answer if score else None


def _groups(index: str, evidence: Sequence[Evidence | None]) -> tuple[str, ...]:
    for each in evidence:
        for scores in each.scores.values() if each else ():
            if index in scores:
                return scores[index].groups
    return ()


def _worth(evidence: Evidence | None, protocol: str, index: str) -> float | None:
    """1 is right, 0 wrong, between them partly right, None unscored. A grade counts as a share of the reference's.

    An answer that was not read and got nothing is `UNREAD`.
    """
    score = evidence.scores.get(protocol, {}).get(index) if evidence else None
    if score is None:
        return ABSENT
    if score.value is None:
        return None
    if score.unread and score.value == 0:
        return UNREAD
    return round(score.value / (score.parts.get("reference") or 1.0), 3)


def _words(index: str, sample: Sample | None, evidence: Sequence[Evidence | None]) -> str:
    """The question, or else a prompt that was sent for it."""
    if sample:
        return sample.question
    found = [each.predictions[index] for each in evidence if each and index in each.predictions]
    return next((prediction.prompt for prediction in found if prediction.prompt), "")


def _record(
    index: str, sample: Sample | None, short: str, evidence: Sequence[Evidence | None], pictures: PicturePlaces | None
) -> dict[str, Any]:
    """One sample with what each run did on it. A prompt that is the same for all runs is stored once."""
    predictions = [each.predictions.get(index) if each else None for each in evidence]
    prompts = {prediction.prompt for prediction in predictions if prediction}
    shared = prompts.pop() if len(prompts) == 1 else None
    return {
        "question": sample.question if sample else None,
        "short": short[:LONGEST_SHORT],
        "choices": list(sample.choices.items()) if sample else [],
        "pictures": [pictures.path_of(picture) for picture in sample.images] if sample and pictures else [],
        "target": _target(index, evidence),
        "prompt": shared,
        "runs": [_answer(index, each, shared) for each in evidence],
    }


def _target(index: str, evidence: Sequence[Evidence | None]) -> str | None:
    for each in evidence:
        for scores in each.scores.values() if each else ():
            if index in scores:
                return scores[index].target
    return None


def _answer(index: str, evidence: Evidence | None, shared: str | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    prediction = evidence.predictions.get(index)
    scores = {name: own[index] for name, own in evidence.scores.items() if index in own}
    if prediction is None and not scores:
        return None
    return {
        "text": prediction.text if prediction else None,
        "error": prediction.error if prediction else NOT_ASKED,
        "tokens": prediction.num_tokens if prediction else None,
        "finish": prediction.finish_reason if prediction else None,
        "prompt": prediction.prompt if prediction and prediction.prompt != shared else None,
        "scores": {name: _score(score, evidence.why_unread.get(name)) for name, score in scores.items()},
        "judge": [_verdict(verdict) for verdict in evidence.verdicts.get(index, [])],
    }


def _score(score: Score, why_unread: str | None) -> dict[str, Any]:
    found = {"value": score.value, "reason": score.reason, "answer": score.answer, "parts": dict(score.parts)}
    return found | {"why": why_unread} if score.unread and score.reason == UNREAD_REASON else found


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"judge": verdict.judge, "value": verdict.value, "raw": verdict.raw, "error": verdict.error}


def _write(path: Path, name: str, content: Any) -> None:
    """As a script. ASCII only: nothing in an answer can end the script or change how it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    path.write_text(f"AKI.receive({json.dumps(name)},{text});\n", encoding="ascii")
