"""Anything of the caller's that answers prompts, as a predictor."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

from benchmarks.errors import UserError
from benchmarks.records import Prompt

from .base import Generation, Unusable

MARK = "_aki_eval_instance"


@runtime_checkable
class Answers(Protocol):
    """The least a model must be able to do: one answer a prompt, in order.

    A prompt's `text` is for models that read; `parts` are text and pictures in their order, and a picture's
    `decode()` gives it as a PIL image. An answer is a text; None: the model did not answer, and the sample is unscored.
    A method with a second parameter `max_new_tokens` is told the benchmark's limit.

    Optional: `name` (for tables), `batch_size`, `describe()`: a dict of what decides the answers, such as a version.
    By it a later process knows that it may go on with a run of this model; without it no other object may.
    """

    def predict(self, prompts: Sequence[Prompt], /) -> Sequence[str | None]: ...


class GivenPredictor:
    """An object with `predict(prompts)`."""

    device = "unknown"

    def __init__(self, model: Answers) -> None:
        self.model = model
        self.name = str(getattr(model, "name", None) or type(model).__name__)
        self.batch_size = int(getattr(model, "batch_size", 16))
        self._told_limit = "max_new_tokens" in inspect.signature(model.predict).parameters

    def describe(self) -> dict[str, Any]:
        """What the object says of itself; else a mark of this one object, which no other run has.

        Raises:
            UserError: it says what JSON cannot hold.
        """
        own = getattr(self.model, "describe", None)
        said = dict(own()) if callable(own) else {"instance": self._instance()}
        try:
            said = json.loads(json.dumps(said, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.name}.describe() gives what JSON cannot hold ({error})") from error
        kind = f"{type(self.model).__module__}.{type(self.model).__qualname__}"
        return {"dtype": None, **said, "kind": "python", "class": kind}

    def _instance(self) -> str:
        mark: str | None = getattr(self.model, MARK, None)
        if mark is None:
            mark = uuid4().hex
            try:
                setattr(self.model, MARK, mark)
            except AttributeError:  # an object with slots: every use of it is another model
                return mark
        return mark

    def self_test(self) -> None:
        """Nothing can be looked into from here."""
        return

    def render(self, prompt: Prompt) -> str:
        return prompt.text

    def predict(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Generation]:
        """The caller's answers.

        Raises:
            Unusable: not one for each prompt.
        """
        limit = {"max_new_tokens": max_new_tokens} if self._told_limit else {}
        answers = self.model.predict(list(prompts), **limit)
        if isinstance(answers, str) or len(answers) != len(prompts):
            found = "a text" if isinstance(answers, str) else f"{len(answers)} answers"
            raise Unusable(f"{self.name}.predict gave {found} for {len(prompts)} prompts, expected one answer each")
        return [self._to_generation(answer) for answer in answers]

    def _to_generation(self, answer: object) -> Generation:
        if isinstance(answer, Generation):
            return answer
        if answer is None:
            return Generation(text=None, error="the model gave no answer (None)")
        if not isinstance(answer, str):
            return Generation(text=None, error=f"the answer is a {type(answer).__name__}, expected a text")
        return Generation(text=answer)
