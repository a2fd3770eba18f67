"""MMMU: college-level questions in 30 subjects, 6 disciplines; several pictures, multiple choice and open answers.

Paper: Yue et al. 2023, arXiv 2311.16502.
Data set: VLMEvalKit's MMMU_DEV_VAL.tsv: 150 dev and 900 validation questions.
Metric: accuracy in percent. `val` is the number papers quote; `dev` stands beside it and is never mixed in. (The
paper's Table 11 mixes them: one line of the kit's output was taken, and the order of its lines is arbitrary.)
Cluster: the question.
Open questions: the kit makes them a choice between the right answer and "Other Answers", so that a mere "A" is right.
Protocol `strict`, our reading (`benchmarks.reading`), wants the answer itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from .. import choice, kit, likelihood
from ..errors import RowError
from ..estimates import mean_by_group
from ..prompts import NUMBERED_IMAGE, fill, interleave, prompt
from ..reading import folded, read_number, read_phrase
from ..records import ImageRef, Prompt, Row, Sample
from ..scoring import each_by_itself
from ..task import DataTable, ProtocolRule, Task

AKI_CHOICE_PROMPT = (
    "Answer with the option's letter from the given choices directly. {question}\n"
    "[[Context: {hint}\n]]Options:\n{options}"
)
AKI_OPEN_PROMPT = "Answer the question using a single word or phrase. {question}"
VLMEVALKIT_PROMPT = (
    "[[Hint: {hint}\n]]Question: {question}\n"
    "[[Options:\n{options}Please select the correct answer from the options above. \n]]"
)

SPLITS = {"dev": "dev", "validation": "val", "val": "val"}
DISCIPLINES = {
    "Art & Design": ("Art", "Art Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health & Medicine": (
        "Basic Medical Science",
        "Clinical Medicine",
        "Diagnostics & Laboratory Medicine",
        "Pharmacy",
        "Public Health",
    ),
    "Humanities & Social Science": ("History", "Literature", "Sociology", "Psychology"),
    "Tech & Engineering": (
        "Agriculture",
        "Architecture & Engineering",
        "Computer Science",
        "Electronics",
        "Energy & Power",
        "Materials",
        "Mechanical Engineering",
    ),
}


def _key(name: str) -> str:
    return re.sub(r"[^a-z]+", " ", name.lower().replace("&", " and ")).strip()


NAMES = {_key(name): name for discipline, subjects in DISCIPLINES.items() for name in (discipline, *subjects)}


def name_of(cell: str) -> str:
    """A subject or discipline as we spell it, from any spelling of the tables (Art_and_Design, Art & Design)."""
    return NAMES.get(_key(cell), cell.replace("_", " "))


def to_sample(table: str, row: Row, images: tuple[ImageRef, ...]) -> Sample:
    """A question with options, or open; its groups name split, discipline and subject.

    Raises:
        RowError: another split than dev and validation.
    """
    if row["split"] not in SPLITS:
        raise RowError(f"row {row['index']}: split {row['split']!r} is none of {', '.join(SPLITS)}")
    split = SPLITS[row["split"]]
    return Sample(
        index=row["index"],
        images=images,
        question=row["question"],
        target=choice.target_of(row, row["answer"]),
        choices=choice.options_of(row),
        groups=(split, f"{split}/{name_of(row['l2-category'])}", f"{split}/{name_of(row['category'])}"),
        cluster=row["index"],
        row=row,
    )


def aki_prompt(sample: Sample) -> Prompt:
    return with_pictures_placed(sample, AKI_CHOICE_PROMPT if sample.choices else AKI_OPEN_PROMPT)


def with_pictures_placed(sample: Sample, template: str) -> Prompt:
    """One picture stands first, as in training; several stand where the question names them."""
    text = fill(template, sample, sample.choices)
    if len(sample.images) == 1:
        return prompt(sample, [sample.images[0], "\n" + re.sub(r" *<image 1>", "", text)])
    marked = NUMBERED_IMAGE.search(text)
    return prompt(sample, interleave(text if marked else "\n" + text, sample))


def vlmevalkit_prompt(sample: Sample) -> Prompt:
    return prompt(sample, interleave(fill(VLMEVALKIT_PROMPT, sample, kit.choices(sample)), sample))


def kit_options(sample: Sample) -> Mapping[str, str]:
    """An open question becomes a choice whose A is right."""
    if "A" in sample.choices:
        return kit.choices(sample)
    return {**kit.choices(sample), "A": sample.target, "B": "Other Answers"}


def kit_target(sample: Sample) -> str:
    return sample.target if sample.target in set(choice.LETTERS) else "A"


def strict(sample: Sample, answer: str) -> tuple[float, str | None]:
    """Open questions: the phrase, or the number to two decimals, that the answer gives is one of the reference's."""
    if sample.choices:
        return choice.strict(sample, answer)
    phrase, number = read_phrase(answer), read_number(answer)
    given = {phrase, _rounded(number)} - {None}
    return float(not given.isdisjoint(_references(sample.target))), phrase or number


def _references(target: str) -> set[str | None]:
    listed = kit.literal_list(target) if target.startswith("[") else [target]
    forms = {form for each in listed for form in (folded(str(each)), _rounded(read_number(str(each)))) if form}
    return {*forms, read_phrase(target)} - {None}


def _rounded(number: str | None) -> str | None:
    return None if number is None else f"{Decimal(number):.2f}"


TASK = Task(
    name="mmmu",
    title="MMMU",
    paper="arXiv:2311.16502",
    tables=(DataTable(name="MMMU_DEV_VAL", md5="585e8ad75e73f75dcad265dfd0417d64", num_rows=1050),),
    paper_table=11,
    to_sample=to_sample,
    prompts={"aki": aki_prompt, "vlmevalkit": vlmevalkit_prompt},
    protocols={
        "kit": ProtocolRule(
            score=choice.extraction(kit_options, kit_target).scorer("kit"),
            estimate=lambda scores: mean_by_group(scores, overall=None),
            extractor="helps",
        ),
        "strict": ProtocolRule(
            score=each_by_itself("strict", strict), estimate=lambda scores: mean_by_group(scores, overall=None)
        ),
        **likelihood.rules(lambda scores: mean_by_group(scores, overall=None)),
    },
    headline="kit",
    headline_metrics=("val",),
    max_new_tokens=512,
)
