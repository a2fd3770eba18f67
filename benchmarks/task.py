"""A *Task*, of the ten behind the paper's columns or beside them: where its rows are, how they are asked and scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .estimates import Estimate
from .records import ImageRef, Judge, Metric, Prediction, Prompt, PromptStyle, Row, Sample, Score

Extractor = Literal["none", "helps", "needed"]


@dataclass(frozen=True, kw_only=True)
class DataTable:
    """One table: its name, its published file's checksum (None: not known) and number of rows.

    VLMEvalKit's tables have their addresses there; a table that it does not have needs a `url` to be fetched from.
    """

    name: str
    md5: str | None
    num_rows: int | None
    url: str | None = None


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
    extractor: Extractor = "none"
    """What a judge is to the reading of answers: nothing; a help, as for the kit's choices; or such that the benchmark
    refuses to score without one."""

    def aggregate(self, scores: Sequence[Score]) -> dict[str, Metric]:
        return {name: estimate.metric() for name, estimate in self.estimate(scores).items()}


def protocol_name(name: str) -> str:
    """The protocol's name in run folders: `vlmevalkit` is another word for `kit`, as it stands in files."""
    return "kit" if name == "vlmevalkit" else name


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark: where its rows are, how a row is asked, how an answer is scored."""

    name: str
    title: str
    paper: str
    tables: tuple[DataTable, ...]
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
    whole_clusters: bool = False
    """True: the samples of a cluster make up one question."""
    rolls_options: bool = False
    """True: these are the rolls of its options."""

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The paper's columns that stand on this task, as (task, metric)."""
        return tuple((self.name, metric) for metric in self.headline_metrics)
