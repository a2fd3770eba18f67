"""Probes of the options: every order of rolling them, and other labels than letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from .. import kit
from ..records import Prediction, Prompt, PromptStyle, Row, Sample
from ..task import Task
from .rule import ROLL, Asked, ProbedTask, ProbeRule

NO_OPTIONS = "it has no options"
NO_TARGET = "its answer is none of its options"
NAMES_OTHERS = "an option names another one by its place"
UNKNOWN_FORM = "its options stand in the question in a form that is not known"

LETTERS_NAMED = re.compile(r"(?<![\w.])\(?[A-J]\)?\s*(?:,|and|or|&)\s*\(?[A-J]\)?(?![\w.])")
PLACES_NAMED = re.compile(
    r"\b(?:all|none|both|neither|any|each) of "
    r"(?:the (?:above|below|others?|rest|options|choices|answers)|above|these|those|them)"
    r"\b|\bthe above\b|\ball above\b|\babove (?:options|choices|answers)\b|^\W*(?:both|neither|none|all)\W*$",
    re.IGNORECASE,
)
"""Not a bare "above": that is where something is."""
NUMBER = re.compile(r"\W*\d+(?:[.,]\d+)?\W*")
WORDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def num_rolling(sample: Sample) -> int | None:
    """How many options move: the last ones stay where they speak of the others ("none of the above").

    None where one that is not last does, or one names others by letter: such options have their places.
    """
    texts = list(sample.choices.values())
    if any(LETTERS_NAMED.search(text) for text in texts):
        return None
    moving = len(texts)
    while moving and PLACES_NAMED.search(texts[moving - 1]):
        moving -= 1
    return None if any(PLACES_NAMED.search(text) for text in texts[:moving]) else moving


def rolled(sample: Sample, by: int, moving: int) -> Sample:
    """The sample with its first `moving` options moved on by `by` places, and its target with them.

    Raises:
        ValueError: the question's text or the table's prompt holds the options in a form that is not known.
    """
    letters = list(sample.choices)
    source = {letters[(place + by) % moving]: letters[place] for place in range(moving)}
    source |= {letter: letter for letter in letters[moving:]}
    moved = {old: new for new, old in source.items()}
    choices = {letter: sample.choices[source[letter]] for letter in letters}
    row = _moved_row(sample.row, source, moved, sample, choices)
    return replace(
        sample,
        index=f"{sample.index}{ROLL}{by}" if by else sample.index,
        question=with_options(sample.question, _lines(sample.choices), _lines(choices)),
        target=moved[sample.target],
        choices=choices,
        row=row,
    )


def _moved_row(
    row: Row, source: Mapping[str, str], moved: Mapping[str, str], sample: Sample, choices: Mapping[str, str]
) -> dict[str, str]:
    """The cells that protocols and prompts look at."""
    cells = dict(row)
    for form in ("{}", kit.KIT_CELL):
        own = {form.format(new): row.get(form.format(old)) for new, old in source.items()}
        cells = {name: cell for name, cell in cells.items() if name not in own}
        cells |= {name: cell for name, cell in own.items() if cell is not None}
    for name in ("answer", "answer_option"):
        bare = cells.get(name, "").strip("()")
        if bare == sample.target:
            cells[name] = cells[name].replace(bare, moved[bare])
    if "choices" in cells:
        cells["choices"] = repr(list(choices.values()))
    for name in ("question", "prompt"):
        if name in cells:
            cells[name] = with_options(cells[name], _lines(sample.choices), _lines(choices))
    return cells


def _lines(options: Mapping[str, str]) -> list[str]:
    """As tables that hold the options in the question write them."""
    return [f"({label}) {text}" for label, text in options.items()]


def with_options(text: str, old: list[str], new: list[str]) -> str:
    """A text with the options that stand in it replaced; a text without any as it is.

    Raises:
        ValueError: it holds the first option, but not all of them in their order.
    """
    if not old or old[0] not in text:
        return text
    for separator in ("\n", " ", ", "):
        block = separator.join(old)
        if text.count(block) == 1:
            return text.replace(block, separator.join(new))
    raise ValueError(UNKNOWN_FORM)


def _why_left_out(sample: Sample) -> str | None:
    if not sample.choices:
        return NO_OPTIONS
    return None if sample.target in sample.choices else NO_TARGET


def _shuffle(task: Task, asked: Asked, style: PromptStyle) -> ProbedTask:
    samples, prompts, left_out = [], [], {}
    for sample, _ in asked:
        why = _why_left_out(sample)
        moving = None if why else num_rolling(sample)
        if moving is None or moving < 2:
            left_out[sample.index] = why or NAMES_OTHERS
            continue
        try:
            rolls = [rolled(sample, by, moving) for by in range(moving)]
        except ValueError as error:
            left_out[sample.index] = str(error)
            continue
        samples += rolls
        prompts += [task.prompts[style](roll) for roll in rolls]
    return ProbedTask(samples=samples, prompts=prompts, left_out=left_out)


def labels_of(sample: Sample) -> dict[str, str]:
    """Letter -> what stands in its place: 1, 2, ...; first, second, ... where an option is itself a number."""
    numeric = any(NUMBER.fullmatch(text) for text in sample.choices.values())
    names = WORDS if numeric else [str(place + 1) for place in range(len(sample.choices))]
    return dict(zip(sample.choices, names, strict=False))


def _relabel(task: Task, asked: Asked, style: PromptStyle) -> ProbedTask:
    samples, prompts, left_out = [], [], {}
    for sample, _ in asked:
        why = _why_left_out(sample)
        if why is None and any(LETTERS_NAMED.search(text) for text in sample.choices.values()):
            why = NAMES_OTHERS
        if why is None and len(sample.choices) > len(WORDS):
            why = f"it has more than {len(WORDS)} options"
        try:
            prompt = None if why else _relabelled(task.prompts[style], sample)
        except ValueError as error:
            why = str(error)
        if prompt is None or why:
            left_out[sample.index] = why or UNKNOWN_FORM
        else:
            samples.append(sample)
            prompts.append(prompt)
    return ProbedTask(samples=samples, prompts=prompts, left_out=left_out)


def _relabelled(build: Callable[[Sample], Prompt], sample: Sample) -> Prompt:
    """The prompt of a sample whose options have other labels; where it speaks of a letter it speaks of them.

    Raises:
        ValueError: the options stand in the question in a form that is not known.
    """
    labels = labels_of(sample)
    kind = "number" if labels[next(iter(labels))] == "1" else "word"
    shown = {labels[letter]: text for letter, text in sample.choices.items()}
    old, new = _lines(sample.choices), _lines(shown)
    row = {name: with_options(cell, old, new) for name, cell in sample.row.items() if name in ("question", "prompt")}
    question = with_options(sample.question, old, new)
    renamed = replace(sample, choices=shown, question=question, row={**sample.row, **row})
    prompt = build(renamed)
    return replace(
        prompt, parts=tuple(_spoken(part, kind, labels) if isinstance(part, str) else part for part in prompt.parts)
    )


HINTED = re.compile(r"(option(?:'s)?) letter(, e\.g\., [A-Z](?:, [A-Z])*)?")


def _spoken(text: str, kind: str, labels: Mapping[str, str]) -> str:
    def other(found: re.Match[str]) -> str:
        example = f", e.g., {', '.join(labels.values())}" if found[2] else ""
        return f"{found[1]} {kind}{example}"

    return HINTED.sub(other, text)


SAID_BEFORE = r"(?:^|\b(?:answer|option|choice|number|word)(?:\s+is)?\s*:?\s*)"
LONE_LETTER = re.compile(r"\W*[A-Z](?:\W*|[.):]\s.*)", re.DOTALL)


def read_back(sample: Sample, prediction: Prediction) -> Prediction:
    """The answer with the label that it begins with, or says it is, replaced by the letter in whose place it stood.

    A letter was not on offer: an answer that is one gives no option, and becomes a text in which none can be read. Any
    other answer stays as it is; it may name an option by its text.
    """
    if prediction.text is None:
        return prediction
    text = prediction.text.strip()
    letters = {label: letter for letter, label in labels_of(sample).items()}
    names = "|".join(sorted(letters, key=len, reverse=True))
    label = rf"\(?(?P<label>{names})\)?(?=$|[.):,\s])"
    found = re.match(rf"\W*{label}", text, re.IGNORECASE) or re.search(rf"{SAID_BEFORE}{label}", text, re.IGNORECASE)
    if found:
        rest = text[found.end() :]
        return replace(prediction, text=letters[found["label"].lower()] + (rest if rest.strip(" .):") else ""))
    return replace(prediction, text="?") if LONE_LETTER.fullmatch(text) else prediction


def _has_no_options(task: Task) -> str | None:
    return "its questions have no options" if task.name in ("mme", "pope", "llava_bench", "mm_vet") else None


def _why_not_shuffled(task: Task) -> str | None:
    if task.rolls_options:
        return "the benchmark itself asks every question with all rolls of its options"
    return _has_no_options(task)


SHUFFLE_OPTIONS = ProbeRule(
    name="shuffle_options",
    does="each question is asked with its options rolled by every number of places; those that speak of others stay",
    apply=_shuffle,
    why_not=_why_not_shuffled,
    options=True,
)
LETTERS_PROBE = ProbeRule(
    name="letters",
    does="options are called 1, 2, ... instead of A, B, ...; first, second, ... where an option is itself a number",
    apply=_relabel,
    why_not=_has_no_options,
    read_back=read_back,
)
