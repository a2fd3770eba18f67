"""The toy world's own benchmark: fifteen skills, 160 questions each, asked in the form in which each is learned.

    aki-eval run --bench toy_skills --data toy --model CHECKPOINT

Paper: none; made for the laboratory (docs/laboratory.md).
Data set: `ToySkills.tsv`, which this project writes (`tables/skills.py`).
Metric: accuracy in percent, overall (the skills weigh the same, for each has as many questions) and by skill. An answer
is right if it is the expected text, case and a final period aside; there is nothing to extract.
Cluster: the picture; every question has its own.
"""

from __future__ import annotations

from benchmarks import scoring
from benchmarks.data.tsv import image_cluster
from benchmarks.estimates import mean_by_group
from benchmarks.prompts import from_template
from benchmarks.records import ImageRef, Prompt, Row, Sample
from benchmarks.task import DataTable, ProtocolRule, Task
from benchmarks.toy_world.tables.skills import SKILLS_TABLE

SHORT = "<image>\nAnswer the question using a single word or phrase. {question}"
CHOICE = "<image>\nAnswer with the option's letter from the given choices directly. {question}\nOptions:\n{options}"
"""Asked for letters, answered by words: that is how the laboratory's models are taught (training/laboratory.py)."""


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=row["answer"],
        choices={letter: row[letter] for letter in "ABCD" if row.get(letter)},
        groups=(row["skill"],),
        cluster=image_cluster(row, images),
        row=row,
    )


def ask(sample: Sample) -> Prompt:
    return from_template(CHOICE if sample.choices else SHORT)(sample)


def read(sample: Sample, text: str) -> tuple[float, str | None]:
    """1 or 0, and the answer's words; None for an empty answer."""
    answer = " ".join(text.lower().split()).removesuffix(".")
    return float(answer == sample.target), answer or None


TASK = Task(
    name="toy_skills",
    title="Toy skills",
    paper="made for this project's laboratory",
    tables=(DataTable(name=SKILLS_TABLE, md5=None, num_rows=None),),
    paper_table=None,
    to_sample=to_sample,
    prompts={"aki": ask},
    protocols={"strict": ProtocolRule(score=scoring.each_by_itself("strict", read), estimate=mean_by_group)},
    headline="strict",
    headline_metrics=("overall",),
    max_new_tokens=8,
)
