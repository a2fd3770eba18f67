"""The texts AKI is trained on (paper, Table 5; line breaks and spaces as in the original training).

This file holds what the user says. The roles, the system message and the place of `<image>` belong to the
processor's chat template, so that training and evaluation cannot drift apart.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

SHORT_ANSWER = "Answer the question using a single word or phrase. {question}"
"""VQAv2, GQA, OCR-VQA."""

YES_NO = "Answer the question using a single word or phrase. {question} Please answer yes or no."
"""VSR. Table 5 leaves the last sentence out, the original's code has it."""

CHOICE = "Answer with the option's letter from the given choices directly. {question}\nOptions:\n{options}\n"
"""A-OKVQA."""

CHOICE_WITH_CONTEXT = (
    "Answer with the option's letter from the given choices directly. {question}\n"
    "Context: {context}\nOptions:\n{options}\n"
)
"""ScienceQA, with and without image; the context of a question without a hint is `N/A`."""

REGION = "Provide a short description for this region. <bbox>{box}</bbox>"
"""RefCOCO, RefCOCO+, RefCOCOg, Visual Genome."""

CAPTION = "{image}{caption}{end_of_chunk}"
"""Pretraining: no roles, no system message, no question end, so attention stays causal."""

END_OF_CHUNK = "<|endofchunk|>"


def options(choices: Sequence[str]) -> str:
    """`A. first` and so on, one a line."""
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(string.ascii_uppercase, choices, strict=False))


def box(left: float, top: float, right: float, bottom: float) -> str:
    """`[x1, y1][x2, y2]`, fractions of width and height with three decimals. Not clipped, as in the original."""
    return f"[{left:.3f}, {top:.3f}][{right:.3f}, {bottom:.3f}]"
