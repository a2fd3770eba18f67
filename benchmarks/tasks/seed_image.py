"""SEED-Bench, the nine dimensions about single pictures.

Paper: Li et al. 2023, arXiv 2307.16125.
Data set: VLMEvalKit's SEEDBench_IMG.tsv, 14,232 questions with four options.
Metric: accuracy in percent, over all questions and for each dimension.
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
        groups=(f"dimension/{row['category']}",),
        cluster=image_cluster(row, images),
        row=row,
    )


TASK = Task(
    name="seed_image",
    title="SEED-Bench (image)",
    paper="arXiv:2307.16125",
    tables=(DataTable(name="SEEDBench_IMG", md5="68017231464752261a2526d6ca3a10c0", num_rows=14232),),
    paper_table=9,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT, kit.choices)},
    protocols=choice.rules(mean_by_group),
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
)
