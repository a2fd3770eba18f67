"""Multiple choice: which letter an answer names.

Two readings. VLMEvalKit's (`by_kit`): a lone option letter among the last words, else the one option whose text
occurs, else a judge; known to take `B. Explanation: it shows a cat` for A (cat) and to miss `The answer is A because
...`. Ours (`strict`): a letter that is plainly given as the answer, or exactly an option's text; nothing else counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from . import kit
from .judged import Extraction
from .prompts import as_shown
from .records import JudgeRequest, Row, Sample
from .scoring import each_by_itself
from .statistics import Estimator
from .task import ProtocolRule

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

MARKUP = " \t\r\n*_`\"'$<>"
LONE = re.compile(r"\(?([A-Za-z])\)?[.:,;!]?")
BOXED = re.compile(r"\\boxed\{(?:\\text\{)?\s*([A-Z])\s*\}?\}")
LEADING = re.compile(r"(?:\(([A-Z])\)|([A-Z])[).:,](?=\s|$)|([A-Z])(?=\s*\n))")
STATED = re.compile(r"(?i:answer|option|choice)(?i:\s+is)?\s*:?\s*[*_`\"'$<(\[]*([A-Z])(?![A-Za-z'’])")


def options_of(row: Row) -> dict[str, str]:
    """The cells A, B, ... that are there."""
    return {letter: row[letter] for letter in LETTERS if letter in row}


def read_strictly(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter plainly given: alone, in front, boxed, after "answer", "option", "choice"; or an option's exact text.

    None when the answer gives none of these, or several that disagree.
    """
    text = answer.strip(MARKUP)
    lone = LONE.fullmatch(text)
    if lone:
        return lone[1].upper() if lone[1].upper() in options else None
    leading = LEADING.match(text)
    stated = {*BOXED.findall(text), *STATED.findall(text)}
    if leading:
        stated.add(next(letter for letter in leading.groups() if letter))
    letters = stated & set(options)
    if letters:
        return letters.pop() if len(letters) == 1 else None
    same = [letter for letter, option in options.items() if _plain(option) == _plain(text)]
    return same[0] if len(same) == 1 else None


def _plain(text: str) -> str:
    return text.strip(MARKUP + ".").casefold()


def extraction(
    options: Callable[[Sample], Mapping[str, str]] = kit.choices, target: Callable[[Sample], str] = lambda s: s.target
) -> Extraction:
    """VLMEvalKit's reading: exact matching, then the judge as answer extractor."""

    def request(sample: Sample, answer: str) -> JudgeRequest:
        given = options(sample)
        # The kit's text matching lowers the options in place before it reads the judge's reply against them.
        lowered = {letter: text.lower() for letter, text in given.items()}
        return JudgeRequest(
            index=sample.index,
            kind="extract_choice",
            prompt=kit.choice_prompt(sample.question, given, answer),
            parameters={"temperature": 0},
            facts={"question": sample.question, "candidate": answer, **given},
            parse=lambda reply: kit.read_choice(reply, lowered),
        )

    return Extraction(
        match=lambda sample, answer: kit.read_choice(answer, options(sample)),
        request=request,
        target=target,
        unmatched="Z",
    )


def rules(estimate: Estimator) -> dict[str, ProtocolRule]:
    """The protocols of an ordinary multiple-choice benchmark: `kit` and `strict`."""
    return {
        "kit": ProtocolRule(score=extraction().scorer("kit"), estimate=estimate, extractor="helps"),
        "strict": ProtocolRule(score=each_by_itself("strict", strict), estimate=estimate),
    }


def strict(sample: Sample, answer: str) -> tuple[float, str | None]:
    letter = read_strictly(answer, as_shown(sample))
    return float(letter == sample.target), letter
