"""RealWorldQA: questions about ordinary photographs, many from cars, two to four options.

Source: xAI 2024, https://x.ai/news/grok-1.5v (no paper).
Data set: VLMEvalKit's RealWorldQA.tsv, 765 questions.
Metric: accuracy in percent; the benchmark has no sub-scores.
Cluster: the picture.
"""

from __future__ import annotations

from .. import choice
from ..estimates import mean_by_group
from ..records import ImageRef, Row, Sample
from ..task import DataTable, Task


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return choice.to_sample(row, images)


TASK = Task(
    name="real_world_qa",
    title="RealWorldQA",
    paper="https://x.ai/news/grok-1.5v",
    tables=(DataTable(name="RealWorldQA", md5="4de008f55dc4fd008ca9e15321dc44b7", num_rows=765),),
    paper_table=None,
    to_sample=to_sample,
    prompts=choice.PROMPTS,
    protocols=choice.rules(mean_by_group),
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
)
