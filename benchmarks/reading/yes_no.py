"""Which of yes and no an answer says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .plain import BOXED, plain
from .statements import CONCLUSION, CONDITION, REFUSAL, Statement, Strength, sentences, settled, stated

YES = r"yes|yeah|yep|yup|true|correct|ja|oui|sí|si|sim|sì|да|evet|是的?|对的?|有的|はい|예|네"
NO = r"no|nope|nah|false|incorrect|nein|non|não|нет|hayır|否|不是的?|不|没有|いいえ|아니요|아니오"
SURE = {
    "absolutely": "Yes",
    "definitely": "Yes",
    "certainly": "Yes",
    "of course": "Yes",
    "indeed": "Yes",
    "that is correct": "Yes",
    "that's correct": "Yes",
    "absolutely not": "No",
    "definitely not": "No",
    "certainly not": "No",
    "of course not": "No",
    "not at all": "No",
    "that is incorrect": "No",
    "that's incorrect": "No",
}
WORD = re.compile(rf"(?:(?P<yes>{YES})|(?P<no>{NO}))(?![A-Za-zäöüéíãõ'_-])", re.IGNORECASE)
WITHIN_CJK = re.compile(r"(?<=[\u3040-\u9fff\uac00-\ud7af])[\u3040-\u9fff\uac00-\ud7af]")
"""A word of a script without spaces is one only where it ends: 不 begins 不确定 (not sure)."""
ARTICLE = re.compile(
    r"\s+(?:doubt|problem|worries|idea|one|body|matter|longer|other|further|more|less|information|image|picture|way|need|"
    r"clear|specific|single|such|wonder|question|answer|option|obvious|visible|evidence|indication|sign|comment|additional|"
    r"data|context|text|mention|reason|difference)\b",
    re.IGNORECASE,
)
BOTH = re.compile(rf"\s*(?:and|or|/|oder|et|ou|y|o|和|或)\s*(?:{YES}|{NO})(?![A-Za-z])", re.IGNORECASE)
SAID = re.compile(
    r"\b(?:i|we|i'd|we'd)\s+(?:would\s+|will\s+|can\s+|must\s+)?(?:say|answer|think|believe|guess|conclude)\s+(?:that\s+)?"
    r"(?:it(?:'s| is)\s+|the answer is\s+)?(?:a\s+)?|\b(?:it's|it is|that's|that is)\s+a\s+",
    re.IGNORECASE,
)
SKIPPED = re.compile(r"[\s\"'(\[{,:;.*-]*(?:a |simply |clearly |definitely |just |most likely |probably )*[\"'(\[]*", re.IGNORECASE)
EXISTS = re.compile(r"^\W*(?:is|are) there (?:an? |any |some )?(?P<thing>[^?,]+?)(?: (?:in|on|at|visible|present|shown)\b[^?]*)?\?", re.IGNORECASE)


def read_yes_no(answer: str, question: str = "") -> str | None:
    """`Yes`, `No`, or None where the answer does not plainly say one of them.

    `question` lets "There is no dog in the image" answer "Is there a dog in the image?".
    """
    text = plain(answer)
    whole = re.sub(r"[^\w' ]", "", text).strip().lower()
    if whole in SURE:
        return SURE[whole]
    statements = [*_boxed(text), *_called(text), *_lines(text), *_concluded(text), *_lead(text)]
    if not statements and question:
        statements += _restated(text, question)
    return settled(statements, text)


def _word(text: str, at: int) -> tuple[str | None, int] | None:
    """(Yes or No, end) where one is said at `at`; (None, end) for "yes or no"; None where none is."""
    at = SKIPPED.match(text, at).end()  # type: ignore[union-attr]  # matches anything
    found = WORD.match(text, at)
    if not found or WITHIN_CJK.match(text, found.end()) or (found["no"] and ARTICLE.match(text, found.end())):
        return None
    if BOTH.match(text, found.end()):
        return None, found.end()
    return ("Yes" if found["yes"] else "No"), found.end()


def _boxed(text: str) -> Iterator[Statement]:
    for box in BOXED.finditer(text):
        said = _word(box[1], 0)
        if said:
            yield Statement(Strength.BOXED, said[0], box.start(), box.end())


def _called(text: str) -> Iterator[Statement]:
    places = [*stated(text), *((Strength.ANSWER, found.start(), found.end()) for found in SAID.finditer(text))]
    for strength, start, at in places:
        said = _word(text, at)
        sentence = _sentence_of(text, start)
        if said and not CONDITION.match(sentence) and not sentence.rstrip().endswith("?"):
            yield Statement(strength, said[0], start, said[1])


def _sentence_of(text: str, at: int) -> str:
    return next((part for start, part in sentences(text) if start <= at < start + len(part)), "")


def _lines(text: str) -> Iterator[Statement]:
    """Lines that hold nothing but the word."""
    for line in re.finditer(r"[^\n]+", text):
        said = _word(line[0], 0)
        if said and not re.search(r"[A-Za-z0-9]", line[0][said[1] :]) and not line[0].rstrip().endswith("?"):
            yield Statement(Strength.ALONE, said[0], line.start(), line.end())


def _concluded(text: str) -> Iterator[Statement]:
    for found in CONCLUSION.finditer(text):
        said = _word(text, found.end())
        if said and re.match(r"\s*(?:[.,;:!\n]|$)", text[said[1] :][:10]):
            yield Statement(Strength.ALONE, said[0], found.start(), said[1])


PLAIN_AFTER_NO = re.compile(r"\s*(?:[.,;:!\n]|[–—-]\s|\(|$|(?:it|he|she|they|there|this|that|the|i|we|because|since|as)\b)", re.IGNORECASE)


def _lead(text: str) -> Iterator[Statement]:
    """What the answer begins with, and the same word corrected: "No, wait. Actually yes"."""
    said = _word(text, 0)
    if not said:
        return
    first, end = said
    if first == "No" and not PLAIN_AFTER_NO.match(text, end):
        return
    if text.rstrip().endswith("?") and len(text) < 30:
        return
    yield Statement(Strength.LEAD, first, 0, end)
    for start, part in list(sentences(text))[1:]:
        begun = re.match(r"\W*(?:(?:actually|wait|correction|sorry|hmm)\W+)?", part, re.IGNORECASE)
        again = _word(part, begun.end() if begun else 0)
        if again and re.match(r"\s*(?:[.,;:!\n]|$)", part[again[1] :][:10]):
            yield Statement(Strength.LEAD, again[0], start + (begun.end() if begun else 0), start + again[1])


def _restated(text: str, question: str) -> list[Statement]:
    """The thing asked for is said to be there, or not to be."""
    asked = EXISTS.match(plain(question))
    if not asked or REFUSAL.search(text):
        return []
    thing = re.escape(asked["thing"].strip().lower())
    there = re.search(
        rf"\b(?:there (?:is|are)|i (?:can )?see|(?:image|picture|photo) (?:shows|contains|features|includes)|we (?:can )?see)"
        rf"\s+(?P<none>no|not an?|not any)?\s*(?:an?|one|some|the|two|several)?\s*{thing}\b|"
        rf"(?P<hidden>\bno {thing}s?\b|\bthere (?:isn't|aren't) (?:an?|any) {thing}s?\b)",
        text.lower(),
    )
    if not there:
        return []
    return [Statement(Strength.MENTION, "No" if there["none"] or there["hidden"] else "Yes", there.start(), there.end())]
