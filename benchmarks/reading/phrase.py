"""Which word or phrase an answer to an open question gives."""

from __future__ import annotations

import re

from .plain import BOXED, plain
from .statements import CONCLUSION, REFUSAL, Statement, Strength, settled, stated


def read_phrase(answer: str) -> str | None:
    """The phrase that the answer gives, folded; None where it gives several or only talks.

    A short answer is its own phrase; a long one gives what it boxes or calls the answer.
    """
    text = plain(answer)
    statements = [
        Statement(Strength.BOXED, folded(box[1]), box.start(), box.end())
        for box in BOXED.finditer(text)
        if folded(box[1])
    ]
    for strength, start, at in stated(text):
        phrase = re.compile(r"(?:[^.\n!?;]|\.(?=\S)){0,200}").match(text, at)
        value = folded(phrase[0]) if phrase else ""
        if value:
            statements.append(Statement(strength, value, start, at + len(value)))
    if not statements:
        lines = [line for line in text.split("\n") if line.strip()]
        last = folded(CONCLUSION.sub("", lines[-1], count=1)) if lines else ""
        if (
            last
            and len(last.split()) <= 12
            and (len(lines) == 1 or len(last.split()) <= 4)
            and not REFUSAL.search(text)
        ):
            statements.append(Statement(Strength.ALONE, last, 0, len(text)))
    return settled(statements, text)


def folded(text: str) -> str:
    """For comparison: one space between words, no article in front, no marks around, no case."""
    words = re.sub(r"\s+", " ", text).strip(" .,:;!?\"'()[]{}\ue000\ue001").casefold()
    return re.sub(r"^(?:it is |it's |this is )?(?:an? |the )?", "", words)
