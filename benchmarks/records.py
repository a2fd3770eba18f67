"""The nouns of an evaluation: what is asked, what was answered, what it was worth.

A *Task* is one of the ten entries behind the paper's twelve columns. It turns table rows into *Samples*, samples into
*Prompts*, and predictions into *Scores*; aggregates over scores are *Metrics*. Every record is plain data, so that it
can be written as one JSON line and read back by any tool.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from .statistics import Estimate

Row = Mapping[str, str]
"""One row of a benchmark's table. Every cell is text; a cell that is absent in the table is absent in the mapping."""

PromptStyle = Literal["aki", "vlmevalkit"]


class UserError(ValueError):
    """Something the user can fix: one line that says what was found, what was expected and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


@dataclass(frozen=True)
class ImageRef:
    """A picture that is read and decoded only when somebody looks at it.

    Equal `key`s mean equal pictures: caches of vision features and clusters rest on it.
    """

    key: str
    read: Callable[[], bytes] = field(repr=False, compare=False)

    def decode(self) -> Image.Image:
        """The upright picture in its own mode (RGB conversion is the image processor's business)."""
        return ImageOps.exif_transpose(Image.open(io.BytesIO(self.read())))


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
    """Worth of one prediction under one protocol: a number, or None with the `reason` why there is none.

    `answer` is how the prediction was read, `target` what was right. `parts` holds further numbers that an aggregate
    needs (LLaVA-Bench: the reference's score).
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
        if (self.value is None) == (self.reason is None):
            raise AssertionError(f"a score has a value or a reason, never both or neither: {self!r}")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Aggregate of many scores with its 95 % interval. `value` is None when nothing could be scored."""

    value: float | None
    ci95: tuple[float, float] | None
    num_samples: int
    num_scored: int
    num_unscored: int
    unit: Literal["percent", "points"] = "percent"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One official VLMEvalKit table: its name there, the checksum of the published file and its number of rows."""

    name: str
    md5: str
    num_rows: int | None


@dataclass(frozen=True, kw_only=True)
class ProtocolRule:
    """How one protocol reads and adds up.

    `score` gets the samples, the prediction of each (aligned) and a judge (None: nothing may be judged) and returns
    one score a sample, in order. `estimate` gets all scores of the task and returns an estimate by metric name.
    """

    score: Callable[[Sequence[Sample], Sequence[Prediction], Judge | None], list[Score]]
    estimate: Callable[[Sequence[Score]], dict[str, Estimate]]
    on_request: bool = False
    """True: scored only when asked for by name, because it would pay a judge a second time."""

    def aggregate(self, scores: Sequence[Score]) -> dict[str, Metric]:
        return {name: estimate.metric() for name, estimate in self.estimate(scores).items()}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark: where its rows are, how a row is asked, how an answer is scored."""

    name: str
    title: str
    paper: str
    tables: tuple[Table, ...]
    paper_table: int | None
    to_sample: Callable[[str, Row, tuple[ImageRef, ...]], Sample]
    """(table name, row, pictures) -> sample."""
    prompts: Mapping[PromptStyle, Callable[[Sample], Prompt]]
    protocols: Mapping[str, ProtocolRule]
    headline: str
    """The protocol that the paper's number follows."""
    headline_metrics: tuple[str, ...]
    max_new_tokens: int
    judged: bool = False
    """True: without a judge nothing of it can be scored."""

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The paper's columns that stand on this task, as (task, metric)."""
        return tuple((self.name, metric) for metric in self.headline_metrics)
