"""A second process that computes the gradients of half of each step's micro-batches, so that two cores train one toy.

Before, while the vision tower and captions are trained, it writes what this machine lacks of the toy world: the
training data, and the tables with which the model will be evaluated.

The weights stay the same to the bit. A micro-batch's gradient does not depend on the process that computes it, and the
sum over a step is taken here, in the order of the micro-batches, as a single process takes it. (Two threads would cut
sums elsewhere; see `arithmetic`.) That holds for two processes with the same kernels, and a process that had computed
something before `arithmetic.choose_kernels` may have others: so both compute a few operations first, and where a bit
differs the partner is left out.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from benchmarks import toy_world
from model import AkiForConditionalGeneration

from ..recipe import Stage
from ..run_stage import prepare_model
from ..trainer import AkiTrainer
from . import arithmetic
from .plan import ToyPlan
from .prepared import ensure_training_data

Arrays = list[np.ndarray | None]
PIPE_SIZE = 2**20
"""Weights and gradients are 2 MB each; through 64 KB at a time a step takes 3 to 5 % longer."""


class Gradient(NamedTuple):
    """Of one micro-batch: its loss (), and an array for each learned parameter that it reached."""

    loss: np.ndarray
    arrays: Arrays


class Partner:
    """The process. It starts at once, so that it has imported torch by the time it is needed.

    A partner that is gone, or left out, costs time, not the training: `take` then gives nothing.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from train.toy.partner import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            widen(pipe)  # type: ignore[arg-type]  # a pipe
        self._there = True
        self._tried = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()  # it may be in the middle of something
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # what was still to be written has no reader any more
                pipe.close()  # type: ignore[union-attr]  # both are pipes
        self._process.wait()

    def prepare(self, plan: ToyPlan) -> None:
        """It writes the toy world's files. Nobody waits for it: who needs one that is missing then writes it."""
        self._send(plan)

    def begin(self, stage: Stage, model: Any) -> None:
        """What is trained next: its settings, and all weights, those that nothing will change among them."""
        if not self._tried:
            self._compare_operations()
        self._send((stage, model.config, {name: each.numpy() for name, each in model.state_dict().items()}))

    def give(
        self,
        parameters: Iterable[torch.nn.Parameter],
        batches: Sequence[dict[str, Tensor]],
        num_items: Tensor | int | None,
    ) -> None:
        """Micro-batches of a step, with the weights that they are to be answered with."""
        weights = [parameter.detach().numpy() for parameter in parameters]
        self._send((weights, [{name: each.numpy() for name, each in batch.items()} for batch in batches], num_items))

    def take(self) -> list[Gradient]:
        """The gradients of the micro-batches last given, or none of them."""
        gradients: list[Gradient] | None = self._receive()
        return gradients or []

    def _compare_operations(self) -> None:
        self._tried = True
        here, there = arithmetic.digests(), self._receive()
        differ = [name for name in here if there is not None and there[name] != here[name]]
        if differ:
            self._there = False
            said = f"its kernels give other bits ({', '.join(differ)})"
            print(f"aki-train: a second process is left out: {said}", file=sys.stderr)

    def _receive(self) -> Any:
        """What the partner says next, None when it is gone."""
        if not self._there:
            return None
        try:
            return pickle.load(self._process.stdout)  # type: ignore[arg-type]  # a pipe
        except (EOFError, pickle.UnpicklingError):
            self._there = False
            return None

    def _send(self, what: Any) -> None:
        if self._there:
            try:
                _write(what, self._process.stdin)  # type: ignore[arg-type]  # a pipe
            except BrokenPipeError:
                self._there = False


