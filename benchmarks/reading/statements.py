"""What an answer states, how strongly, and what holds when it states several things."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Strength(IntEnum):
    """How plainly something is given. Only statements of the greatest strength in an answer count."""

    MENTION = 1
    """By its own words in a sentence: "It is a dog", "There are 14 cubes"."""
    LEAD = 2
    """The answer begins with it: "B. dog", "Yes, ..."."""
    ALONE = 3
    """A line of its own, or a conclusion: "B", "Hence, yes."."""
    ANSWER = 4
    """Called the answer: "The answer is B", "Antwort: 14", "I choose B"."""
    FINAL = 5
    """Called the final answer."""
    BOXED = 6


@dataclass(frozen=True)
class Statement:
    """`value` stands at characters `start` to `end`. None: several values in one statement ("A or B")."""

    strength: Strength
    value: str | None
    start: int
    end: int


CORRECTED = re.compile(
    r"\b(?:actually|wait|sorry|correction|corrected|however|but|instead|oops|hmm+|mistake|mistaken|rather|revised?|"
    r"on second thought|let me|(?:re|double)-?\s?check\w*|therefore|thus|hence|so|final|finally|in conclusion|overall|"
    r"then|in summary|to summari[sz]e|my answer)\b|因此|所以|不对|等等|故",
    re.IGNORECASE,
)


def settled(statements: Sequence[Statement], text: str) -> str | None:
    """The value that the answer ends up giving: the last of the strongest statements.

    None when there is no statement, when the last gives several values, and when it contradicts one of its own
    strength without a word of correction or conclusion between the two.
    """
    if not statements:
        return None
    top = max(statement.strength for statement in statements)
    strongest = sorted((each for each in statements if each.strength == top), key=lambda each: (each.start, each.end))
    last = strongest[-1]
    differing = [each for each in strongest if each.value != last.value]
    if last.value is None or not differing:
        return last.value
    before = max(each.end for each in differing)
    return last.value if before <= last.start and CORRECTED.search(text, before, last.end) else None


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """(start, sentence) with its end mark. A dot within a number or after a single letter (not a unit) ends nothing."""
    start = 0
    for found in re.finditer(
        r"\n|[!?！？]+|(?:(?<!\b[A-Za-z])(?<!: \d)|(?<=\d [a-z]))\.(?=\s|$|[A-Z\u4e00-\u9fff])|;\s", text
    ):
        yield start, text[start : found.end()]
        start = found.end()
    if start < len(text):
        yield start, text[start:]


def without_questions(text: str) -> str:
    """Without the sentences that ask. "B?" alone stays: it answers, if unsurely."""
    parts = [part for _, part in sentences(text)]
    if len(parts) == 1 and len(text.split()) <= 2:
        return text
    return "".join(part for part in parts if not part.rstrip().endswith("?"))


REFUSAL = re.compile(
    r"\b(?:sorry|unable|unfortunately|apologi[sz]e|cannot|can ?not|can't|couldn't|could not|impossible|not possible|"
    r"(?:i|we|you) (?:still )?(?:do|did) ?n[o']t (?:know|have|see)|(?:do|does|did) ?n[o']t (?:provide|specify|mention"
    r"|say|show enough)|not (?:provided|enough|sure|clear|given|visible)|"
    r"isn't (?:enough|clear)|no (?:information|way|idea|image|picture|context)|insufficient|please (?:provide|upload"
    r"|share)|"
    r"too [a-z]+ to (?:tell|say|see|identify|determine|make out|be sure)|(?:hard|difficult) to (?:tell|say"
    r"|determine|make out)|"
    r"to (?:tell|say) (?:if|whether)|need (?:more|to know|the)|is needed|unclear|undetermined|(?:is|are"
    r"|remains?|stays?) unknown|without (?:more|any|further|the)|depends on"
    r"|it depends)\b"
    r"|无法|不能确定|抱歉|对不起|不知道",
    re.IGNORECASE,
)
"""Words of one who does not answer: a value that is only mentioned beside them is not given."""

CONDITION = re.compile(
    r"^\W*(?:otherwise\b|(?:had|were) (?:there|it|this|that|the|he|she|they)\s|(?:if|unless|assuming|suppose"
    r"|supposing|provided that|when)\s"
    r"(?!(?:we|you|i|one)\s+(?:look|see|zoom|count|observe|consider|add|compare|examine|check|take|use|subtract"
    r"|start)))",
    re.IGNORECASE,
)
"""A sentence that answers another question than the one asked."""

ANSWER_WORD = (
    r"(?:answers?|option|choice|letter|solution|conclusion|response|result|pick|selection|prediction|"
    r"antwort|lösung|ergebnis|réponse|reponse|résultat|respuesta|solución|resposta|risposta|opción|opção|opzione|"
    r"ответ|вариант|jawaban|đáp án|cevap|yanıt|odpowiedź|antwoord|svar|答案|答え|正解|回答|选项|選項|정답|답)"
)
_VERB = (
    r"(?:(?<![A-Za-z])(?:is|are|was|be|becomes?|ist|lautet|wäre|est|serait|es|sería|é|è|equals?|seems|appears|matches"
    r"|adalah|"
    r"jest|but)(?![A-Za-zéè])|应为|应该是|应选|为|為|是|选|は|が|은|는|이|:|=|→|->|=>|⇒|(?<=\s)[-–—](?=\s))"
)
_FILLER = (
    r"(?:(?:but|option|choice|letter|number|answer|clearly|therefore|thus|definitely|indeed|simply|just|most|likely"
    r"|probably|"
    r"certainly|to|be|that|likely|the|one|correct|approximately|about|roughly|around|nearly|exactly|equal|"
    r"(?:a|o|el|il)\s+(?=letra|lettera|alternativa|opção|opción|opzione)|alternativa|"
    r"opción|opção|opzione|la|l'|lettre|letra|lettera|die|der|option|choix|選択肢|选项|:|=)[\s:,]*)"
)
STATED = re.compile(
    rf"(?P<final>final\s+(?=answer|result)|最终|endgültige\s+)?"
    rf"(?<![A-Za-z])(?:{ANSWER_WORD}|final\s+(?:value|number|integer|list|count|total|choice))(?![A-Za-z])"
    rf"(?P<between>[^.\n:=;!?()\[\]{{}}→]{{0,60}}?)\s*{_VERB}[\s:]*{_FILLER}{{0,6}}",
    re.IGNORECASE,
)
"""The words before an answer that is called so. `between`: what it is the answer to."""

NEGATED = re.compile(r"\b(?:not|n't|never|neither|nor|no|without|cannot|can't|isn't|wasn't|aren't)\b", re.IGNORECASE)


ANNOUNCED = re.compile(r"\b(?:detailed|step[- ]by[- ]step|complete|full|long(?:er)?)\s+$", re.IGNORECASE)
"""Before an "answer:" with many lines under it, which are the way to it."""


def stated(text: str) -> Iterator[tuple[Strength, int, int]]:
    """(strength, start, where the answer begins) wherever something is called the answer. Negated ones are left out."""
    for found in STATED.finditer(text):
        if NEGATED.search(found["between"]) or re.compile(r"not\b|neither\b", re.IGNORECASE).match(text, found.end()):
            continue
        if "\n" in found[0] and ANNOUNCED.search(text, max(0, found.start() - 40), found.start()):
            continue
        yield (Strength.FINAL if found["final"] else Strength.ANSWER), found.start(), found.end()


CONCLUSION = re.compile(
    r"(?:\b(?:therefore|thus|hence|so|consequently|accordingly|conclusion|in conclusion|in summary|finally|overall"
    r"|donc|"
    r"daher|also|folglich|portanto|por lo tanto|quindi|итак|поэтому)\b|因此|所以|故选|故|选|選|⇒|=>|→|->)[\s,:]*",
    re.IGNORECASE,
)
