"""The nouns of an evaluation: what is asked, what was answered, what it was worth.

A task (`task.py`) turns table rows into *Samples*, samples into *Prompts*, and predictions into *Scores*; aggregates
over scores are *Metrics*. Every record is plain data, so that it can be written as one JSON line and read back by any
tool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from PIL import Image

from .images import decode

Row = Mapping[str, str]
"""One row of a benchmark's table. Every cell is text; a cell that is absent in the table is absent in the mapping."""

PromptStyle = Literal["aki", "vlmevalkit"]


@dataclass(frozen=True)
class ImageRef:
    """A picture that is read and decoded only when somebody looks at it.

    Equal `key`s mean equal pictures: caches of vision features and clusters rest on it.
    """

    key: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    def decode(self) -> Image.Image:
        """The upright picture, eight bits a channel, in its own mode (RGB is the image processor's business).

        Raises:
            OSError: it is no picture, or damaged.
            ValueError: it is too large, or its numbers are no brightness.
        """
        return decode(self.read())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One question.

    `index` is unique within the task. `choices` maps letters to texts in the order shown and is empty for open
    questions. `groups` names the sub-scores the sample counts towards, as `group/name` (`subtask/OCR`). Samples of
    one `cluster` are not independent of each other (same picture, or rolls of one circular question): intervals
    respect that.
    """

    index: str
    images: tuple[ImageRef, ...]
    question: str
    target: str
    choices: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    cluster: str
    row: Row = field(repr=False)
    fault: str | None = None
    """What is wrong with the table's row: such a sample is unscored."""


@dataclass(frozen=True)
class Prompt:
    """The user's turn as parts, text and pictures in the order in which they are sent.

    Roles and system text are the model's.
    """

    index: str
    parts: tuple[str | ImageRef, ...]

    @property
    def images(self) -> tuple[ImageRef, ...]:
        return tuple(part for part in self.parts if isinstance(part, ImageRef))

    @property
    def text(self) -> str:
        """For people: the parts joined, `<image>` where a picture stands."""
        return "".join(part if isinstance(part, str) else "<image>" for part in self.parts)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a predictor answered, or why it did not: exactly one of `text` and `error` is set."""

    index: str
    prompt: str
    text: str | None
    num_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    logprobs: Mapping[str, float] | None = None
    """Of the options, where these were asked for (`likelihood`)."""

    @property
    def cut(self) -> bool:
        """Cut off at the limit on tokens."""
        return self.finish_reason == "length"


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """A question to the judge.

    `kind` is the judge protocol (`mm_vet`, `llava_bench`, `extract`). `facts` holds what the prompt was made of
    (question, reference, candidate, ...), for judges that do not read prose. `parse` reads the reply: the numbers in
    it; where it cannot be read, None or an `Unreadable` that says why (`judged.read_reply` calls it).
    """

    index: str
    kind: str
    prompt: str
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict, repr=False)
    parse: Callable[[str], Any | None] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The judge's reply to one request. `value` is what `parse` made of `raw`; None with an `error` when unreadable."""

    index: str
    kind: str
    judge: str
    prompt_hash: str
    raw: str | None
    value: Any | None
    error: str | None = None
    repeat: int = 0
    tries: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    cached: bool = False


class Judge(Protocol):
    """Grades answers. Returns one verdict for each request and repeat, in the order of the requests."""

    name: str
    comparable: bool  # False: never to be set beside numbers of a GPT-4 judge (and said so in every table)

    def grade(self, requests: Sequence[JudgeRequest]) -> list[Verdict]: ...

    def describe(self) -> dict[str, Any]:
        """For the record: name, comparable, and whatever made the verdicts. Never a key."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Worth of one prediction under one protocol: right, wrong, unread or unscored.

    *Unscored*: `value` is None and `reason` says why. *Unread*: the protocol's rule found no answer in the text;
    `value` is what the rule makes of that (0 nearly always), and `reason` says what was found instead. Otherwise there
    is a value and no reason. `answer` is how the prediction was read, `target` what was right. `parts` holds further
    numbers that an aggregate needs (LLaVA-Bench: the reference's score).
    """

    index: str
    protocol: str
    value: float | None
    reason: str | None = None
    answer: str | None = None
    target: str | None = None
    groups: tuple[str, ...] = ()
    cluster: str
    parts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.value is None and self.reason is None:
            raise AssertionError(f"a score has a value, or a reason why it has none: {self!r}")

    @property
    def unread(self) -> bool:
        """Counted as the protocol's rule says, though nobody knows what the answer was meant to be."""
        return self.value is not None and self.reason is not None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Aggregate of many scores with its 95 % interval. `value` is None when nothing could be scored.

    `num_unread` of the `num_scored` answers could not be read; None in files written before they were counted.
    `unread_bounds`: the value were all of these wrong, and were all of them right; None where none is, or where grades
    have no such ends. `num_units`: how many questions the scored samples are, where several are one question (MMBench's
    rotations); None where each is one.
    """

    value: float | None
    ci95: tuple[float, float] | None
    num_samples: int
    num_scored: int
    num_unscored: int
    num_unread: int | None = None
    unread_bounds: tuple[float, float] | None = None
    num_units: int | None = None
    unit: Literal["percent", "points"] = "percent"
