"""Multiple choice: which letter an answer names.

Two readings. VLMEvalKit's (`by_kit`): a lone option letter among the last words, else the one option whose text
occurs, else a judge; known to take `B. Explanation: it shows a cat` for A (cat) and to miss `The answer is A because
...`. Ours (`strict`): what a person would read (`benchmarks.reading`), its agreement measured in
docs/reading_quality.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import kit, likelihood
from .data.tsv import image_cluster
from .errors import RowError
from .estimates import Estimator
from .judged import Extraction
from .prompts import as_shown, from_template
from .reading import read_choice
from .records import ImageRef, JudgeRequest, Prompt, PromptStyle, Row, Sample
from .scoring import each_by_itself
from .task import ProtocolRule

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

AKI_PROMPT = (
    "<image>\nAnswer with the option's letter from the given choices directly. {question}\n"
    "[[Context: {hint}\n]]Options:\n{options}"
)
VLMEVALKIT_PROMPT = (
    "<image>[[Hint: {hint}\n]]Question: {question}\n"
    "[[Options:\n{options}Please select the correct answer from the options above. \n]]"
)
PROMPTS: Mapping[PromptStyle, Callable[[Sample], Prompt]] = {
    "aki": from_template(AKI_PROMPT),
    "vlmevalkit": from_template(VLMEVALKIT_PROMPT, kit.choices),
}
"""Of an ordinary multiple-choice benchmark."""


def options_of(row: Row) -> dict[str, str]:
    """The cells A, B, ... that are there."""
    return {letter: row[letter] for letter in LETTERS if letter in row}


def target_of(row: Row, answer: str) -> str:
    """`answer`, the row's right letter. A row without options has none to check it against.

    Raises:
        RowError: it is none of the row's options, so that every answer would count as wrong.
    """
    options = options_of(row)
    if options and answer not in options:
        raise RowError(f"row {row['index']}: the answer is {answer[:40]!r}, none of the options {', '.join(options)}")
    return answer


def to_sample(row: Row, images: tuple[ImageRef, ...], groups: tuple[str, ...] = ()) -> Sample:
    """A row with a picture, a question, options and a letter; its cluster is the picture."""
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=target_of(row, row["answer"]),
        choices=options_of(row),
        groups=groups,
        cluster=image_cluster(row, images),
        row=row,
    )


def extraction(
    options: Callable[[Sample], Mapping[str, str]] = kit.choices,
    target: Callable[[Sample], str] = lambda s: s.target,
    table: str | None = None,
) -> Extraction:
    """VLMEvalKit's reading: exact matching, then the judge as answer extractor, asked as for `table`."""

    def request(sample: Sample, answer: str) -> JudgeRequest:
        given = options(sample)
        # The kit's text matching lowers the options in place before it reads the judge's reply against them.
        lowered = {letter: text.lower() for letter, text in given.items()}
        return JudgeRequest(
            index=sample.index,
            kind="extract_choice",
            prompt=kit.choice_prompt(sample.question, given, answer, table),
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


def rules(estimate: Estimator, table: str | None = None) -> dict[str, ProtocolRule]:
    """The protocols of an ordinary multiple-choice benchmark: `kit` and `strict`."""
    return {
        "kit": ProtocolRule(score=extraction(table=table).scorer("kit"), estimate=estimate, extractor="helps"),
        "strict": ProtocolRule(score=each_by_itself("strict", strict), estimate=estimate),
        **likelihood.rules(estimate),
    }


def strict(sample: Sample, answer: str) -> tuple[float, str | None]:
    letter = read_choice(answer, as_shown(sample), sample.question)
    return float(letter == sample.target), letter
