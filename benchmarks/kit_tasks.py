"""`--bench vlmevalkit:NAME`: a table of VLMEvalKit as a task, made when it is asked for.

Which class of the kit owns the table decides the family: multiple choice (`ImageMCQDataset`), yes and no
(`ImageYORNDataset`), open answers of a word or two (`ImageVQADataset`, `OCRBench`). Prompts, readings and aggregations
are the kit's; groups come from the columns `category`, `l2-category` and `split`, clusters from the pictures, or from
what the kit counts together. A class that builds prompts or scores in code of its own is refused: `aki-eval vlmevalkit`
runs that.

Assumptions about tables that this project did not make, each checked when a row is read: the answer of a
multiple-choice row is a letter; of a yes/no row Yes or No (AMBER: in small letters, too); an index of a circular table,
of MMVP and of HallusionBench has the parts that the kit takes out of it. A row that is otherwise is unscored, with the
reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from . import choice, kit, yes_no
from .data.tsv import image_cluster, whole_number
from .errors import RowError, UserError
from .estimates import Columns, Estimate, Estimator, mean_by_group, weighted_sum
from .judged import KIT_FAILED
from .kit_classes import KitClass, image_classes, is_elsewhere, owner
from .prompts import from_template
from .records import ImageRef, Judge, Prediction, Row, Sample, Score
from .scoring import merged, only_complete, scored, split_answered, unscored
from .task import DataTable, ProtocolRule, Task
from .tasks import TASKS, pope
from .tasks.mmbench import ABBREVIATIONS, ROTATION

PREFIX, NAME_PREFIX = "vlmevalkit:", "vlmevalkit_"
"""Of what is typed, and of the task's name, which is a folder's."""

CHOICE_PROMPT = (
    "<image>\nAnswer with the option's letter from the given choices directly. {question}\n"
    "[[Context: {hint}\n]][[Options:\n{options}]]"
)
CHOICE_KIT_PROMPT = (
    "<image>[[Hint: {hint}\n]]Question: {question}\n"
    "[[Options:\n{options}Please select the correct answer from the options above. \n]]"
)
SHORT_PROMPT = "<image>\nAnswer the question using a single word or phrase. {question}"

CIRCULAR = ("mmbench", "ccbench", "circular", "mmcr")
"""What the kit takes for a table of rotated options, by its name."""

GROUPS = ("l2-category", "category", "split")


def task_of(name: str) -> Task:
    """The task for a table of the kit; the project's own where the paper measures it.

    Raises:
        UserError: the kit has no such table, or it is too odd to be scored here.
    """
    for task in TASKS.values():
        if name in (table.name for table in task.tables):
            return task
    found = owner(name)
    if found is None:
        raise UserError(_unknown(name))
    family = FAMILIES.get(found.name) or (FAMILIES["ImageMCQDataset"] if _adds_nothing(found) else None)
    if family is None:
        own = ", ".join(sorted(found.methods)) or "its base"
        raise UserError(
            f"--bench {PREFIX}{name}: its class {found.name} has code of its own ({own}), which is not called from "
            f"here; aki-eval vlmevalkit --data {name} runs VLMEvalKit's own loop"
        )
    return _task(name, found, family(name))


def _adds_nothing(found: KitClass) -> bool:
    return found.bases == ("ImageMCQDataset",) and not found.methods


def _unknown(name: str) -> str:
    if is_elsewhere(name):
        return (
            f"--bench {PREFIX}{name}: VLMEvalKit scores it in a file of its own, which is not called from here; "
            f"aki-eval vlmevalkit --data {name} runs VLMEvalKit's own loop"
        )
    known = [table for each in image_classes() for table in each.urls]
    close = difflib.get_close_matches(name, known, n=3)
    folded = [table for table in known if table.casefold() == name.casefold()]
    hint = f"; did you mean {', '.join(folded or close)}?" if folded or close else ""
    return f"--bench {PREFIX}{name}: the installed VLMEvalKit has no table {name!r}{hint}"


@dataclass(frozen=True, kw_only=True)
class Family:
    """What tables of one class have in common, for one table."""

    to_sample: Callable[[Row, tuple[ImageRef, ...]], Sample]
    kit_prompt: str
    prompt: str
    protocols: dict[str, ProtocolRule]
    headline_metrics: tuple[str, ...] = ("overall",)


def _task(name: str, found: KitClass, family: Family) -> Task:
    return Task(
        name=NAME_PREFIX + name,
        title=name,
        paper=f"VLMEvalKit, {found.name}",
        tables=(DataTable(name=name, md5=found.sums.get(name), num_rows=None, url=found.urls[name]),),
        paper_table=None,
        to_sample=lambda table, row, images: family.to_sample(row, images),
        prompts={"aki": from_template(family.prompt), "vlmevalkit": from_template(family.kit_prompt, kit.choices)},
        protocols=family.protocols,
        headline="kit",
        headline_metrics=family.headline_metrics,
        max_new_tokens=512,
    )


def groups_of(row: Row, columns: Sequence[str] = GROUPS) -> tuple[str, ...]:
    """`column/value` of the columns that sub-scores are made by."""
    return tuple(f"{column}/{row[column]}" for column in columns if column in row)


def _sample(row: Row, images: tuple[ImageRef, ...], **fields: object) -> Sample:
    usual = {"cluster": image_cluster(row, images), "groups": groups_of(row)}
    return Sample(index=row["index"], images=images, question=row["question"], row=row, **{**usual, **fields})  # type: ignore[arg-type]


def merged_by(scores: Sequence[Score], key: Callable[[Score], Hashable]) -> list[Score]:
    """One score for all that share a key: right when all are. Its cluster is that of the first."""
    names: dict[Hashable, str] = {}
    clusters: dict[str, str] = {}
    renamed = []
    for score in scores:
        name = names.setdefault(key(score), f"group {len(names)}")
        clusters.setdefault(name, score.cluster)
        renamed.append(replace(score, cluster=name))
    return [replace(each, cluster=clusters[each.cluster]) for each in merged(renamed, min)]


def group(score: Score, column: str) -> str | None:
    """The value of a column that a score counts towards."""
    return next((name.removeprefix(f"{column}/") for name in score.groups if name.startswith(f"{column}/")), None)


# -- multiple choice --------------------------------------------------------------------------------------------------
def choices(table: str) -> Family:
    """`ImageMCQDataset.evaluate`: four ways to count, told apart by the table's name as the kit does."""
    to_sample, estimate, headline = choice_sample, by_split(mean_by_group), "overall"
    circular = any(part in table.lower() for part in CIRCULAR)
    if circular:
        to_sample, estimate = circular_sample, circular_estimate
    elif "MMT" in table:
        to_sample, estimate = mmt_sample, by_split(mmt_estimate)
    elif "MMSci" in table:
        to_sample, estimate = science_sample, science_estimate
    elif table == "MMVP":
        to_sample, estimate = pair_sample, pair_estimate
    protocols = choice.rules(estimate, table)
    if circular:
        protocols = {
            name: replace(rule, score=only_complete(rule.score, has_leader)) for name, rule in protocols.items()
        }
    return Family(
        to_sample=to_sample,
        kit_prompt=CHOICE_KIT_PROMPT,
        prompt=CHOICE_PROMPT,
        protocols=protocols,
        headline_metrics=(headline,),
    )


