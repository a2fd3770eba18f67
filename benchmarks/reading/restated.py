"""Yes or no by saying the question again: "Is Coral the roughest?" - "Coral is not the roughest, ..."."""

from __future__ import annotations

import re

from .plain import plain
from .statements import CONDITION, REFUSAL, sentences

AUXILIARY = r"is|are|was|were|does|do|did|can|could|has|have|will|would"
QUESTION = re.compile(rf"(?:^|[.:\n]\s*)(?:{AUXILIARY})\s+(?P<rest>[^?\n]{{3,400}})\?", re.IGNORECASE)
NEGATION = re.compile(
    r"\b(?:not|no|never|none|neither|nor|cannot|false|incorrect|wrong|untrue|nowhere|nothing|lack(?:s|ing)?|devoid|absent"
    r"|absence|without|missing|free of|fails? to)\b|n't\b",
    re.IGNORECASE,
)
DOUBT = re.compile(r"\b(?:might|may|could|perhaps|maybe|possibly|unlikely|hardly|barely|if|whether)\b", re.IGNORECASE)
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
        "present",
        "see",
        "seen",
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
        "then",
        "than",
        "indeed",
        "clearly",
        "according",
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


LOOKED = re.compile(
    r"^\W*(?:based on|in|on|at|from|looking at|after|upon|according to|as far as)\b[^,.;:]{0,80},\s*", re.IGNORECASE
)
"""Where somebody looked before saying it: "Based on the image, ...", "After a close look, ..."."""


OPPOSED = [
    *(("larger", "smaller"), ("bigger", "smaller"), ("greater", "smaller"), ("greater", "less"), ("greater", "lower")),
    *(("more", "fewer"), ("more", "less"), ("higher", "lower"), ("longer", "shorter"), ("taller", "shorter")),
    *(("older", "younger"), ("above", "below"), ("before", "after"), ("left", "right")),
]
"""What is smaller is not larger: "Is the nest larger than a fist?" - "The nest is smaller than a fist"."""
INTERJECTION = re.compile(
    r"^\W*(?:indeed|unfortunately|however|actually|sure|certainly|well|okay|ok|hmm+|of course)\s*,\s*", re.IGNORECASE
)
NOT_SEEN = re.compile(
    r"\b(?:i|we|you)\s(?:(?:do|did) ?n[o']t|can ?not|can't|could ?n[o']t)\s"
    r"(?:see|find|spot|detect|identify|notice)\s(?=(?:any|an?|the)\b)",
    re.IGNORECASE,
)
"""A look that found nothing is no refusal to look."""
NO_DOUBT = re.compile(
    r"\b(?:(?:there is |there's |there can be )?no (?:doubt|question)|without (?:a |any )?doubt|undoubtedly)"
    r"(?: (?:about it|at all))?,?(?: that\b)?",
    re.IGNORECASE,
)
"""What denies nothing."""
PLACE = re.compile(
    r"\s(?:in|on|at|near|towards?|to)\sthe\s(?:[a-z]+(?:\s|-))?(?:left|right|upper|lower|top|bottom|middle|center|centre|"
    r"foreground|background)\b(?:[ -](?:left|right))?(?:\s(?:corner|side|part|half|hand side|edge|area))?"
    r"(?:\sof\sthe\s(?:image|picture|photo))?",
    re.IGNORECASE,
)
SUPPOSITION = re.compile(
    r"\s(?:assuming|given that|if|according to|based on|when|while)\b[^?]*$|,\s(?:which|who)\s[^,]*(?=,)", re.IGNORECASE
)
BREAK = re.compile(r",\s(?!\d)|\s(?:because|since|although|but|as it|according to)\b")
IS_A = re.compile(r"\b(?:is|are)\s(?:an?|the|one|common|known)\b", re.IGNORECASE)


def restated(text: str, question: str) -> str | None:
    """`Yes` or `No` where the first sentence of `text` says the question as a statement, or denies it; None otherwise.

    Every word of the question that matters must be there, in its order, and no comparison that the question lacks; the
    opposite comparison of the same things denies it.
    """
    asked = list(QUESTION.finditer(plain(question)))
    text = NOT_SEEN.sub("there is no ", INTERJECTION.sub("", NO_DOUBT.sub(" ", text)))
    first = next((part for _, part in sentences(text) if re.search(r"\w", part)), "")
    if not asked or REFUSAL.search(text) or CONDITION.match(first) or first.rstrip().endswith("?"):
        return None
    rest = SUPPOSITION.sub("", asked[-1]["rest"])
    clause = SUPPOSITION.sub("", LOOKED.sub("", first))
    if not re.search(r"\b(?:left|right)\b", rest, re.IGNORECASE):
        clause = PLACE.sub("", clause)
    clause = BREAK.split(clause)[0]
    if THAN.search(rest) and not THAN.search(clause):  # "There are more cars", and not than what
        rest = THAN.sub("", rest)
    wanted, said = _words(rest), _words(clause)
    exists = re.match(r"there\b", rest, re.IGNORECASE)
    if exists and ONE_OF_THEM.match(first):
        return "Yes"
    if not wanted or len(said) > len(wanted) + 6 or (exists and IS_A.search(clause) and not THERE.search(clause)):
        return None
    for one, other in OPPOSED:
        for mine, theirs in ((one, other), (other, one)):
            turned = [mine if word == theirs else word for word in said]
            if mine in wanted and theirs in said and theirs not in wanted and _same(wanted, turned):
                return None if NEGATION.search(clause) else "No"
    if not _same(wanted, said):
        return None
    if DOUBT.search(clause) and not DOUBT.search(rest):
        return None
    negations = len(NEGATION.findall(clause)) - len(NEGATION.findall(rest))
    return {0: "Yes", 1: "No"}.get(negations)


ONE_OF_THEM = re.compile(
    r"\W*there(?:'s| is) one(?:\W*$|\s(?:in|on|at|behind|near|next|under|by|beside|above|below)\b)", re.IGNORECASE
)
"""Of what the question asks about: "There's one behind the tree"."""
THAN = re.compile(r"\sthan\b.*", re.IGNORECASE)


def opposed(sentence: str, question: str) -> bool:
    """Whether the sentence compares the other way round: "smaller", where the question asks what is larger."""
    said, asked = set(_words(sentence)), set(_words(question))
    return any(
        theirs in said and mine in asked and mine not in said and theirs not in asked
        for one, other in OPPOSED
        for mine, theirs in ((one, other), (other, one))
    )


THERE = re.compile(r"\b(?:there|it)\b", re.IGNORECASE)


def _same(wanted: list[str], said: list[str]) -> bool:
    """Whether the words say the same: the same comparisons, and every wanted word in its order."""
    turned = len(wanted) == 2 and said == wanted[::-1]  # "an even function": "the function is even"
    return set(said) & COMPARING == set(wanted) & COMPARING and (turned or _in_order(wanted, said))


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
    begins = long.startswith(stem) or (short.endswith("y") and long.startswith(f"{short[:-1]}ie"))
    return one == other or (len(short) > 2 and begins and len(long) - len(short) <= 3)
