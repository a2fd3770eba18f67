"""What was asked, out of the stored prompts: short enough for a line, without reading the benchmarks' tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.results.folder import RunFolder

SPECIAL = re.compile(r"<\|?[\w/]+\|?>")
"""`<image>`, `<|user|>` and their like."""
SENTENCE = re.compile(r"(?<=[.:]) ")
"""Where instructions end; a question mark ends none."""
HEADING = re.compile(r"\b(?:Options|Choices):$")
"""Ends the sentence behind which the options stand."""
OPTIONS = re.compile(r"(?:Options|Choices):|\(?A[.)]")
"""With which the options begin."""
SHARED = 0.05
"""The share of prompts from which on a first sentence is an instruction. At least three prompts must have it."""


def asked(run: RunFolder, task: str) -> Mapping[str, str]:
    """Of each sample of a task, as `in_short` tells it."""
    return in_short({index: prediction.prompt for index, prediction in run.predictions(task).items()})


def in_short(prompts: Mapping[str, str]) -> Mapping[str, str]:
    """Each prompt in one line, without special tokens and the instructions that stand before it."""
    sentences = {
        index: SENTENCE.split(" ".join(SPECIAL.sub(" ", prompt).split())) for index, prompt in prompts.items() if prompt
    }
    least = max(3.0, SHARED * len(sentences))
    while True:
        first = Counter(own[0] for own in sentences.values() if _may_instruct(own))
        instructions = {sentence for sentence, count in first.items() if count >= least}
        if not instructions:
            return {index: " ".join(own) for index, own in sentences.items()}
        sentences = {
            index: own[1:] if _may_instruct(own) and own[0] in instructions else own for index, own in sentences.items()
        }


def _may_instruct(sentences: Sequence[str]) -> bool:
    """Whether the first sentence may be taken away: not what asks, or has the options behind it.

    Many samples ask the same. That is the question however often it stands there.
    """
    if len(sentences) == 1 or "?" in sentences[0] or HEADING.search(sentences[0]):
        return False
    return not OPTIONS.match(sentences[1])
