"""LLaVA-Bench (in the wild): open questions about 24 pictures, graded beside a reference answer from 1 to 10.

Paper: Liu et al. 2023 (LLaVA), arXiv 2304.08485, section 5.1.
Data set: VLMEvalKit's LLaVABench.tsv, 60 questions: conversation, detail, complex reasoning.
Metric: relative score in percent: 100 times the mean grade of the answers over the mean grade of the reference
answers. It is a ratio of means and may exceed 100.
Cluster: the picture.
Judge protocols: `kit` and `official` send the same text (VLMEvalKit took LLaVA's) at temperature 0.2, reference
first; `official` limits the reply to 1,024 tokens as LLaVA does. `swapped` is `kit` with the reference second: a probe
of the judge, which the benchmark itself never asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from statistics import fmean

from .. import kit
from ..data.tsv import image_cluster
from ..errors import RowError
from ..estimates import Columns, Estimate
from ..judged import Unreadable, graded, plain
from ..prompts import from_template
from ..records import ImageRef, JudgeRequest, Row, Sample, Score
from ..repeats import REFERENCE, REPEAT, with_repeats
from ..task import DataTable, ProtocolRule, Task

AKI_PROMPT = "<image>\n{question}"
VLMEVALKIT_PROMPT = "<image>{question}"
JUDGE_SYSTEM = "You are a helpful and precise assistant for checking the quality of the answer."

KIND, SWAPPED_KIND = "llava_bench", "llava_bench_swapped"
SWAPPED = "swapped"
"""The protocol under which the judge is shown the answer first and the reference second."""

CATEGORIES = ("conv", "detail", "complex")
GRADE = r"(?:assistant\s*[12]\s*:\s*)?(\d+(?:\.\d+)?)(?:\s*/\s*(?P<{}>\d+))?"
TWO_GRADES = re.compile(rf"{GRADE.format('a')}(?:\s*[,;|]\s*|\s+and\s+|\s+){GRADE.format('b')}\.?", re.IGNORECASE)


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    """One question of three kinds; the target is GPT-4's answer.

    Raises:
        RowError: another kind of question than the three.
    """
    if row["category"] not in CATEGORIES:
        raise RowError(f"row {row['index']}: category {row['category']!r} is none of {', '.join(CATEGORIES)}")
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=row["gpt4_ans"],
        groups=(f"category/{row['category']}",),
        cluster=image_cluster(row, images),
        row=row,
    )


def parse_grades(reply: str) -> tuple[float, float]:
    """Reference and answer, from the first line.

    Two numbers from 1 to 10 and nothing else: `8 7`, `8, 7`, `8/10 7/10` or `Assistant 1: 8, Assistant 2: 7`.

    Raises:
        Unreadable: not two, or outside 1 to 10.
    """
    found = TWO_GRADES.fullmatch(plain(reply).split("\n")[0].strip())
    if not found or {found["a"], found["b"]} - {None, "10"}:
        raise Unreadable("its first line is not two grades from 1 to 10")
    reference, answer = float(found[1]), float(found[3])
    if not (1 <= reference <= 10 and 1 <= answer <= 10):
        raise Unreadable(f"{found[1]} and {found[3]} do not both lie in 1 to 10")
    return reference, answer


def parse_swapped(reply: str) -> tuple[float, float]:
    """Reference and answer, of a judge who was shown the answer first.

    Raises:
        Unreadable: as `parse_grades`.
    """
    answer, reference = parse_grades(reply)
    return reference, answer


def requester(max_tokens: int | None, *, swapped: bool = False) -> Callable[[Sample, str], JudgeRequest]:
    limit = {"max_tokens": max_tokens} if max_tokens else {}

    def request(sample: Sample, answer: str) -> JudgeRequest:
        first, second = (answer, sample.target) if swapped else (sample.target, answer)
        return JudgeRequest(
            index=sample.index,
            kind=SWAPPED_KIND if swapped else KIND,
            prompt=kit.llava_bench_prompt(dict(sample.row) | {"gpt4_ans": first}, second),
            system=JUDGE_SYSTEM,
            parameters={"temperature": 0.2, **limit},
            facts={"question": sample.question, "reference": sample.target, "candidate": answer},
            parse=parse_swapped if swapped else parse_grades,
        )

    return request


def mean_grades(values: Sequence[Sequence[float]]) -> tuple[float, dict[str, float]]:
    """The answer's mean grade over the judge's repeats; the reference's beside it."""
    parts = {"reference": fmean(value[0] for value in values)}
    if len(values) > 1:
        parts |= {f"{REPEAT}{k}": value[1] for k, value in enumerate(values)}
        parts |= {f"{REFERENCE}{k}": value[0] for k, value in enumerate(values)}
    return fmean(value[1] for value in values), parts


@with_repeats
def estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    columns = Columns(scores)
    reference = columns.part("reference")
    among = {"overall": columns.everything} | {name: columns.among(name) for name in sorted(columns.members)}
    return {name: columns.ratio(columns.values, reference, mask, bounded=False) for name, mask in among.items()}


TASK = Task(
    name="llava_bench",
    title="LLaVA-Bench (in the wild)",
    paper="arXiv:2304.08485",
    tables=(DataTable(name="LLaVABench", md5="d382a093f749a697820d3dadd61c8428", num_rows=60),),
    paper_table=10,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT)},
    protocols={
        "kit": ProtocolRule(score=graded("kit", requester(None), mean_grades), estimate=estimate),
        "official": ProtocolRule(
            score=graded("official", requester(1024), mean_grades), estimate=estimate, on_request=True
        ),
        SWAPPED: ProtocolRule(
            score=graded(SWAPPED, requester(None, swapped=True), mean_grades), estimate=estimate, on_request=True
        ),
    },
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
    judged=True,
)
