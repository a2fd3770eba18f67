"""RealWorldQA: questions about ordinary photographs, many from cars, two to four options.

Source: xAI 2024, https://x.ai/news/grok-1.5v (no paper).
Data set: VLMEvalKit's RealWorldQA.tsv, 765 questions.
Metric: accuracy in percent; the benchmark has no sub-scores.
Cluster: the picture.
"""

from __future__ import annotations

from .. import choice, kit
from ..data.tsv import image_cluster
from ..estimates import mean_by_group
from ..prompts import from_template
from ..records import ImageRef, Row, Sample
from ..task import DataTable, Task

AKI_PROMPT = (
    "<image>\nAnswer with the option's letter from the given choices directly. {question}\n"
    "[[Context: {hint}\n]]Options:\n{options}"
)
VLMEVALKIT_PROMPT = (
    "<image>[[Hint: {hint}\n]]Question: {question}\n"
    "[[Options:\n{options}Please select the correct answer from the options above. \n]]"
)


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=row["answer"],
        choices=choice.options_of(row),
        cluster=image_cluster(row, images),
        row=row,
    )


TASK = Task(
    name="real_world_qa",
    title="RealWorldQA",
    paper="https://x.ai/news/grok-1.5v",
    tables=(DataTable(name="RealWorldQA", md5="4de008f55dc4fd008ca9e15321dc44b7", num_rows=765),),
    paper_table=None,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT, kit.choices)},
    protocols=choice.rules(mean_by_group),
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
)