def choice_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    groups = tuple(_short_ability(name) for name in groups_of(row))
    return _sample(row, images, target=letter_of(row), choices=choice.options_of(row), groups=groups)


def _short_ability(name: str) -> str:
    """MMBench's abilities by the names that the kit's reports give them."""
    column, _, ability = name.partition("/")
    return f"{column}/{ABBREVIATIONS.get(ability, ability)}"


def letter_of(row: Row) -> str:
    """Raises RowError where the answer is no letter: the kit would count every answer as wrong."""
    answer = row["answer"]
    if len(answer) != 1 or answer not in choice.LETTERS:
        raise RowError(f"row {row['index']}: the answer is {answer[:40]!r}, expected an option's letter")
    return answer


def circular_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    """A rotation; its cluster is the question with all of them."""
    index = whole_number(row, "index")
    question = whole_number(row, "g_index") if "g_index" in row else index % ROTATION
    return replace(choice_sample(row, images), cluster=str(question))


def has_leader(members: Sequence[Sample]) -> bool:
    """Whether the question's first rotation is there, without which the kit does not count it."""
    return any(member.index == member.cluster for member in members)


def circular_estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    """A question counts when all its rotations are right; its groups are those of the first rotation."""
    first = sorted(scores, key=lambda score: score.index != score.cluster)
    return by_split(mean_by_group)(merged(first, min))


