"""MME: two yes/no questions a picture, fourteen subtasks of 0 to 200 points.

Paper: Fu et al. 2023, arXiv 2306.13394.
Data set: VLMEvalKit's MME.tsv, 2,374 questions on 1,187 pictures.
Metric: accuracy + accuracy-plus (both questions of a picture right), each in percent, summed over the ten perception
and the four cognition subtasks (at most 2,000 and 800 points).
Cluster: the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import yes_no
from ..errors import RowError
from ..estimates import Estimate, mean_by_group, weighted_sum
from ..prompts import from_template
from ..records import ImageRef, Row, Sample, Score
from ..scoring import merged, only_complete
from ..task import DataTable, Task

AKI_PROMPT = "<image>\nAnswer the question using a single word or phrase. {question}"
VLMEVALKIT_PROMPT = "<image>{question}"

SUBTASKS = {
    "perception": (
        "OCR",
        "artwork",
        "celebrity",
        "color",
        "count",
        "existence",
        "landmark",
        "position",
        "posters",
        "scene",
    ),
    "cognition": ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation"),
}
FAMILY = {subtask: family for family, subtasks in SUBTASKS.items() for subtask in subtasks}


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    """One of the two questions about a picture.

    Raises:
        RowError: another subtask than the fourteen.
    """
    category = row["category"]
    if category not in FAMILY:
        raise RowError(f"row {row['index']}: category {category!r} is none of MME's: {', '.join(FAMILY)}")
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=yes_no.target_of(row["answer"], row["index"]),
        groups=(f"{FAMILY[category]}/{category}",),
        cluster=f"{category}/{row['image_path']}",
        row=row,
    )


def is_pair(members: Sequence[Sample]) -> bool:
    return len(members) == 2


def points(values: Sequence[float]) -> float:
    """One picture's share of 200 points: each question right gives 50, both right 100 more."""
    return (sum(values) / 2 + float(sum(values) == 2)) / 2


def estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    subtasks = mean_by_group(merged(scores, points), overall=None, scale=200.0)
    families = {
        family: weighted_sum([subtasks[f"{family}/{name}"] for name in names if f"{family}/{name}" in subtasks])
        for family, names in SUBTASKS.items()
        if any(f"{family}/{name}" in subtasks for name in names)
    }
    return {name: replace(each, unit="points") for name, each in (families | subtasks).items()}


TASK = Task(
    name="mme",
    title="MME",
    paper="arXiv:2306.13394",
    tables=(DataTable(name="MME", md5="b36b43c3f09801f5d368627fb92187c3", num_rows=2374),),
    paper_table=7,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT)},
    protocols={
        name: replace(rule, score=only_complete(rule.score, is_pair))
        for name, rule in yes_no.rules(estimate, estimate).items()
    },
    headline="kit",
    headline_metrics=("perception", "cognition"),
    max_new_tokens=512,
    whole_clusters=True,
)
