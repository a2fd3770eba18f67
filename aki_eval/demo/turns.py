"""What a conversation is made of: turns, answers, and the tokens of an answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.records import ImageRef


@dataclass(frozen=True)
class Step:
    """One token of an answer: its text and probability, and the likeliest tokens at its place, itself among them."""

    text: str
    probability: float
    likeliest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class StreamedAnswer:
    """What was said so far, and how it ended.

    `finished`: "stop" at its own end, "length" or "context" cut at the limit of tokens or of the model's context,
    "ended" by whoever asked, "" while it comes.
    """

    text: str
    steps: tuple[Step, ...]
    finished: str = ""


@dataclass
class Turn:
    """A question, the picture shown with it, and an answer under each kind of mask that was asked."""

    question: str
    picture: ImageRef | None = None
    answers: dict[str, StreamedAnswer] = field(default_factory=dict)
