"""Yes or no by saying the question again: "Is Coral the roughest?" - "Coral is not the roughest, ..."."""

from __future__ import annotations

import re

from .plain import plain
from .statements import CONDITION, REFUSAL, sentences

AUXILIARY = r"is|are|was|were|does|do|did|can|could|has|have|will|would"
QUESTION = re.compile(rf"(?:^|[.:\n]\s*)(?:{AUXILIARY})\s+(?P<rest>[^?\n]{{3,400}})\?", re.IGNORECASE)
NEGATION = re.compile(r"\b(?:not|no|never|none|neither|nor|cannot|false|incorrect|wrong|untrue)\b|n't\b", re.IGNORECASE)
UNIMPORTANT = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "that",
        "this",
        "these",
        "those",
        "to",
        "in",
        "on",
        "at",
        "it",
        "its",
        "is",
        "are",
        "was",
        "were",
        "do",
        "does",
        "did",
        "be",
        "been",
        "being",
        "there",
        "any",
        "some",
        "which",
        "who",
        "image",
        "picture",
        "photo",
        "shown",
        "visible",
        "given",
        "and",
        "also",
        "as",
        "by",
        "with",
        "for",
        "from",
        "has",
        "have",
        "had",
        "can",
        "could",
        "will",
        "would",
        "not",
        "no",
        "never",
    ]
)
COMPARING = frozenset(
    [
        "less",
        "greater",
        "more",
        "fewer",
        "equal",
        "same",
        "smaller",
        "larger",
        "bigger",
        "smallest",
        "largest",
        "biggest",
        "most",
        "least",
        "maximum",
        "minimum",
        "lower",
        "higher",
        "lowest",
        "highest",
        "before",
        "after",
        "above",
        "below",
        "left",
        "right",
        "longer",
        "shorter",
        "taller",
        "older",
        "younger",
    ]
)


def restated(text: str, question: str) -> str | None:
    """`Yes` or `No` where the first sentence of `text` says the question as a statement, or denies it; None otherwise.

    Every word of the question that matters must be there, in its order, and no comparison that the question lacks.
    """
    asked = list(QUESTION.finditer(plain(question)))
    first = next((part for _, part in sentences(text) if re.search(r"\w", part)), "")
    if not asked or REFUSAL.search(text) or CONDITION.match(first) or first.rstrip().endswith("?"):
        return None
    rest = asked[-1]["rest"]
    clause = re.split(r",\s|\s(?:because|since|although|but|as it|according to)\b", first)[0]
    wanted, said = _words(rest), _words(clause)
    if not wanted or len(said) > len(wanted) + 6 or set(said) & COMPARING != set(wanted) & COMPARING:
        return None
    if not _in_order(wanted, said):
        return None
    negations = len(NEGATION.findall(clause)) - len(NEGATION.findall(rest))
    return {0: "Yes", 1: "No"}.get(negations)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[a-z0-9]+", text.lower()) if word not in UNIMPORTANT]


def _in_order(wanted: list[str], said: list[str]) -> bool:
    at = 0
    for word in said:
        if at < len(wanted) and _alike(wanted[at], word):
            at += 1
    return at == len(wanted)


def _alike(one: str, other: str) -> bool:
    """One word in another form: bus and busses, fly and flies."""
    short, long = sorted((one, other), key=len)
    stem = short if len(short) < 4 else short[: max(3, len(short) - 2)]
    return one == other or (len(short) > 2 and long.startswith(stem) and len(long) - len(short) <= 3)
