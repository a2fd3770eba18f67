"""MathVista (testmini): mathematics in pictures; letters, integers, decimals, lists.

Paper: Lu et al. 2023, arXiv 2310.02255.
Data set: VLMEvalKit's MathVista_MINI.tsv, 1,000 questions that carry their own hint on the form of the answer.
Metric: accuracy in percent; five tasks and seven skills (a question has one task and any number of skills).
Cluster: the question.
The kit recognises an answer itself where that is right, or a letter, and lets a judge extract all others. Without a
judge it refuses; here those are unread, and the number is comparable with nothing.
Known defects of the kit: answers that are lists or free text are always wrong, "14.0" is wrong for 14. Protocol
`strict` is our reading (`benchmarks.reading`), without a judge, compared as the benchmark's own script does: integers
without their decimals, decimals rounded to the precision asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from .. import choice, kit, likelihood
from ..errors import RowError
from ..estimates import mean_by_group
from ..judged import Extraction
from ..prompts import from_template
from ..reading import read_list, read_number, read_phrase
from ..records import ImageRef, JudgeRequest, Row, Sample
from ..scoring import each_by_itself
from ..task import DataTable, ProtocolRule, Task

AKI_PROMPT = "<image>\n{question}"
VLMEVALKIT_PROMPT = "<image>{question}"


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    choices = _list(row, "choices") if row["question_type"] == "multi_choice" else []
    target = row["answer_option"] if choices else row["answer"]
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=target,
        choices=dict(zip(choice.LETTERS, choices, strict=False)),
        groups=(f"task/{row['task']}", *dict.fromkeys(f"skill/{skill}" for skill in _list(row, "skills"))),
        cluster=row["index"],
        row=row,
    )


def _list(row: Row, column: str) -> list[str]:
    """A cell with a list literal; for skills a bare name is a list of one, as in the kit."""
    cell = row[column]
    if column == "skills" and not cell.startswith("["):
        return [cell]
    try:
        return [str(each) for each in kit.literal_list(cell)]
    except ValueError as error:
        raise RowError(f"row {row['index']}: column {column} is {error}") from error


def _request(sample: Sample, answer: str) -> JudgeRequest:
    return JudgeRequest(
        index=sample.index,
        kind="extract_mathvista",
        prompt=kit.mathvista_prompt(sample.question, answer),
        parameters={"temperature": 0, "max_tokens": 128},
        facts={"question": sample.question, "candidate": answer, **sample.choices},
        parse=lambda reply: reply if reply.strip() else None,
    )


def strict(sample: Sample, answer: str) -> tuple[float, str | None]:
    """As the benchmark normalises: a letter; a number rounded to the answer's precision; a list; or the text itself."""
    if sample.choices:
        return choice.strict(sample, answer)
    read, normalised = READERS.get(sample.row["answer_type"], (_phrase, lambda text, row: text))
    found, target = read(answer, sample.question), read(sample.target, "")
    right = found is not None and target is not None and normalised(found, sample.row) == normalised(target, sample.row)
    return float(right), found


def _phrase(answer: str, question: str) -> str | None:
    return read_phrase(answer)


def _integer(number: str, row: Row) -> str:
    return number.split(".")[0]


def _decimal(number: str, row: Row) -> str:
    return f"{Decimal(number):.{int(float(row.get('precision', '2')))}f}"


READERS: dict[str, tuple[Callable[[str, str], str | None], Callable[[str, Row], str]]] = {
    "integer": (read_number, _integer),
    "float": (read_number, _decimal),
    "list": (lambda answer, question: read_list(answer), lambda listed, row: listed),
}
"""By the type of the answer: how it is read, and what is compared."""

TASK = Task(
    name="mathvista",
    title="MathVista (testmini)",
    paper="arXiv:2310.02255",
    tables=(DataTable(name="MathVista_MINI", md5="f199b98e178e5a2a20e7048f5dcb0464", num_rows=1000),),
    paper_table=12,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT)},
    protocols={
        "kit": ProtocolRule(
            score=Extraction(
                match=lambda sample, answer: kit.mathvista_prefetch(sample.row, answer),
                request=_request,
                unmatched="",
                is_right=lambda sample, found: kit.mathvista_is_right(sample.row, found),
            ).scorer("kit"),
            estimate=mean_by_group,
            extractor="needed",
        ),
        "strict": ProtocolRule(score=each_by_itself("strict", strict), estimate=mean_by_group),
        **likelihood.rules(mean_by_group),
    },
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
)
