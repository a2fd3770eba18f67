"""Evaluates checkpoints while the training that writes them goes on: `aki-eval run`, in a process of its own.

The training waits for it and takes nothing from it: an evaluation that fails is said, and the next step comes. Waiting
processes meet every few seconds, so that no collective times out, and all stop waiting when the training is told to
stop.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch
from transformers import TrainerCallback

from .stopping import StopEarly
from .writing import Writing

AKI_EVAL = (sys.executable, "-c", "from aki_entry import main_eval; main_eval()", "run")
SECONDS = 2.0
"""Between two looks at whether it is done."""
FOLDER = "evaluations"
LOG = "aki-eval.log"
NOT_ITS_OWN = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "ACCELERATE_", "FSDP_")
"""Beginnings of what the environment says of the training's own processes: the evaluation is one by itself."""


class Evaluating(TrainerCallback):  # type: ignore[misc]
    """Has a checkpoint written every `every` steps, and at the last one, and evaluated into `out`/step-N.

    `arguments` are those of `aki-eval run` beside the model and the run folder.
    """

    def __init__(self, every: int, arguments: Sequence[str], out: Path, stop: StopEarly, writing: Writing) -> None:
        self.every = every
        self.arguments = list(arguments)
        self.out = out
        self.stop = stop
        self.writing = writing
        self._due: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0 or state.global_step == args.max_steps:
            self._due = state.global_step
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._due != state.global_step or self.stop.why is not None:
            return
        self._due = None
        self.writing.finish()
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        place = self.out / f"step-{state.global_step}"
        if state.is_world_process_zero:
            self._evaluate(checkpoint, place, args.device)
        else:
            while not _everybody(True, args.device):
                time.sleep(SECONDS)

    def _evaluate(self, checkpoint: Path, place: Path, device: torch.device) -> None:
        start, why, process = time.monotonic(), "", None
        try:
            place.mkdir(parents=True, exist_ok=True)
            with (place / LOG).open("w", encoding="utf-8") as log:
                process = start_evaluation(checkpoint, place, self.arguments, log)
                while not _everybody(process.poll() is not None, device):
                    if self.stop.told:
                        process.kill()
                        why = "the training was told to stop"
                    time.sleep(SECONDS)
            why = why or (f"aki-eval run ended with {process.returncode}" if process.returncode else "")
        except OSError as error:  # no room, no process: the training has both
            why = str(error)
            _everybody(True, device)
        finally:
            if process is not None and process.poll() is None:
                process.kill()
        took = f"{time.monotonic() - start:.0f} s"
        said = f"not evaluated: {why}; {place / LOG} says more" if why else f"evaluated in {took}: {place}"
        print(f"{checkpoint.name} {said}", file=sys.stderr)


def start_evaluation(checkpoint: Path, place: Path, arguments: Sequence[str], log: TextIO) -> subprocess.Popen[bytes]:
    """`aki-eval run` on a checkpoint, as one process whatever this one is."""
    command = [*AKI_EVAL, "--model", str(checkpoint.absolute()), "--out", str(place.absolute()), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=own_environment(os.environ)
    )


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what torchrun and accelerate tell a process of a group."""
    return {name: value for name, value in environment.items() if not name.startswith(NOT_ITS_OWN)}


def _everybody(done: bool, device: torch.device) -> bool:
    """Whether all processes are done; those that do not evaluate always are."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return done
    flag = torch.tensor(float(done), device=device)
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MIN)
    return bool(flag)
