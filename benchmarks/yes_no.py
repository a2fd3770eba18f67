"""Yes/no questions: which of the two an answer says.

VLMEvalKit's reading (`by_kit`): one of the words occurs and the other does not, so `There is no dog` says No and
`**Yes**` says nothing; then a judge. Ours (`strict`): what a person would read (`benchmarks.reading`), its agreement
measured in docs/reading_quality.md.
"""

from __future__ import annotations

import re

from . import kit, likelihood
from .errors import RowError
from .estimates import Estimator
from .judged import Extraction
from .reading import read_yes_no
from .records import JudgeRequest, Sample
from .scoring import each_by_itself
from .task import ProtocolRule

UNKNOWN = "Unknown"


def target_of(answer: str, index: str) -> str:
    """`Yes` or `No`.

    Raises:
        RowError: anything else: the kit would count the question as a No.
    """
    if answer not in ("Yes", "No"):
        raise RowError(f"row {index}: the answer is {answer!r}, expected Yes or No")
    return answer


def _parse(reply: str) -> str | None:
    """A judge's Yes or No as the kit reads it, and Unknown, the third answer that its prompt allows."""
    return kit.read_yes_no(reply) or (UNKNOWN if "unknown" in re.findall(r"[a-z]+", reply.lower()) else None)


def _request(sample: Sample, answer: str) -> JudgeRequest:
    return JudgeRequest(
        index=sample.index,
        kind="extract_yes_no",
        prompt=kit.yes_no_prompt(sample.question, answer),
        parameters={"temperature": 0},
        facts={"question": sample.question, "candidate": answer},
        parse=_parse,
    )


def strict(sample: Sample, answer: str) -> tuple[float, str | None]:
    found = read_yes_no(answer, sample.question)
    return float(found == sample.target), found


extraction = Extraction(match=lambda _, answer: kit.read_yes_no(answer), request=_request, unmatched=UNKNOWN)


def rules(by_kit: Estimator, strictly: Estimator) -> dict[str, ProtocolRule]:
    """`kit` and `strict` with an aggregation each."""
    return {
        "kit": ProtocolRule(score=extraction.scorer("kit"), estimate=by_kit, extractor="helps"),
        "strict": ProtocolRule(score=each_by_itself("strict", strict), estimate=strictly),
        **likelihood.rules(strictly, (likelihood.LABELS,)),
    }
