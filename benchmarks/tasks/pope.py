"""POPE: is this object in the picture? Random, popular and adversarial absent objects.

Paper: Li et al. 2023, arXiv 2305.10355.
Data set: VLMEvalKit's POPE.tsv, made of 3 x 3,000 questions on 500 COCO pictures; a question asked in several splits
is one row that names them all.
Metric: F1 of "yes", in percent, pooled over the three splits (a row counts once for each of its splits): what the
paper's tables call POPE. Accuracy, precision, recall and the rate of yes beside it, and all five for each split.
Cluster: the picture (18 questions; the questions with the answer yes recur in all three splits).
Known defect of the kit: an answer that is neither yes nor no is wrong in accuracy, but a "No" in F1, precision and
recall. Protocol `strict` takes it for the wrong one of the two everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from .. import yes_no
from ..data.tsv import image_cluster
from ..estimates import Bools, Columns, Estimate, Floats
from ..prompts import from_template
from ..records import ImageRef, Row, Sample, Score
from ..task import DataTable, Task

AKI_PROMPT = "<image>\nAnswer the question using a single word or phrase. {question}"
VLMEVALKIT_PROMPT = "<image>{question}"

SPLITS = ("popular", "adversarial", "random")


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=yes_no.target_of(row["answer"], row["index"]),
        groups=tuple(split.strip() for split in row["category"].split(",")),
        cluster=image_cluster(row, images),
        row=row,
    )


def estimate(scores: Sequence[Score], *, unknown_is_no: bool) -> dict[str, Estimate]:
    """`unknown_is_no`: the kit's counting. Otherwise an unreadable answer counts as the wrong one."""
    columns = Columns(scores)
    yes = np.array([score.target == "Yes" for score in scores])
    said_yes = np.array([score.answer == "Yes" for score in scores])
    if not unknown_is_no:
        said_yes = np.where(columns.values == 1, yes, ~yes)
    times = np.array([max(1, len(score.groups)) for score in scores], dtype=np.float64)
    estimates = _five(columns, yes, said_yes, times, columns.everything)
    for split in sorted(columns.members, key=lambda name: (SPLITS.index(name) if name in SPLITS else 3, name)):
        own = _five(columns, yes, said_yes, np.ones_like(times), columns.among(split))
        estimates |= {f"{split}/{name}": each for name, each in own.items()}
    return estimates


def _five(columns: Columns, yes: Bools, said_yes: Bools, times: Floats, among: Bools) -> dict[str, Estimate]:
    """F1, accuracy, precision, recall, rate of yes; a sample counts `times`. Without any yes F1 is 0, as in the kit."""
    weight = np.where(np.isnan(columns.values), np.nan, times)

    def share(top: Floats, bottom: Floats) -> Estimate:
        return columns.ratio(weight * top, weight * bottom, among, empty=0.0)

    hit = (yes & said_yes).astype(np.float64)
    return {
        "f1": share(2 * hit, yes.astype(np.float64) + said_yes),
        "accuracy": share(columns.values, np.ones_like(weight)),
        "precision": share(hit, said_yes.astype(np.float64)),
        "recall": share(hit, yes.astype(np.float64)),
        "yes_rate": share(said_yes.astype(np.float64), np.ones_like(weight)),
    }


TASK = Task(
    name="pope",
    title="POPE",
    paper="arXiv:2305.10355",
    tables=(DataTable(name="POPE", md5="c12f5acb142f2ef1f85a26ba2fbe41d5", num_rows=None),),
    paper_table=13,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(VLMEVALKIT_PROMPT)},
    protocols=yes_no.rules(partial(estimate, unknown_is_no=True), partial(estimate, unknown_is_no=False)),
    headline="kit",
    headline_metrics=("f1",),
    max_new_tokens=512,
)
