"""Options that several commands share, each written once."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout

from benchmarks.command_line import takes
from benchmarks.errors import UserError
from benchmarks.files import out_folder
from benchmarks.printable import printable
from model.kinds import KINDS

from ..machine import Machine, is_first

MACHINE = "machine"
LOGGERS = ("tensorboard", "wandb")


def _one_of(names: Iterable[str]) -> Callable[[str], str]:
    """What reads an option that takes one of these names."""

    def read(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r}, expected one of {', '.join(names)}")
        return text

    return read


def _loggers(text: str) -> str:
    for name in filter(None, text.split(",")):
        _one_of(LOGGERS)(name)
        if find_spec(name) is None:
            raise typer.BadParameter(f"{name} is not installed; pip install {name}, or leave it out")
    return text


CI, OFFICIAL = "ci", "official"
"""What --eval-every evaluates where nothing is said."""

RecipeName = Annotated[str, typer.Argument(help="A recipe's name (mma, dot, aki_4b, ...) or a TOML file.")]


def data_folder(text: str) -> Path:
    """A data root that is there.

    Raises:
        UserError: it is empty or no folder.
    """
    if not text.strip() or not Path(text).is_dir():
        raise UserError(f"{text!r} is no folder; expected the data root, below which captions, vqav2, coco, ... lie")
    return Path(text)


Data = Annotated[
    Path,
    typer.Option(parser=data_folder, metavar="PATH", help="Data root: captions, vqav2, coco, ... lie below it."),
]
Out = Annotated[
    Path,
    typer.Option(
        parser=out_folder, metavar="PATH", help="Folder of the run; a run that was cut off goes on from there."
    ),
]
Attention = Annotated[
    str, typer.Option(parser=_one_of(KINDS), metavar="KIND", help=f"Of fine-tuning: {', '.join(KINDS)}.")
]
Peak = Annotated[
    float, typer.Option(help="Peak of one device in teraflops a second, dense bf16 (A100: 312, H100: 989).", min=1)
]

MACHINE_OPTIONS: dict[str, tuple[Any, Any]] = {
    "micro_batch": (
        Annotated[
            int,
            typer.Option(
                help="Samples a process takes at once, on average; the rest is accumulation.", min=1, max=65536
            ),
        ],
        8,
    ),
    "workers": (Annotated[int, typer.Option(help="Data loader processes for each process.", min=0, max=512)], 4),
    "save_steps": (
        Annotated[int, typer.Option(help="Optimizer steps between checkpoints.", min=1, max=10_000_000)],
        500,
    ),
    "eval_every": (
        Annotated[
            int | None,
            typer.Option(
                help="Evaluate a checkpoint every so many steps, and the last: aki-eval run, into evaluations/.",
                min=1,
                max=10_000_000,
            ),
        ],
        None,
    ),
    "bench": (
        Annotated[str, typer.Option(help="Of --eval-every: ci (a small subset of all), or names as of aki-eval run.")],
        CI,
    ),
    "eval_data": (
        Annotated[str, typer.Option(help="Of --eval-every: official, toy, or a folder of tables.")],
        OFFICIAL,
    ),
    "keep": (Annotated[int, typer.Option(help="Checkpoints that are kept.", min=1, max=1000)], 2),
    "fsdp": (
        Annotated[bool, typer.Option(help="Shard weights, gradients and optimizer over the processes (FSDP2).")],
        False,
    ),
    "gradient_checkpointing": (
        Annotated[
            bool | None,
            typer.Option(help="Compute activations twice, keep none. Default: as the recipe says, else on GPUs."),
        ],
        None,
    ),
    "log": (
        Annotated[
            str,
            typer.Option(
                parser=_loggers, metavar="NAMES", help="Where else to log: tensorboard, wandb, or tensorboard,wandb."
            ),
        ],
        "",
    ),
    "peak": (Peak, 312.0),
    "max_hours": (
        Annotated[
            float | None,
            typer.Option(
                help="Stop after so long, with a checkpoint; SIGTERM and SIGUSR1 do the same.", min=0, max=1e6
            ),
        ],
        None,
    ),
    "shard_cache": (
        Annotated[float, typer.Option(help="Gigabytes of remote shards that are kept here.", min=0.001, max=1e6)],
        200.0,
    ),
    "changed_data": (
        Annotated[
            bool, typer.Option("--changed-data", help="Go on from a checkpoint although the data have changed since.")
        ],
        False,
    ),
    "cpu": (Annotated[bool, typer.Option("--cpu", help="Train on the CPU.")], False),
}
"""Option -> how the command line shows it, and its default."""


def _machine(
    _: Mapping[str, Any],
    *,
    keep: int,
    log: str,
    peak: float,
    max_hours: float | None,
    eval_every: int | None,
    bench: str,
    eval_data: str,
    cpu: bool,
    **settings: Any,
) -> Machine:
    if eval_every is None and (bench, eval_data) != (CI, OFFICIAL):
        raise UserError("--bench and --eval-data say what --eval-every evaluates, which is not given")
    arguments = () if eval_every is None else evaluation(bench, eval_data, cpu=cpu)
    if arguments and is_first():
        check_evaluation(arguments, "--eval-every: ")
    return Machine(
        **settings,
        cpu=cpu,
        eval_every=eval_every,
        eval_arguments=arguments,
        until=None if max_hours is None else time.monotonic() + 3600 * max_hours,
        keep_checkpoints=keep,
        report_to=tuple(filter(None, log.split(","))),
        peak_flops=peak * 1e12,
    )


def evaluation(bench: str, data: str, *, cpu: bool) -> tuple[str, ...]:
    """Arguments of `aki-eval run`. Option probabilities come first, as one pass a question, then the answers."""
    asked = ("--bench", "all", "--subset", "ci") if bench == CI else ("--bench", bench)
    return (
        *asked,
        "--data",
        data,
        "--protocols",
        "likelihood",
        "--allow-partial",
        *(("--device", "cpu") if cpu else ()),
    )


def check_evaluation(arguments: Sequence[str], said_by: str = "") -> None:
    """That `aki-eval run` takes its options and finds the tables, before the first step: nobody is asked.

    Raises:
        UserError: it does not, in its own words.
    """
    from ..evaluating import AKI_EVAL, own_environment

    nobody = ("--model", "openai:nobody", "--base-url", "http://localhost/v1", "--dry-run")
    asked = [argument for argument in arguments if argument not in ("--device", "cpu")]  # no model: on no device
    done = subprocess.run(
        [*AKI_EVAL, *asked, *nobody], capture_output=True, text=True, env=own_environment(os.environ), check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or f"aki-eval run ended with {done.returncode}").splitlines()[-1]
        raise UserError(f"{said_by}{said.removeprefix('aki-eval: ')}")


def say(text: str) -> None:
    """Prints a line, in which names of files may stand."""
    typer.echo(printable(text))


takes_machine = takes(MACHINE, MACHINE_OPTIONS, _machine)
"""Gives a command the options of a training run's machine, handed on as the one parameter `machine: Machine`."""


def check_writable(out: Path) -> None:
    """That the folder is there or can be made; nothing is left behind.

    Raises:
        UserError: nothing can be written there.
    """
    place = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from None


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Keeps a second start out of the folder; the processes of one torchrun come in behind their first.

    Raises:
        UserError: another one trains there.
    """
    if not is_first():
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".aki-train.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"--out {out}: another aki-train is at work there; wait, or choose another --out") from None
    try:
        yield
    finally:
        lock.release()