def by_split(estimate: Estimator) -> Estimator:
    """With the metrics of each split as `split/NAME/...` besides, where a table has several; the kit has no others."""

    def with_splits(scores: Sequence[Score]) -> dict[str, Estimate]:
        splits = sorted({name for score in scores if (name := group(score, "split")) is not None})
        bare = [replace(score, groups=tuple(n for n in score.groups if not n.startswith("split/"))) for score in scores]
        found = estimate(bare)
        if len(splits) < 2:
            return found
        for split in splits:
            own = [each for each, score in zip(bare, scores, strict=True) if group(score, "split") == split]
            found |= {f"split/{split}/{name}": each for name, each in estimate(own).items()}
        return found

    return with_splits


def mmt_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return replace(choice_sample(row, images), groups=groups_of(row))


def mmt_estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    """MMT-Bench: an ability (`l2-category`) is the mean of its tasks' (`category`) accuracies."""
    columns = Columns(scores)
    found = {"overall": columns.mean(columns.everything)}
    tasks = {
        name: columns.mean(columns.among(name)) for name in sorted(columns.members) if name.startswith("category/")
    }
    abilities: dict[str, dict[str, None]] = {}
    for score in scores:
        ability, task = group(score, "l2-category"), group(score, "category")
        if ability is not None and task is not None:
            abilities.setdefault(f"l2-category/{ability}", {})[f"category/{task}"] = None
    means = {
        ability: weighted_sum([tasks[name] for name in names], 1 / len(names)) for ability, names in abilities.items()
    }
    return found | tasks | means


SETTINGS = ("Fig2Cap", "SubFig2Cap", "SubCap2Fig")


def science_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return replace(choice_sample(row, images), groups=groups_of(row, ("setting", "subject", "category")))


def science_estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    """MMSci: the mean of three settings' accuracies, each of them, and each of a subject's or category's.

    The kit's means over a subject's settings, which count a setting without questions as 0, are left out.
    """
    asked = [score for score in scores if group(score, "setting") in SETTINGS]
    columns = Columns(asked)
    present = [name for name in SETTINGS if f"setting/{name}" in columns.members]
    settings = {name: columns.mean(columns.among(f"setting/{name}")) for name in present}
    found = {"overall": weighted_sum(list(settings.values()), 1 / len(settings))} if settings else {}
    found |= {f"setting/{name}": each for name, each in settings.items()}
    for part in sorted(name for name in columns.members if not name.startswith("setting/")):
        for name in present:
            both = columns.among(part) & columns.among(f"setting/{name}")
            if both.any():
                found[f"{part}/{name}"] = columns.mean(both)
    return found


def pair_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    """MMVP asks a question of two pictures: that is a cluster."""
    whole_number(row, "index")
    return replace(choice_sample(row, images), cluster=row["question"])


