"""Which of yes and no an answer says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .plain import BOXED, plain
from .restated import NEGATION, restated
from .statements import CONCLUSION, CONDITION, Statement, Strength, sentences, settled, stated, without_questions

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
    "y": "Yes",
    "n": "No",
    "that is incorrect": "No",
    "i believe so": "Yes",
    "i think so": "Yes",
    "it appears so": "Yes",
    "it seems so": "Yes",
    "i don't think so": "No",
    "i don't believe so": "No",
    "i do not think so": "No",
    "it does not appear so": "No",
    "it doesn't appear so": "No",
    "not that i can see": "No",
    "of course there is": "Yes",
    "there is": "Yes",
    "there are": "Yes",
    "there is not": "No",
    "there isn't": "No",
    "none": "No",
    "there aren't": "No",
    "that's incorrect": "No",
}
WORD = re.compile(rf"(?:(?P<yes>{YES})|(?P<no>{NO}))(?![A-Za-zäöüéíãõ'_-])", re.IGNORECASE)
WITHIN_CJK = re.compile(r"(?<=[\u3040-\u9fff\uac00-\ud7af])[\u3040-\u9fff\uac00-\ud7af]")
"""A word of a script without spaces is one only where it ends: 不 begins 不确定 (not sure)."""
ARTICLE = re.compile(
    r"\s+(?:doubt|problem|worries|idea|one|body|matter|longer|other|further|more|less|information|image|picture|way"
    r"|need|"
    r"clear|specific|single|such|wonder|question|answer|option|obvious|visible|evidence|indication|sign|comment"
    r"|additional|"
    r"data|context|text|mention|reason|difference)\b",
    re.IGNORECASE,
)
BOTH = re.compile(rf"\s*(?:and|or|/|oder|et|ou|y|o|和|或)\s*(?:{YES}|{NO})(?![A-Za-z])", re.IGNORECASE)
LISTED = re.compile(r"\s*,\s*(?P<word>yes|no)\s*(?=[,.;!?]|$)", re.IGNORECASE)
SAID = re.compile(
    r"\b(?:i|we|i'd|we'd)\s+(?:would\s+|will\s+|can\s+|must\s+)?(?:say|answer|think|believe|guess"
    r"|conclude)\s+(?:that\s+)?(?:(?:this|it)\s+)?(?:with\s+)?"
    r"(?:it(?:'s| is)\s+|the answer is\s+)?(?:a\s+)?|\b(?:it's|it is|that's|that is|(?:answer|reply"
    r"|respond)[^.,;!?\n]{0,30} with)\s+a\s+",
    re.IGNORECASE,
)
NOT_SAID = re.compile(
    r"\b(?:nor|neither|cannot|can't|not|if|whether|should|would|when)(?:\s+(?:can|could|do|did|would|will|should))?\s*$",
    re.IGNORECASE,
)
"""What makes "I say yes" no saying: "nor can I say yes"."""
AFTER_ALL = re.compile(
    r"\b(?:but|actually|however)\b[^.!?\n]{0,60}?[\s,:](?P<word>yes|no)(?=\s*(?:[,.!;]|$))", re.IGNORECASE
)
SKIPPED = re.compile(
    r"[\s\"'(\[{,:;.*-]*(?:a |simply |clearly |definitely |just |most likely |probably )*[\"'(\[]*", re.IGNORECASE
)


JUDGED = re.compile(
    r"\b(?:(?:the |this |that )?(?:statement|claim|sentence|description|assertion)|that|this|it)(?:\s+is|'s)\s+"
    r"(?P<turned>not\s+)?(?:indeed\s+|definitely\s+|clearly\s+)?(?P<word>true|false|correct|incorrect)(?=\s*(?:[.,!;\n]|$))",
    re.IGNORECASE,
)
"""A verdict on what was asked: "The statement is true"."""
SURELY = re.compile(
    r"\W*(?:absolutely|definitely|certainly|of course|indeed)(?:[,.!]|(?=\s(?:there|it|he|she|they|this|that"
    r"|the)\b))[^.!?\n]*",
    re.IGNORECASE,
)
COURTESY = re.compile(
    r"\A\W*(?:no (?:problem|worries)|sure(?: thing)?|okay|ok|of course|certainly)\s*[!.]\s+(?=\S)", re.IGNORECASE
)
OPEN = re.compile(
    r"\W{0,3}(?:it|this|that|one|we|i)\s(?:cannot|can't|can not|could not|couldn't)\s(?:be\s)?"
    r"(?:determined?|said|say|known|know|tell|told|decided?|inferred|infer|confirmed?|verified|verify)\b"
    r"|\W{0,3}(?:it|this|that)(?:\sis|'s)\s(?:not possible|impossible|unclear|not clear)\b",
    re.IGNORECASE,
)
"""After a "No" that does not answer: "No, it cannot be determined"."""
TAG = re.compile(
    r"\W{0,3}(?:there|it|they|he|she)\s(?:is|are|was|were|does|do|did|has|have|can)(?P<denied>n't|\s?not)?\s*(?=[.,;!]|$)",
    re.IGNORECASE,
)
"""The verb said again: "Yes, there is", and in a contradiction "Yes, there isn't"."""
CORRECTING = re.compile(r"\W*(?:(?:actually|wait|correction|sorry|hmm)\W+)?", re.IGNORECASE)


def read_yes_no(answer: str, question: str = "") -> str | None:
    """`Yes`, `No`, or None where the answer does not plainly say one of them.

    `question` lets "There is no dog in the image" answer "Is there a dog in the image?".
    """
    text = COURTESY.sub("", re.sub(r"\A\s*(?:A|(?i:yes\s?/\s?no))\s*:\s*", "", without_questions(plain(answer))))
    whole = re.sub(r"[^\w' ]", "", text).strip().lower()
    if whole in SURE:
        return SURE[whole]
    words = set(whole.split())
    if len(words) == 1 and words <= {"yes", "no"}:  # said again and again
        return words.pop().capitalize()
    statements = [
        *_boxed(text),
        *_called(text),
        *_lines(text),
        *_concluded(text),
        *_judged(text),
        *_lead(text, question),
    ]
    if (
        not statements
        and not _word(text, 0)
        and (found := {each["word"].capitalize() for each in AFTER_ALL.finditer(text)})
    ):
        return found.pop() if len(found) == 1 else None
    if not statements and question:
        return restated(text, question)
    return settled(statements, text)


def _word(text: str, at: int) -> tuple[str | None, int] | None:
    """(Yes or No, end) where one is said at `at`; (None, end) for "yes or no"; None where none is."""
    at = SKIPPED.match(text, at).end()  # type: ignore[union-attr]  # matches anything
    found = WORD.match(text, at)
    if not found or WITHIN_CJK.match(text, found.end()) or (found["no"] and ARTICLE.match(text, found.end())):
        return None
    value = "Yes" if found["yes"] else "No"
    listed = LISTED.match(text, found.end())
    if BOTH.match(text, found.end()) or (listed and listed["word"].capitalize() != value):
        return None, found.end()
    return value, found.end()


def _boxed(text: str) -> Iterator[Statement]:
    for box in BOXED.finditer(text):
        said = _word(box[1], 0)
        if said:
            yield Statement(Strength.BOXED, said[0], box.start(), box.end())


def _called(text: str) -> Iterator[Statement]:
    places = [
        *stated(text),
        *(
            (Strength.ANSWER, found.start(), found.end())
            for found in SAID.finditer(text)
            if not NOT_SAID.search(text[max(0, found.start() - 25) : found.start()])
        ),
    ]
    for strength, start, at in places:
        said = _word(text, at)
        if said and not CONDITION.match(_sentence_of(text, start)):
            yield Statement(strength, said[0], start, said[1])


def _sentence_of(text: str, at: int) -> str:
    begin = max(text.rfind(mark, max(0, at - 300), at) for mark in (". ", "\n", "; ", "! ", "? ")) + 1
    return text[begin : at + 300]


def _lines(text: str) -> Iterator[Statement]:
    """Lines that hold nothing but the word."""
    for line in re.finditer(r"[^\n]+", text):
        said = _word(line[0], 0)
        if said and not re.search(r"[A-Za-z0-9]", line[0][said[1] :]) and not line[0].rstrip().endswith("?"):
            yield Statement(Strength.ALONE, said[0], line.start(), line.end())


def _concluded(text: str) -> Iterator[Statement]:
    for found in CONCLUSION.finditer(text):
        said = _word(text, found.end())
        if said and re.match(r"\s*(?:[.,;:!\n]|$)", text[said[1] : said[1] + 10]):
            yield Statement(Strength.ALONE, said[0], found.start(), said[1])


PLAIN_AFTER_NO = re.compile(
    r"\s*(?:[.,;:!\n]|[–—-]\s|\(|$|(?:it|he|she|they|there|this|that|the|i|we|because|since|as)\b)", re.IGNORECASE
)


def _judged(text: str) -> Iterator[Statement]:
    for found in JUDGED.finditer(text):
        if not CONDITION.match(_sentence_of(text, found.start())):
            right = found["word"].lower() in ("true", "correct")
            value = "Yes" if right != bool(found["turned"]) else "No"
            yield Statement(Strength.LEAD, value, found.start(), found.end())


def takes_back(said: str | None, rest: str, question: str) -> bool:
    """Whether what follows the word takes it back: "Yes, there isn't", "No, it cannot be determined"."""
    if said == "No" and OPEN.match(rest):
        return True
    tag = TAG.match(rest)
    if tag:
        return bool(tag["denied"]) == (said == "Yes") and not NEGATION.search(question)
    return False


def _lead(text: str, question: str) -> Iterator[Statement]:
    """What the answer begins with, and the same word corrected: "No, wait. Actually yes"."""
    said = _word(text, 0)
    if not said:
        surely = SURELY.match(text)
        if surely and not NEGATION.search(surely[0]):
            yield Statement(Strength.LEAD, "Yes", 0, surely.end())
        parts = [each for each in sentences(text) if re.search(r"\w", each[1])]
        if len(parts) > 1 and (last := _word(parts[-1][1], 0)) and not re.search(r"\w", parts[-1][1][last[1] :]):
            yield Statement(Strength.LEAD, last[0], parts[-1][0], len(text))
        return
    first, end = said
    if takes_back(first, text[end:], question):
        yield Statement(Strength.LEAD, None, 0, len(text))
        return
    if first == "No" and not PLAIN_AFTER_NO.match(text, end):
        return
    if text.rstrip().endswith("?"):
        return
    if not re.match(r"\W*(?:wait|actually|sorry|hmm)\b", text[end : end + 20], re.IGNORECASE):
        yield Statement(Strength.LEAD, first, 0, end)
    for start, part in list(sentences(text))[1:]:
        begun = CORRECTING.match(part).end()  # type: ignore[union-attr]  # matches anything
        again = _word(part, begun)
        if again and re.match(r"\s*(?:[.,;:!\n]|$)", part[again[1] :][:10]):
            yield Statement(Strength.LEAD, again[0], start + begun, start + again[1])
