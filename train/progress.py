"""A progress bar for a stage: rate, time left and the last loss."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging


class StageProgress(TrainerCallback):  # type: ignore[misc]
    """tqdm over optimizer steps, on the first process only."""

    def __init__(self, name: str, steps: int) -> None:
        self.name = name
        self.steps = steps
        self.bar: tqdm[Any] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(total=self.steps, initial=state.global_step, desc=self.name, unit="step", mininterval=0.5)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if self.bar is not None and logs and "loss" in logs:
            self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def quiet(trainer: Any) -> None:
    """The Trainer prints its logs when its own bar is off; ours shows them. The library's bars would cross it."""
    logging.disable_progress_bar()
    trainer.remove_callback(PrinterCallback)
