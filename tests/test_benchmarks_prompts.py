"""The prompts that AKI was trained with, written out. (The kit's are compared with the kit itself: test_kit_parity.)"""

from __future__ import annotations

import pytest

from benchmarks.records import ImageRef, Sample
from benchmarks.tasks import COLUMNS, TASKS

SHORT = "Answer the question using a single word or phrase. "
LETTER = "Answer with the option's letter from the given choices directly. "


def image(name: str) -> ImageRef:
    return ImageRef(name, lambda: b"")


def sample(question: str, options: tuple[str, ...] = (), images: int = 1, **cells: str) -> Sample:
    return Sample(
        index="0",
        images=tuple(image(str(number)) for number in range(images)),
        question=question,
        target="",
        choices=dict(zip("ABCDEF", options, strict=False)),
        cluster="0",
        row={"index": "0", **cells},
    )


def aki(task: str, asked: Sample) -> str:
    return TASKS[task].prompts["aki"](asked).text


@pytest.mark.parametrize("task", ["mme", "pope"])
def test_yes_no(task: str) -> None:
    assert aki(task, sample("Is it red?")) == f"<image>\n{SHORT}Is it red?"


@pytest.mark.parametrize("task", ["mmbench", "seed_image", "real_world_qa", "cv_bench", "mmmu"])
def test_choice(task: str) -> None:
    text = aki(task, sample("What?", ("cat", "{dog}")))
    assert text == f"<image>\n{LETTER}What?\nOptions:\nA. cat\nB. {{dog}}\n"


def test_a_hint_is_given_only_where_there_is_one() -> None:
    text = aki("mmbench", sample("What?", ("cat", "dog"), hint="It {barks}."))
    assert text == f"<image>\n{LETTER}What?\nContext: It {{barks}}.\nOptions:\nA. cat\nB. dog\n"


@pytest.mark.parametrize("task", ["llava_bench", "mm_vet", "mathvista"])
def test_open(task: str) -> None:
    assert aki(task, sample("Hint: ...\nWhy <not> {this}?")) == "<image>\nHint: ...\nWhy <not> {this}?"


def test_mmmu_puts_one_picture_first_and_several_where_they_are_named() -> None:
    assert aki("mmmu", sample("Given <image 1>, why?")) == f"<image>\n{SHORT}Given, why?"
    asked = sample("<image 2> or <image 1>?", ("<image 1>", "none"), images=2)
    prompt = TASKS["mmmu"].prompts["aki"](asked)
    assert prompt.text == f"{LETTER}<image> or <image>?\nOptions:\nA. <image>\nB. none\n"
    assert [each.key for each in prompt.images] == ["1", "0", "0"]
    assert aki("mmmu", sample("Why?", images=2)) == f"<image><image>\n{SHORT}Why?"


def test_mmmu_keeps_the_mark_of_a_picture_that_is_not_there() -> None:
    """As validation_Math_7 has them: more pictures are named than the data set holds."""
    asked = sample("<image 1> or <image 3>?", ("<image 2>, <image 9>", "<image 10>"), images=2)
    text = aki("mmmu", asked)
    assert text == f"{LETTER}<image> or <image 3>?\nOptions:\nA. <image>, <image 9>\nB. <image 10>\n"
    assert [each.key for each in TASKS["mmmu"].prompts["aki"](asked).images] == ["0", "1"]
    assert aki("mmmu", sample("<image 3>", images=2)) == f"<image><image>{SHORT}<image 3>"


def test_every_column_of_the_paper_stands_on_a_task() -> None:
    assert len(COLUMNS) == 12
    assert [(column.task, column.metric) for column in COLUMNS] == [
        pair for task in TASKS.values() for pair in task.columns
    ]
    assert all(task.headline in task.protocols for task in TASKS.values())
