"""MM-Vet: open questions that need several capabilities at once, graded by GPT-4 from 0.0 to 1.0.

Paper: Yu et al. 2023, arXiv 2308.02490.
Data set: VLMEvalKit's MMVet.tsv, 218 questions; `category` lists the capabilities (rec, ocr, know, gen, spat, math).
Metric: mean grade in percent, over all questions and for each capability.
Cluster: the question.
Known defect of the kit: a question with a single capability counts twice in that capability's mean (it adds up
capabilities and their combinations in one table, and a lone `rec` is both). The overall mean is not touched. Protocol
`strict` counts every question once, from the same verdicts.
Judge protocols: `kit` and `strict`, VLMEvalKit's prompt; `official`, the same few-shot table as the benchmark's
evaluator sends it (each row on one line, which the kit breaks across lines). Both ask for three tokens at temperature
0. The paper's judge, GPT-4-0613, was shut down in October 2026: every number is one of the judge that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np

from .. import kit
from ..judged import graded
from ..prompts import from_template
from ..records import ImageRef, JudgeRequest, ProtocolRule, Row, Sample, Score, Table, Task
from ..statistics import Columns, Estimate, mean_by_group

AKI_PROMPT = "<image>\n{question}"
VLMEVALKIT_PROMPT = "<image>{question}"


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=row["answer"],
        groups=tuple(f"capability/{name.strip()}" for name in row["category"].split(",")),
        cluster=row["index"],
        row=row,
    )


def parse_grade(reply: str) -> float | None:
    """The number that is the whole reply, or its first word; None unless it lies in 0 to 1."""
    words = reply.split()
    if not words or not re.fullmatch(r"\d*\.?\d+|\d+\.", words[0]):
        return None
    grade = float(words[0])
    return grade if 0 <= grade <= 1 else None


def unwrapped(prompt: str) -> str:
    """The few-shot prompt with the kit's line breaks inside sentences and table rows taken out again.

    A row of the table ends on its grade, the instructions on "correctness score."
    """
    lines = prompt.split("\n")
    joined: list[str] = []
    for line in lines:
        continues = bool(joined) and joined[-1] != "" and line != "" and not _ends_row(joined[-1])
        if continues:
            joined[-1] = f"{joined[-1].rstrip()} {line.lstrip()}"
        else:
            joined.append(line)
    return "\n".join(joined)


def _ends_row(line: str) -> bool:
    return bool(re.search(r"\| (?:\d\.\d|---|Correctness)$", line))


def requester(kind: str, build: Callable[[Sample, str], str]) -> Callable[[Sample, str], JudgeRequest]:
    def request(sample: Sample, answer: str) -> JudgeRequest:
        return JudgeRequest(
            index=sample.index,
            kind=kind,
            prompt=build(sample, answer),
            parameters={"temperature": 0, "max_tokens": 3},
            facts={"question": sample.question, "reference": sample.target, "candidate": answer},
            parse=parse_grade,
        )

    return request


def kit_prompt(sample: Sample, answer: str) -> str:
    return kit.mm_vet_prompt(sample.question, sample.target, answer)


def official_prompt(sample: Sample, answer: str) -> str:
    """Only the few-shot part is unwrapped: question and answer keep their line breaks."""
    few_shots = kit.mm_vet_prompt("", "", "").removesuffix("\n |  |  | ")
    own = kit.mm_vet_prompt(sample.question, sample.target, answer).removeprefix(few_shots)
    return unwrapped(few_shots).strip("\n") + "\n" + own.lstrip("\n")


def mean_grade(values: Sequence[float]) -> tuple[float, dict[str, float]]:
    """The mean over the judge's repeats; each repeat's grade is kept."""
    return fmean(values), {f"repeat_{k}": value for k, value in enumerate(values)} if len(values) > 1 else {}


def by_kit(scores: Sequence[Score]) -> dict[str, Estimate]:
    """The kit's means: in a capability's mean, questions that need nothing else count twice."""
    columns = Columns(scores)
    times = np.array([2.0 if len(score.groups) == 1 else 1.0 for score in scores])
    capabilities = {
        name: columns.ratio(times * columns.values, times, columns.among(name)) for name in sorted(columns.members)
    }
    return {"overall": columns.mean(columns.everything)} | capabilities


TASK = Task(
    name="mm_vet",
    title="MM-Vet",
    paper="arXiv:2308.02490",
    tables=(Table(name="MMVet", md5="748aa6d4aa9d4de798306a63718455e3", num_rows=218),),
    paper_table=14,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT)},
    protocols={
        "kit": ProtocolRule(score=graded("kit", requester("mm_vet", kit_prompt), mean_grade), estimate=by_kit),
        "strict": ProtocolRule(
            score=graded("strict", requester("mm_vet", kit_prompt), mean_grade), estimate=mean_by_group
        ),
        "official": ProtocolRule(
            score=graded("official", requester("mm_vet_official", official_prompt), mean_grade),
            estimate=mean_by_group,
            on_request=True,
        ),
    },
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
    judged=True,
)
