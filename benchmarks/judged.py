"""Answers that a judge grades, or reads where exact matching fails.

A reply that cannot be read, and a judge that does not answer, leave the sample unscored (`judge_error`). Never a
number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .kit import RuleFailed
from .reading.plain import split_reasoning
from .records import Judge, JudgeRequest, Prediction, Sample, Score, Verdict
from .scoring import NO_JUDGE, no_answer, scored, split_answered, unscored

JUDGE_ERROR = "judge_error"
KIT_FAILED = "kit_failed"

MARKUP = re.compile(r"\\boxed\{([^{}]*)\}|[*`$]+|\\[()\[\]]")

Request = Callable[[Sample, str], JudgeRequest]


class Unreadable(ValueError):
    """A judge's reply out of which no grade can be read; says why."""


def spoken(reply: str) -> str:
    """What a judge says after it has thought.

    Raises:
        Unreadable: nothing, or the reply breaks off inside the thought.
    """
    said, breaks_off = split_reasoning(reply)
    if breaks_off:
        raise Unreadable("it breaks off inside its reasoning")
    if not said.strip():
        raise Unreadable("nothing follows its reasoning" if reply.strip() else "it is empty")
    return said


def plain(reply: str) -> str:
    """As `spoken`, and without the marks of Markdown and LaTeX around the words."""
    return MARKUP.sub(lambda found: found[1] or "", spoken(reply)).strip()


def read_reply(request: JudgeRequest, reply: str) -> tuple[Any | None, str | None]:
    """(value, None), or (None, why nothing can be read)."""
    try:
        value = request.parse(reply)
    except (Unreadable, RuleFailed) as error:
        return None, str(error)
    return value, "it is not what was asked for" if value is None else None


def verdicts_by_index(judge: Judge, requests: Sequence[JudgeRequest]) -> dict[str, list[Verdict]]:
    """All verdicts (one a repeat) on each request."""
    found: dict[str, list[Verdict]] = {request.index: [] for request in requests}
    for verdict in judge.grade(requests) if requests else ():
        found[verdict.index].append(verdict)
    return found


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """VLMEvalKit's two steps: match the answer exactly; where that fails, let a judge say what was answered.

    Without a judge, or with one that is only a rubric (not `comparable`), an answer that does not match is unread: it
    counts as wrong, as under the kit's `exact_matching`, and is recorded as `unmatched`.
    """

    match: Callable[[Sample, str], Any]
    request: Request
    unmatched: Any
    target: Callable[[Sample], str] = lambda sample: sample.target
    is_right: Callable[[Sample, Any], bool] | None = None

    def scorer(self, protocol: str) -> Callable[[Sequence[Sample], Sequence[Prediction], Judge | None], list[Score]]:
        def score(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
            scores, answered = split_answered(samples, predictions, protocol)
            failed: dict[str, str] = {}
            found = {sample.index: self._match(sample, text, failed) for sample, text in answered}
            answered = [(sample, text) for sample, text in answered if sample.index not in failed]
            open_cases = [(sample, text) for sample, text in answered if not found[sample.index]]
            asked = []
            if judge is not None and judge.comparable:  # nobody is paid to look for an answer that never began
                silent = {prediction.index for prediction in predictions if no_answer(prediction)}
                asked = [(sample, text) for sample, text in open_cases if sample.index not in silent]
                found |= self._ask(judge, asked)
            unread = {sample.index for sample, _ in open_cases} - {sample.index for sample, _ in asked}
            found |= dict.fromkeys(unread, self.unmatched)
            for sample, _ in answered:
                if found[sample.index] is None:
                    scores[sample.index] = unscored(sample, protocol, JUDGE_ERROR)
                else:
                    try:
                        scores[sample.index] = self._score(
                            sample, found[sample.index], protocol, sample.index in unread
                        )
                    except RuleFailed as error:
                        failed[sample.index] = str(error)
            for sample in samples:
                if sample.index in failed:
                    scores[sample.index] = unscored(sample, protocol, f"{KIT_FAILED}: {failed[sample.index]}")
            return [scores[sample.index] for sample in samples]

        return score

    def _match(self, sample: Sample, text: str, failed: dict[str, str]) -> Any:
        """What is read without a judge; a rule of the kit that raises is noted in `failed`."""
        try:
            return self.match(sample, text)
        except RuleFailed as error:
            failed[sample.index] = str(error)
            return None

    def _ask(self, judge: Judge, cases: Sequence[tuple[Sample, str]]) -> dict[str, Any]:
        """What the judge reads (the first repeat counts); None where it failed."""
        verdicts = verdicts_by_index(judge, [_after_thought(self.request(sample, text)) for sample, text in cases])
        return {index: answers[0].value if answers else None for index, answers in verdicts.items()}

    def _score(self, sample: Sample, found: Any, protocol: str, unread: bool) -> Score:
        target = self.target(sample)
        right = self.is_right(sample, found) if self.is_right else found == target
        return scored(sample, protocol, float(right), answer=str(found), target=target, unread=unread)


def _after_thought(request: JudgeRequest) -> JudgeRequest:
    """The same request, whose reply is read by the kit's rule without the judge's thoughts."""
    return replace(request, parse=lambda reply: request.parse(spoken(reply)))


Grade = Callable[[Sequence[Any]], tuple[float, dict[str, float]]]


def graded(
    protocol: str, request: Request, grade: Grade
) -> Callable[[Sequence[Sample], Sequence[Prediction], Judge | None], list[Score]]:
    """A scorer for answers that only a judge can grade: `grade` makes (value, parts) of what all repeats gave.

    Without a judge: unscored, `no_judge`. One unreadable repeat leaves the sample unscored.
    """

    def score(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
        scores, answered = split_answered(samples, predictions, protocol)
        if judge is None:
            scores |= {sample.index: unscored(sample, protocol, NO_JUDGE) for sample, _ in answered}
            return [scores[sample.index] for sample in samples]
        verdicts = verdicts_by_index(judge, [request(sample, text) for sample, text in answered])
        for sample, _ in answered:
            values = [verdict.value for verdict in verdicts[sample.index]]
            if not values or any(value is None for value in values):
                scores[sample.index] = unscored(sample, protocol, JUDGE_ERROR)
                continue
            value, parts = grade(values)
            scores[sample.index] = scored(sample, protocol, value, parts=parts)
        return [scores[sample.index] for sample in samples]

    return score
