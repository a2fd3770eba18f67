"""What a predictor is: something that answers prompts."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from benchmarks.errors import UserError
from benchmarks.records import Prompt, PromptStyle, Sample
from benchmarks.task import Task


@dataclass(frozen=True)
class Generation:
    """One answer.

    `finish_reason` is `stop` (a stop token was met), `length` (cut at the limit) or what an endpoint says.

    A predictor that sends its prompts one by one puts a failure into `error` (and leaves `text` None), so that one
    failed request does not take the others of its batch with it.
    """

    text: str | None
    num_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None


class Unusable(UserError):
    """No prompt can be answered, now or later: weights that do not load, a key that is refused. Ends the run."""


@runtime_checkable
class Predictor(Protocol):
    """Answers prompts, greedily.

    Everything expensive (weights) is loaded at the first prediction, not at construction.
    """

    @property
    def name(self) -> str: ...

    @property
    def batch_size(self) -> int:
        """Where `--batch-size auto` starts."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, for the record."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides the answers (weights' checksum, attention, dtype, ...), without loading the weights."""
        ...

    def self_test(self) -> dict[str, Any] | None:
        """Evidence that the model is what it says it is; None where there is nothing to test."""
        ...

    def render(self, prompt: Prompt) -> str:
        """The prompt as really sent, for the record."""
        ...

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        """One generation a prompt, in order. May raise: then no prompt of the batch was answered."""
        ...


@runtime_checkable
class OverlappingPredictor(Protocol):
    """A predictor of two halves: the first is done for the next batch while this one is generated."""

    def prepare(self, prompts: Sequence[Prompt]) -> Any:
        """Decodes pictures and builds tensors; runs in a thread of its own."""
        ...

    def generate(self, prepared: Any, max_new_tokens: int) -> list[Generation]: ...


Answered = tuple[Prompt, Generation]


@runtime_checkable
class EnginePredictor(Protocol):
    """A predictor that answers many prompts at once by an engine, each in its own time.

    `predict` is its reference: it answers what the engine has no answer to.
    """

    engine: str

    def describe_engine(self) -> dict[str, str]:
        """`name`, `library` and the library's `version`."""
        ...

    def prepare(self, prompts: Sequence[Prompt]) -> Any:
        """As an OverlappingPredictor's."""
        ...

    def stream(
        self, groups: Iterator[tuple[Sequence[Prompt], Any]], max_new_tokens: int, rows: int | None = None
    ) -> Generator[list[Answered], None, None]:
        """Answers to prepared groups as they end; at most `rows` at once."""
        ...

    def both_ways(
        self, prompts: Sequence[Prompt], max_new_tokens: int, rows: int | None = None
    ) -> list[tuple[list[int], list[int] | str]]:
        """Token ids of each answer by the reference, and by the engine, or why it has none."""
        ...


@runtime_checkable
class RemotePredictor(Protocol):
    """A predictor that answers only while a server does."""

    def reach(self, timeout: float) -> None:
        """Asks the server for something small.

        Raises:
            Unusable: it does not answer within `timeout` seconds.
        """
        ...

    def close(self) -> None:
        """Ends the connections; a later prediction opens new ones."""
        ...


@runtime_checkable
class TaskAwarePredictor(Protocol):
    """A predictor that wants to know which benchmark the prompts to come belong to."""

    def begin(self, task: Task, samples: Sequence[Sample], style: PromptStyle) -> None: ...


@dataclass(frozen=True)
class NoProbabilities:
    """Why a prompt has none."""

    error: str


Logprobs = list[tuple[float, int] | None]
"""Of each continuation of a prompt, the natural logarithm of its probability and its number of tokens."""


@runtime_checkable
class ProbabilityPredictor(Protocol):
    """A predictor that can say how probable it holds a text as the beginning of its answer."""

    knows_texts: bool
    """False: it knows those of single tokens only."""

    def continuation_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> Sequence[Logprobs | NoProbabilities]:
        """For each prompt those of its continuations; None where the vocabulary cannot say one, or it is not told."""
        ...


NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|OUT_OF_(HOST_|DEVICE_)?MEMORY"
    r"|(CUBLAS|CUDNN|CUSPARSE|CUSOLVER|HIPBLAS)_STATUS_ALLOC_FAILED|MPS backend out of memory|bad_alloc",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """True for the ways in which devices and the host's allocator say so.

    Told by name and words, because torch may not be imported here, and because only CUDA's own allocator has a class
    for it: cuBLAS and cuDNN, MPS, XPU and HIP raise a RuntimeError like any other.
    """
    if isinstance(error, MemoryError):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return "OutOfMemoryError" in names or (isinstance(error, RuntimeError) and bool(NO_MEMORY.search(str(error))))


def release_memory() -> None:
    """Gives back what a batch that did not fit has left reserved on the GPU."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.cuda.empty_cache()
