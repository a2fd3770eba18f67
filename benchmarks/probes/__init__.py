"""Does it look? The same questions asked otherwise: without the picture, with another one, options moved, other words.

A probe is a pure function over the samples of a task and their prompts; what is drawn is drawn from hashes of these.
docs/probes.md says what each is for and how severe it is.
"""

from __future__ import annotations

from .options import LETTERS_PROBE, SHUFFLE_OPTIONS
from .pictures import BLANK, BLUR, NO_IMAGE, NOISE, OCCLUDE, WRONG_IMAGE
from .rule import ProbedTask, ProbeRule, base_index
from .wording import PARAPHRASE

PROBES: dict[str, ProbeRule] = {
    rule.name: rule
    for rule in (
        NO_IMAGE,
        BLANK,
        WRONG_IMAGE,
        SHUFFLE_OPTIONS,
        LETTERS_PROBE,
        BLUR,
        NOISE,
        OCCLUDE,
        PARAPHRASE,
    )
}

__all__ = ["PROBES", "ProbeRule", "ProbedTask", "base_index"]
