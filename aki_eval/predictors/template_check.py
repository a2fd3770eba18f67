"""A checkpoint's chat template is a program of a stranger: it is tried once, for a limited time, before it is used."""

from __future__ import annotations

from threading import Thread
from typing import Any

from benchmarks.errors import UserError

SECONDS = 60.0
QUESTION = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is in the picture?"}]}]


def try_template(processor: Any, name: str, seconds: float = SECONDS) -> None:
    """Renders one question about one picture.

    The sandbox that transformers runs templates in keeps them from files and programs, but not from loops without end,
    so it happens in a thread of its own that is left behind when it does not come back.

    Raises:
        UserError: the template fails, or takes longer than `seconds`.
    """
    outcome: list[Exception | str] = []

    def render() -> None:
        try:
            outcome.append(processor.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False))
        except Exception as error:  # noqa: BLE001 - whatever a stranger's program does
            outcome.append(error)

    thread = Thread(target=render, name="chat template", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise UserError(f"{name}: its chat template takes more than {seconds:g} s for one question; mend the template")
    if isinstance(outcome[0], Exception):
        cause = f"{type(outcome[0]).__name__}: {outcome[0]!s:.300}"
        raise UserError(f"{name}: its chat template cannot write a question ({cause}); mend the template")
