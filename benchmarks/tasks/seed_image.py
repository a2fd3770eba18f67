"""SEED-Bench, the nine dimensions about single pictures.

Paper: Li et al. 2023, arXiv 2307.16125.
Data set: VLMEvalKit's SEEDBench_IMG.tsv, 14,232 questions with four options.
Metric: accuracy in percent, over all questions and for each dimension.
Cluster: the picture.
"""

from __future__ import annotations

from .. import choice
from ..estimates import mean_by_group
from ..records import ImageRef, Row, Sample
from ..task import DataTable, Task


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return choice.to_sample(row, images, groups=(f"dimension/{row['category']}",))


TASK = Task(
    name="seed_image",
    title="SEED-Bench (image)",
    paper="arXiv:2307.16125",
    tables=(DataTable(name="SEEDBench_IMG", md5="68017231464752261a2526d6ca3a10c0", num_rows=14232),),
    paper_table=9,
    to_sample=to_sample,
    prompts=choice.PROMPTS,
    protocols=choice.rules(mean_by_group),
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
)
