"""CV-Bench: counting and relations in 2D, depth and distance in 3D.

Paper: Tong et al. 2024 (Cambrian-1), arXiv 2406.16860, appendix C.
Data set: 2,638 questions: VLMEvalKit's CV-Bench-2D.tsv and CV-Bench-3D.tsv, or the Hub's nyu-visionx/CV-Bench
(Apache-2.0).
Metric: accuracy in percent for each source; 2D = mean of ADE20K and COCO, 3D = Omni3D, combined = mean of 2D and 3D.
Cluster: the picture.
Three readings of an answer are in use and kept apart by name: `official`, how AKI's authors scored (the raw answer
equals the letter); `cambrian`, the benchmark authors' scripts; `kit`, VLMEvalKit's (no combined figure; 3D over
questions).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import choice, kit, likelihood
from ..data.tsv import image_cluster
from ..estimates import Columns, Estimate, mean_by_group, weighted_sum
from ..prompts import from_template
from ..records import ImageRef, Row, Sample, Score
from ..scoring import each_by_itself
from ..task import DataTable, ProtocolRule, Task

AKI_PROMPT = "<image>\nAnswer with the option's letter from the given choices directly. {question}\nOptions:\n{options}"
TABLE_PROMPT = "<image>{question}"
"""VLMEvalKit sends the table's own `prompt`: the question with its choices as (A), (B), ..."""

TABLE_2D, TABLE_3D = "CV-Bench-2D", "CV-Bench-3D"
SOURCES_2D = ("ade20k", "coco")


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    source = row["source"].lower() if table == TABLE_2D else "omni3d"
    kind = (row.get("task") or row.get("category") or "").lower()
    return Sample(
        index=f"{table}/{row['index']}",
        images=images,
        question=row["question"],
        target=choice.target_of(row, row["answer"].strip("()")),
        choices=choice.options_of(row),
        groups=(source, kind) if kind else (source,),
        cluster=image_cluster(row, images),
        row=row,
    )


def prompt_of_table(sample: Sample) -> str:
    return sample.row["prompt"]


def equal_letter(sample: Sample, answer: str) -> tuple[float, str | None]:
    """As AKI's authors scored: nothing is stripped, nothing is searched for. What is no option's letter is unread."""
    return float(answer == sample.target), answer if answer in sample.choices else None


def normalised_letter(sample: Sample, answer: str) -> tuple[float, str | None]:
    """As Cambrian's scripts read: what follows "answer is"/"answer:" without brackets and last dot; its first letter.

    For Omni3D a last ":" or "," goes too, and the option's text is accepted.
    """
    spatial = "omni3d" in sample.groups
    text = re.split(r"answer is|answer:", answer.lower())[-1].strip()
    text = text.rstrip(".:," if spatial else ".").strip("() ")
    option = sample.choices.get(sample.target, "").lower()
    right = text[:1] == sample.target.lower() or (spatial and text == option)
    letter = text[:1].upper()
    return float(right), letter if right or letter in sample.choices else None


def official(scores: Sequence[Score]) -> dict[str, Estimate]:
    """2D is the mean of its two sources, 3D is Omni3D, combined the mean of the two."""
    columns = Columns(scores)
    source = {name: columns.mean(columns.among(name)) for name in (*SOURCES_2D, "omni3d")}
    flat = weighted_sum([source[name] for name in SOURCES_2D], 1 / 2)
    combined = weighted_sum([flat, source["omni3d"]], 1 / 2)
    return {"2d": flat, "3d": source["omni3d"], "combined": combined} | mean_by_group(scores, overall=None)


def by_kit(scores: Sequence[Score]) -> dict[str, Estimate]:
    """2D is the mean over the sources that are there, 3D the mean over questions."""
    columns = Columns(scores)
    groups = mean_by_group(scores, overall=None)
    sources_2d = {score.groups[0] for score in scores if score.index.startswith(TABLE_2D)}
    flat = [estimate for name, estimate in groups.items() if name in sources_2d]
    halves = {"2d": weighted_sum(flat, 1 / len(flat))} if flat else {}
    if "omni3d" in groups:
        halves["3d"] = columns.mean(columns.among("omni3d"))
    return halves | groups


TASK = Task(
    name="cv_bench",
    title="CV-Bench",
    paper="arXiv:2406.16860",
    tables=(
        DataTable(name=TABLE_2D, md5="a7cff4cc2857cc237ee2b89e62bccb2d", num_rows=1438),
        DataTable(name=TABLE_3D, md5="bb94c0d568d652d15b60e001ac40a170", num_rows=1200),
    ),
    paper_table=15,
    to_sample=to_sample,
    prompts={"aki": from_template(AKI_PROMPT), "vlmevalkit": from_template(TABLE_PROMPT, question=prompt_of_table)},
    protocols={
        "official": ProtocolRule(score=each_by_itself("official", equal_letter), estimate=official),
        "cambrian": ProtocolRule(score=each_by_itself("cambrian", normalised_letter), estimate=official),
        "kit": ProtocolRule(score=choice.extraction(kit.choices).scorer("kit"), estimate=by_kit, extractor="helps"),
        **likelihood.rules(official),
    },
    headline="official",
    headline_metrics=("2d", "3d"),
    max_new_tokens=256,
)
