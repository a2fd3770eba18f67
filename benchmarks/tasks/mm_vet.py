"""MM-Vet: open questions that need several capabilities at once, graded by GPT-4 from 0.0 to 1.0.

Paper: Yu et al. 2023, arXiv 2308.02490.
Data set: VLMEvalKit's MMVet.tsv, 218 questions; `category` lists the capabilities (rec, ocr, know, gen, spat, math).
Metric: mean grade in percent, over all questions and for each capability.
Cluster: the question.
Known defect of the kit: a question with a single capability counts twice in that capability's mean (it adds up
capabilities and their combinations in one table, and a lone `rec` is both). The overall mean is not touched. Protocol
`strict` counts every question once, from the same verdicts.
Judge protocols: `kit` and `strict`, VLMEvalKit's prompt; `official`, the text of the benchmark's
evaluator byte for byte (each row on one line, which the kit breaks across lines). Both ask for three tokens at
temperature 0. The paper's judge, GPT-4-0613, was shut down in October 2026: every number is one of the judge that it
names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from statistics import fmean

import numpy as np

from .. import kit
from ..errors import UserError
from ..estimates import Columns, Estimate, mean_by_group
from ..judged import Unreadable, graded, plain
from ..prompts import from_template
from ..records import ImageRef, JudgeRequest, Row, Sample, Score
from ..repeats import REPEAT, with_repeats
from ..task import DataTable, ProtocolRule, Task

AKI_PROMPT = "<image>\n{question}"
VLMEVALKIT_PROMPT = "<image>{question}"

NUMBER = r"\d+(?:\.\d*)?|\.\d+"
GRADE = re.compile(
    rf"(?:(?:the\s+)?(?:correctness\s+)?(?:score|grade|correctness)\s*(?:is|:|=)\s*)?"
    rf"(?P<grade>{NUMBER})(?P<of>\s*(?:/|out\s+of)\s*(?P<scale>{NUMBER}))?"
    r"(?:\.|(?:\s+(?!(?:or|to|and|of|out|vs)\b)[^\W\d]|\s*[,;:(–—-]\s*[^\W\d])[^\d]*)?",
    re.IGNORECASE,
)
"""A grade, what it is out of, and prose behind it that holds no second number."""

EVALUATOR_FEW_SHOTS = "d1b3e0a5b4e72c888b77164489d705bba4dd149934fff564dfba6443d81afe3f"
"""sha256 of `prompt` in mm-vet_evaluator.py (github.com/yuweihao/MM-Vet, commit 7d717c2), its last line break
included."""


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


def parse_grade(reply: str) -> float:
    """The one grade from 0 to 1 that a reply gives, in its first line or its last.

    `0.5`, `0.5.`, `0.5/1.0`, `Score: 0.5`, `0.5 because ...`.

    The evaluator reads the first word (`float(content.split(" ")[0])`) of three tokens, VLMEvalKit the whole reply.
    Judges with more room to speak say more; a line with a second number in it is left unread.

    Raises:
        Unreadable: no grade, several, or one outside 0 to 1.
    """
    lines = plain(reply).split("\n")
    found = {text: grade for text in (lines[0], lines[-1]) if (grade := GRADE.fullmatch(text.strip()))}
    values = {_within_range(grade) for grade in found.values()}
    if len(values) != 1:
        raise Unreadable("its first and last line differ" if values else "no line is a grade from 0 to 1")
    return values.pop()


def _within_range(found: re.Match[str]) -> float:
    grade = float(found["grade"])
    if grade > 1 or (found["scale"] and float(found["scale"]) != 1):
        raise Unreadable(f"{found['grade']}{found['of'] or ''} does not lie in 0 to 1")
    return grade


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


@cache
def official_few_shots() -> str:
    """The evaluator's few-shot text, made of the kit's.

    Raises:
        UserError: the installed VLMEvalKit's text is not the evaluator's broken across lines.
    """
    few_shots = unwrapped(kit.mm_vet_prompt("", "", "").removesuffix("\n |  |  | ")).strip("\n") + "\n"
    if sha256(few_shots.encode()).hexdigest() != EVALUATOR_FEW_SHOTS:
        raise UserError(
            "MM-Vet's protocol official: the few-shot text of the installed VLMEvalKit is not the one of the "
            "benchmark's evaluator; score without --protocols official, or with ms-vlmeval 0.0.20"
        )
    return few_shots


def official_prompt(sample: Sample, answer: str) -> str:
    """Byte for byte what mm-vet_evaluator.py sends: few shots, an empty line, the question's own row."""
    reference = sample.target.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return official_few_shots() + "\n" + " | ".join([sample.question, reference, answer, ""])


def mean_grade(values: Sequence[float]) -> tuple[float, dict[str, float]]:
    """The mean over the judge's repeats; each repeat's grade is kept."""
    return fmean(values), {f"{REPEAT}{k}": value for k, value in enumerate(values)} if len(values) > 1 else {}


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
    tables=(DataTable(name="MMVet", md5="748aa6d4aa9d4de798306a63718455e3", num_rows=218),),
    paper_table=14,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT)},
    protocols={
        "kit": ProtocolRule(
            score=graded("kit", requester("mm_vet", kit_prompt), mean_grade), estimate=with_repeats(by_kit)
        ),
        "strict": ProtocolRule(
            score=graded("strict", requester("mm_vet", kit_prompt), mean_grade), estimate=with_repeats(mean_by_group)
        ),
        "official": ProtocolRule(
            score=graded("official", requester("mm_vet_official", official_prompt), mean_grade),
            estimate=with_repeats(mean_by_group),
            on_request=True,
        ),
    },
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
    judged=True,
)
