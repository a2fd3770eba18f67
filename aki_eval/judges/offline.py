"""The offline judge: a deterministic token-overlap rubric for the toy world and for CI.

It reads a request's `facts`, never its prose, and replies in the text that the judge protocol expects from a model,
so that the same `parse` reads both:

    mm_vet...    "0.6"   share of the reference's elements found; <AND> needs all, <OR> any one (MM-Vet, section 3)
    llava_bench  "10 4"  reference first, candidate second, as in LLaVA-Bench; 1 + 9 * token F1 against the reference
    extract      a letter, "Yes", "No" or a number; "Unknown" where the answer names none or several

Its numbers say whether a model's answers share words with the reference. They are not comparable to any GPT-4 number.

Facts read: `reference` (or `answer`), `candidate` (or `prediction`); for `extract` also the choices under their
letters ("A", "B", ...). No letters among the facts means a yes/no or a numeric answer, whichever the candidate holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.errors import UserError
from benchmarks.records import JudgeRequest, Verdict

from .cache import Reply, Source, VerdictStore, verdict_of

MODEL = "offline/1"
"""Stored as the judge's model: raise the number when the rubric changes, so that stored verdicts are not mixed."""
SOURCE = Source(MODEL)

FILLER = {
    "a",
    "an",
    "the",
    "is",
    "are",
    "was",
    "were",
    "of",
    "in",
    "on",
    "at",
    "to",
    "and",
    "it",
    "this",
    "that",
    "there",
}
CANNOT_TELL = "Unknown"


class OfflineJudge:
    """Token overlap; see the module. One verdict a request: repeating a deterministic judge would only repeat it."""

    name = "offline token overlap, not comparable to GPT-4"
    comparable = False

    def __init__(self, store: VerdictStore) -> None:
        self.store = store

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        return [self._grade_one(request) for request in requests]

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "model": MODEL, "comparable": self.comparable, "repeats": 1, "cost_usd": 0.0}

    def _grade_one(self, request: JudgeRequest) -> Verdict:
        reply = self.store.find(SOURCE, request, repeat=0, attempt=0)
        if reply is None:
            reply = Reply(model=MODEL, raw=reply_to(request), cost_usd=0.0)
            self.store.append(SOURCE, request, reply, repeat=0, attempt=0)
        return verdict_of(request, reply, judge=self.name)


def reply_to(request: JudgeRequest) -> str:
    """The reply in the form the protocol `request.kind` asks for.

    Raises:
        UserError: the protocol is one this judge has no rubric for.
    """
    candidate = _fact(request.facts, "candidate", "prediction")
    if request.kind.startswith("mm_vet"):
        return f"{share_found(_fact(request.facts, 'reference', 'answer'), candidate):.1f}"
    if request.kind in ("llava_bench", "llava_bench_swapped"):
        grades = ["10", f"{1 + round(9 * token_f1(_fact(request.facts, 'reference', 'gpt4_ans'), candidate))}"]
        return " ".join(grades if request.kind == "llava_bench" else reversed(grades))
    if request.kind.startswith("extract"):
        return extract(candidate, {key: text for key, text in request.facts.items() if re.fullmatch("[A-Z]", key)})
    raise UserError(f"the offline judge has no rubric for the judge protocol {request.kind!r}; use another --judge")


def share_found(reference: str, candidate: str) -> float:
    """0 to 1: the best <OR> alternative, each the mean over its <AND> elements of their tokens in `candidate`."""
    found = set(tokens(candidate))
    return max(
        _mean([_share_of_tokens(element, found) for element in alternative.split("<AND>")])
        for alternative in reference.split("<OR>")
    )


def token_f1(reference: str, candidate: str) -> float:
    """Harmonic mean of token precision and recall, tokens counted as often as they occur; 0 where either has none."""
    wanted, given = Counter(tokens(reference)), Counter(tokens(candidate))
    common = (wanted & given).total()
    return 2 * common / (wanted.total() + given.total()) if common else 0.0


def extract(candidate: str, choices: Mapping[str, str]) -> str:
    """The one choice, yes/no or number that `candidate` names; CANNOT_TELL where it names none or several."""
    if choices:
        letters = set(re.findall(r"\b[A-Z]\b", candidate)) & set(choices)
        named = {letter for letter, text in choices.items() if _contains(candidate, text)}
        return _only(named) or _only(letters) or CANNOT_TELL
    words = set(tokens(candidate))
    if words & {"yes", "no"}:
        return (_only(words & {"yes", "no"}) or CANNOT_TELL).capitalize()
    return _only(set(re.findall(r"-?\d+(?:\.\d+)?", candidate))) or CANNOT_TELL


def tokens(text: str) -> list[str]:
    """Lower-case words and numbers without fillers; fillers alone count as themselves."""
    words = re.findall(r"-?\d+(?:\.\d+)?|\w+", text.lower())
    return [word for word in words if word not in FILLER] or words


def _share_of_tokens(element: str, found: set[str]) -> float:
    wanted = set(tokens(element))
    return len(wanted & found) / len(wanted) if wanted else 0.0


def _contains(candidate: str, text: str) -> bool:
    pattern = rf"(?<!\w){re.escape(text.strip().lower())}(?!\w)"
    return bool(text.strip()) and re.search(pattern, candidate.lower()) is not None


def _only(found: set[str]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _fact(facts: Mapping[str, str], *names: str) -> str:
    for name in names:
        if name in facts:
            return facts[name]
    raise UserError(f"the offline judge needs the fact {names[0]!r}, the request holds {sorted(facts)}")
