"""MMBench (dev, English, v1.0): multiple choice, every question asked once for each rotation of its options.

Paper: Liu et al. 2023, arXiv 2307.06281.
Data set: VLMEvalKit's MMBench_DEV_EN.tsv; 1,164 questions. Rotation k of question q has the index q + k * 1,000,000.
Not every option moves: 53 questions end on one that must stay last ("both A, B and C", "none of these options are
correct"), so that a question of four options has three rotations.
Metric: circular accuracy in percent: a question is right when all its rotations are.
Cluster: the question with its rotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .. import choice
from ..data.tsv import whole_number
from ..estimates import Estimate, mean_by_group
from ..records import ImageRef, Row, Sample, Score
from ..scoring import merged, only_complete
from ..task import DataTable, Task

ROTATION = 1_000_000
ABBREVIATIONS = {
    "attribute_reasoning": "AR",
    "coarse_perception": "CP",
    "finegrained_perception (cross-instance)": "FP-C",
    "finegrained_perception (instance-level)": "FP-S",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
}


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    category = row["l2-category"]
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=choice.target_of(row, row["answer"]),
        choices=choice.options_of(row),
        groups=(f"category/{ABBREVIATIONS.get(category, category)}", f"ability/{row['category']}"),
        cluster=str(whole_number(row, "index") % ROTATION),
        row=row,
    )


def is_full_circle(members: Sequence[Sample]) -> bool:
    """Every rotation is there, once: as many as options move, from the unrotated one on."""
    rotations = sorted(int(member.index) // ROTATION for member in members)
    return rotations in (list(range(num_moving(members))), list(range(len(members[0].choices))))


def num_moving(members: Sequence[Sample]) -> int:
    """How many options move, seen from a question's rotations, whichever way they turn: the last ones may stay.

    All of them where a single rotation is there, which shows nothing.
    """
    letters = sorted(set().union(*(member.choices for member in members)))
    moving = [letter for letter in letters if len({member.choices.get(letter) for member in members}) > 1]
    return letters.index(moving[-1]) + 1 if moving else len(letters)


def estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    # The unrotated row comes first: its categories are the question's, as in the kit.
    return mean_by_group(merged(sorted(scores, key=_roll), min))


def _roll(score: Score) -> float:
    """A row whose index is no number is unscored, and last."""
    return int(score.index) if score.index.isdecimal() else float("inf")


TASK = Task(
    name="mmbench",
    title="MMBench (dev, English)",
    paper="arXiv:2307.06281",
    tables=(DataTable(name="MMBench_DEV_EN", md5="b6caf1133a01c6bb705cf753bb527ed8", num_rows=None),),
    paper_table=8,
    to_sample=to_sample,
    prompts=choice.PROMPTS,
    protocols={
        name: replace(rule, score=only_complete(rule.score, is_full_circle))
        for name, rule in choice.rules(estimate).items()
    },
    headline="kit",
    headline_metrics=("overall",),
    max_new_tokens=512,
    whole_clusters=True,
    rolls_options=True,
)