def pair_estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    """Both questions of a pair right, and the plain mean (`average`). Pairs follow each other by index."""
    ordered = sorted(scores, key=_number)
    places = {id(score): place // 2 for place, score in enumerate(ordered)}
    columns = Columns(ordered)
    pairs = Columns(merged_by(ordered, lambda score: places[id(score)]))
    return {"overall": pairs.mean(pairs.everything), "average": columns.mean(columns.everything)}


def _number(score: Score) -> int:
    """Of its row; rows without one are unscored, and last."""
    return int(score.index) if score.index.isdecimal() else 2**62


# -- yes and no -------------------------------------------------------------------------------------------------------
def yes_or_no(table: str) -> Family:
    """`ImageYORNDataset.evaluate`, by the table's name."""
    name = next((part for part in YES_NO if part.lower() in table.lower()), "")
    to_sample, by_kit, strictly, headline = YES_NO[name]
    prompt = "<image>{question}\nPlease answer yes or no." if name == "AMBER" else "<image>{question}"
    return Family(
        to_sample=to_sample,
        kit_prompt=prompt,
        prompt=SHORT_PROMPT,
        protocols=yes_no.rules(by_kit, strictly),
        headline_metrics=headline,
    )


def yes_no_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    return _sample(row, images, target=yes_no.target_of(row["answer"], row["index"]))


def amber_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    """AMBER writes its answers in small letters; the kit compares without regard to that."""
    target = yes_no.target_of(row["answer"].capitalize(), row["index"])
    category = row["category"]
    return _sample(row, images, target=target, groups=(f"category/{AMBER.get(category, category)}",))


AMBER = {
    "discriminative-attribute-state": "Attribute",
    "discriminative-attribute-number": "Attribute",
    "discriminative-attribute-action": "Attribute",
    "discriminative-hallucination": "Existence",
    "discriminative-relation": "Relation",
    "relation": "Relation",
}


def amber_estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    """Each category's accuracy, and their mean."""
    columns = Columns(scores)
    found = {name: columns.mean(columns.among(name)) for name in sorted(columns.members)}
    return {"average": weighted_sum(list(found.values()), 1 / len(found)), **found}


PARTS = ("set", "figure", "question")
"""What HallusionBench's indices end on: `..._SET_FIGURE_QUESTION`, the fourth to the sixth part."""


def hallusion_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    """A question about a figure, or about none.

    Raises:
        RowError: the index does not name set, figure and question.
    """
    parts = row["index"].split("_")
    if len(parts) < 6:
        raise RowError(f"row {row['index']}: the index has {len(parts)} parts, expected A_B_C_SET_FIGURE_QUESTION")
    cluster = f"{row['l2-category']}_{parts[3]}"  # a set's figures and questions cross: it is the smallest whole
    return replace(yes_no_sample(row, images), cluster=cluster, groups=groups_of(row, ("category", "l2-category")))


def hallusion_estimate(scores: Sequence[Score]) -> dict[str, Estimate]:
    """aAcc: of answers; fAcc: all questions about a figure right; qAcc: a question right with every figure of a set."""
    found = _three(scores, "")
    for name in sorted({name for score in scores for name in score.groups}):
        found |= _three([score for score in scores if name in score.groups], f"{name}/")
    return found


def _three(scores: Sequence[Score], prefix: str) -> dict[str, Estimate]:
    def key(score: Score, part: int) -> Hashable:
        parts = score.index.split("_")
        whole = len(parts) > part
        return (group(score, "l2-category"), parts[3], parts[part]) if whole else score.index

    found = {}
    for name, some in (
        ("aAcc", list(scores)),
        ("fAcc", merged_by(scores, partial(key, part=4))),
        ("qAcc", merged_by(scores, partial(key, part=5))),
    ):
        columns = Columns(some)
        found[prefix + name] = columns.mean(columns.everything)
    return found


def vsr_estimate(scores: Sequence[Score], *, unknown_is_no: bool) -> dict[str, Estimate]:
    """Accuracy, precision, recall and F1 of yes; the kit's F1 is a share, here it is percent as the others."""
    bare = [replace(score, groups=()) for score in scores]
    return pope.estimate(bare, unknown_is_no=unknown_is_no)


YES_NO: dict[str, tuple[Callable[[Row, tuple[ImageRef, ...]], Sample], Estimator, Estimator, tuple[str, ...]]] = {
    "Hallusion": (hallusion_sample, hallusion_estimate, hallusion_estimate, ("aAcc", "fAcc", "qAcc")),
    "AMBER": (amber_sample, amber_estimate, amber_estimate, ("average",)),
    "VSR-zeroshot": (
        yes_no_sample,
        partial(vsr_estimate, unknown_is_no=True),
        partial(vsr_estimate, unknown_is_no=False),
        ("accuracy",),
    ),
    "": (yes_no_sample, mean_by_group, mean_by_group, ("overall",)),
}


# -- open answers of a word or two ------------------------------------------------------------------------------------
def short_answers(table: str) -> Family:
    """`ImageVQADataset.evaluate`: how near an answer is to one of the given ones, as the table's authors count it."""
    return Family(
        to_sample=short_sample,
        kit_prompt="<image>{question}\nAnswer the question using a single word or phrase.",
        prompt=SHORT_PROMPT,
        protocols={"kit": ProtocolRule(score=_short_scorer(partial(kit.vqa, table)), estimate=by_split(mean_by_group))},
    )


def short_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    answers_of(row["answer"], row["index"])
    return _sample(row, images, target=row["answer"])


def answers_of(cell: str, index: str) -> list[str | int | float]:
    """The answers that count: of a list literal its members, else the cell itself.

    Raises:
        RowError: a list of something else than texts and numbers.
    """
    if not cell.startswith("["):
        return [cell]
    try:
        answers = kit.literal_list(cell)
    except ValueError:
        return [cell]
    if not answers or not all(isinstance(each, str | int | float) for each in answers):
        raise RowError(f"row {index}: the answer is {cell[:40]!r}, expected a list of texts")
    return answers


Worth = Callable[[Sequence[str | int | float], str], tuple[float, str]]


def _short_scorer(
    worth: Worth,
) -> Callable[[Sequence[Sample], Sequence[Prediction], Judge | None], list[Score]]:
    def score(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
        scores, answered = split_answered(samples, predictions, "kit")
        for sample, text in answered:
            try:
                value, read = worth(answers_of(sample.target, sample.index), text)
                scores[sample.index] = scored(sample, "kit", value, answer=read)
            except kit.RuleFailed as error:
                scores[sample.index] = unscored(sample, "kit", f"{KIT_FAILED}: {error}")
        return [scores[sample.index] for sample in samples]

    return score


FORMULAS = "Handwritten Mathematical Expression Recognition"
RECOGNITION = (
    "Regular Text Recognition",
    "Irregular Text Recognition",
    "Artistic Text Recognition",
    "Handwriting Recognition",
    "Digit String Recognition",
    "Non-Semantic Text Recognition",
)


def ocr_bench(table: str) -> Family:
    """`OCRBench.evaluate`, whose rule stands inside of it and is written again here: an answer occurs in the text.

    The kit's final score is a number of questions out of 1,000; here it is percent.
    """
    return Family(
        to_sample=ocr_sample,
        kit_prompt="<image>{question}",
        prompt=SHORT_PROMPT,
        protocols={"kit": ProtocolRule(score=_ocr_score, estimate=mean_by_group)},
    )


def ocr_sample(row: Row, images: tuple[ImageRef, ...]) -> Sample:
    category = row["category"]
    whole = ("area/Text Recognition",) if category in RECOGNITION else ()
    return replace(short_sample(row, images), groups=(*whole, f"category/{category}"))


def _ocr_score(samples: Sequence[Sample], predictions: Sequence[Prediction], judge: Judge | None) -> list[Score]:
    scores, answered = split_answered(samples, predictions, "kit")
    for sample, text in answered:
        plain = _formula if f"category/{FORMULAS}" in sample.groups else _text
        found = any(plain(str(each)) in plain(text) for each in answers_of(sample.target, sample.index))
        scores[sample.index] = scored(sample, "kit", float(found), answer=plain(text))
    return [scores[sample.index] for sample in samples]


def _text(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")


FAMILIES: dict[str, Callable[[str], Family]] = {
    "ImageMCQDataset": choices,
    "ImageYORNDataset": yes_or_no,
    "ImageVQADataset": short_answers,
    "OCRBench": ocr_bench,
}
"""The kit's classes whose scoring is known here."""

find = cache(task_of)
