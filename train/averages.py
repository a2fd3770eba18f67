"""Exponential averages of the weights that are trained: saved and resumed with them, exported when asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict_loader import load
from transformers import TrainerCallback

from benchmarks.errors import UserError

from .writing import Writing, is_alone

FOLDER = "averages"


class Averages(TrainerCallback):  # type: ignore[misc]
    """After every step: average = decay * average + (1 - decay) * weight. It begins with the weights of the start.

    Each process keeps the average of what it holds: a sharded run has one average of each weight, in parts.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.of: dict[str, torch.Tensor] = {}
        self._parameters: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """The model is as it will be trained, sharded or not; what a checkpoint holds is read over this afterwards."""
        self.begin(model)

    def begin(self, model: torch.nn.Module) -> None:
        if not self.of:
            trained = ((name.removeprefix("module."), p) for name, p in model.named_parameters() if p.requires_grad)
            self._parameters = {name: parameter.detach() for name, parameter in trained}
            self.of = {name: parameter.clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for name, average in self.of.items():
            _own(average).lerp_(_own(self._parameters[name]), 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages in the weights' place, which come back to the last bit."""
        weights = {name: parameter.clone() for name, parameter in self._parameters.items()}
        try:
            self._fill(self.of)
            yield
        finally:
            self._fill(weights)

    @torch.no_grad()
    def _fill(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            _own(self._parameters[name]).copy_(_own(value))

    def save(self, checkpoint: Path, writing: Writing) -> None:
        """Each process its part."""
        writing.state({FOLDER: self.of}, checkpoint / FOLDER)

    def load(self, checkpoint: Path) -> None:
        """What `save` wrote, cut as this run needs it.

        Raises:
            UserError: the checkpoint holds no averages.
        """
        if not (checkpoint / FOLDER).is_dir():
            raise UserError(f"{checkpoint}: no {FOLDER}/ in it, as checkpoints of stages with `ema` have")
        load({FOLDER: self.of}, checkpoint_id=checkpoint / FOLDER, no_dist=is_alone())


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a sharded tensor that lies here."""
    local: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local