class PairedTrainer(AkiTrainer):
    """The shortest and the longest of a step's micro-batches are its partner's, those between its own.

    That is about as much work for both: this process has the optimizer's step besides. All of its own
    are computed, and the next step's are drawn, before the partner is waited for.
    """

    def __init__(self, *, partner: Partner, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert (self.stage.logits, self.stage.averaging) == ("all", "token"), "what `gradients_of` computes"
        self.partner = partner
        self._batches: list[dict[str, Any]]
        self._gradients: list[Gradient | None]
        self._place = 0
        self._samples = ReadAhead(iter(()))
        self._learned = learned(self.model)
        partner.begin(self.stage, self.model)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Any]:
        if self._samples.source is not epoch_iterator:
            self._samples = ReadAhead(epoch_iterator)
        self._batches, num_items = super().get_batch_samples(self._samples, num_batches, device)
        self._place = 0
        given = [self._batches[place] for place in shared(len(self._batches))]
        self.partner.give(self._learned, given, num_items)
        return self._batches, num_items

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """The loss of one step, a scalar."""
        if self._place == 0:
            self._gradients = self._compute(model, num_items_in_batch)
        gradient, self._gradients[self._place] = self._gradients[self._place], None
        self._place += 1
        if gradient is None:  # the partner is gone
            return self._by_itself(model, inputs, num_items_in_batch)
        add(gradient, self._learned)
        return torch.from_numpy(gradient.loss)

    def _compute(self, model: Any, num_items: Any) -> list[Gradient | None]:
        """The step's gradients, in the order of its micro-batches; None where the partner was to compute one."""
        given = shared(len(self._batches))
        gradients: list[Gradient | None] = [None for _ in self._batches]
        for place, batch in enumerate(self._batches):
            if place not in given:
                loss = self._by_itself(model, batch, num_items)
                gradients[place] = taken_out(loss, self._learned)
        self._samples.read(len(self._batches))
        for place, gradient in zip(given, self.partner.take(), strict=False):
            gradients[place] = gradient
        return gradients

    def _by_itself(self, model: Any, inputs: Any, num_items_in_batch: Any) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        return loss


class ReadAhead:
    """An iterator that can be told to read on already."""

    def __init__(self, source: Iterator[Any]) -> None:
        self.source = source
        self._read: deque[Any] = deque()

    def read(self, number: int) -> None:
        self._read.extend(islice(self.source, number))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self._read.popleft() if self._read else next(self.source)


def shared(num_batches: int) -> list[int]:
    """The partner's places among a step's micro-batches: half of them, from both ends; of two the longer."""
    own = range(num_batches // 4, num_batches // 4 + (num_batches + 1) // 2)
    return [place for place in range(num_batches) if place not in own]


def taken_out(loss: Tensor, parameters: Iterable[torch.nn.Parameter]) -> Gradient:
    """What a backward pass left in the parameters, which then have none."""
    arrays: Arrays = []
    for parameter in parameters:
        arrays.append(None if parameter.grad is None else parameter.grad.numpy())
        parameter.grad = None
    return Gradient(loss.detach().numpy(), arrays)


def add(gradient: Gradient, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Adds to what the parameters have, as a backward pass does."""
    for parameter, array in zip(parameters, gradient.arrays, strict=True):
        if array is not None:
            share = torch.from_numpy(array)
            parameter.grad = share if parameter.grad is None else parameter.grad.add_(share)


def learned(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that take gradients, always in the same order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def widen(pipe: IO[bytes]) -> None:
    """Lets more be in the pipe at once, where that can be had: Linux alone has a way, and may refuse."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)


def _write(what: Any, pipe: IO[bytes]) -> None:
    pickle.dump(what, pipe, protocol=5)
    pipe.flush()


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """The partner's side: how it computes, then a stage and steps of it, until there is nothing more to read."""
    model: Any = None
    with arithmetic.fixed():
        _write(arithmetic.digests(), sink)
        while True:
            try:
                request = pickle.load(source)
            except EOFError:
                return
            if isinstance(request, ToyPlan):
                with suppress(OSError):  # a full disk; the training will say so, as it tries the same
                    ensure_training_data(request)
                    toy_world.ensure_tables()
            elif isinstance(request[0], Stage):
                stage, config, weights = request
                model = AkiForConditionalGeneration(config)
                model.load_state_dict({name: torch.from_numpy(each) for name, each in weights.items()})
                prepare_model(model, stage)
                model.train()
            else:
                _write(list(gradients_of(model, *request)), sink)


def gradients_of(
    model: Any, weights: Sequence[np.ndarray], batches: Sequence[dict[str, np.ndarray]], num_items: Any
) -> Iterator[Gradient]:
    """Each micro-batch's gradient, with these weights, as `Trainer.training_step` computes it."""
    parameters = learned(model)
    with torch.no_grad():
        for parameter, array in zip(parameters, weights, strict=True):
            parameter.copy_(torch.from_numpy(array))
    for batch in batches:
        inputs = {name: torch.from_numpy(each) for name, each in batch.items()}
        loss = model(**inputs, num_items_in_batch=num_items, use_cache=False).loss
        loss.backward()
        yield taken_out(loss, parameters)


def main() -> None:
    """What `Partner` starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the training; its end is this one's
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed is no answer
    serve(sys.stdin.buffer, answers)
