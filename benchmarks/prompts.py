"""Prompts from templates.

A template is the whole wording of a benchmark's prompt in one constant: `<image>` is where the pictures go,
`{question}`, `{options}` and `{hint}` are filled from the sample, and a [[section]] is left out when one of its
fields is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from .records import ImageRef, Prompt, Sample

IMAGE = "<image>"
SECTION = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
NUMBERED_IMAGE = re.compile(r"<image (\d)>")
"""MMMU's marks in questions and options; VLMEvalKit knows one digit only."""

Options = Callable[[Sample], Mapping[str, str]]


def as_shown(sample: Sample) -> Mapping[str, str]:
    """The options as they stand in the table."""
    return sample.choices


def from_template(
    template: str, options: Options = as_shown, question: Callable[[Sample], str] = lambda sample: sample.question
) -> Callable[[Sample], Prompt]:
    """A prompt builder; all pictures of a sample stand at the template's `<image>`."""

    def build(sample: Sample) -> Prompt:
        pieces = [fill(piece, sample, options(sample), question(sample)) for piece in template.split(IMAGE)]
        parts: list[str | ImageRef] = [pieces[0]]
        for piece in pieces[1:]:
            parts += [*sample.images, piece]
        return prompt(sample, parts)

    return build


def fill(template: str, sample: Sample, options: Mapping[str, str], question: str | None = None) -> str:
    """The template's text with the sample's question, options (one line each, `A. text`) and hint."""
    fields = {
        "question": sample.question if question is None else question,
        "options": "".join(f"{letter}. {text}\n" for letter, text in options.items()),
        "hint": sample.row.get("hint", ""),
    }

    def section(found: re.Match[str]) -> str:
        names = re.findall(r"{(\w+)}", found[1])
        return found[1] if all(fields[name] for name in names) else ""

    return SECTION.sub(section, template).format(**fields)


def interleave(text: str, sample: Sample) -> list[str | ImageRef]:
    """Text and pictures in turn: picture N where `<image N>` stands; all pictures first when no mark is there.

    A mark that names a picture which the sample does not have stays text: MMMU's validation_Math_7 has options that
    name pictures up to <image 30>, where the data set holds seven at most.
    """
    parts: list[str | ImageRef] = []
    end = 0
    for mark in NUMBERED_IMAGE.finditer(text):
        if 1 <= int(mark[1]) <= len(sample.images):
            parts += [text[end : mark.start()], sample.images[int(mark[1]) - 1]]
            end = mark.end()
    return [*parts, text[end:]] if parts else [*sample.images, text]


def prompt(sample: Sample, parts: list[str | ImageRef]) -> Prompt:
    return Prompt(sample.index, tuple(part for part in parts if part != ""))
