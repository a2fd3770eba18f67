"""Options that several commands share, each written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal

import typer

from benchmarks.errors import UserError
from benchmarks.task import protocol_name
from benchmarks.tasks import TASKS

from ..judges import JudgeOptions
from ..run.inputs import ALL, find_tasks

TableFormat = Literal["term", "md", "json"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
ImageOrder = Literal["image_first", "text_first"]

JUDGE = "judge"
JUDGE_OPTIONS: dict[str, tuple[Any, Any]] = {
    "judge": (
        Annotated[str, typer.Option(help="A model's name, offline, replay[:NAME], none; auto: offline for toy data.")],
        "auto",
    ),
    "judge_base_url": (
        Annotated[
            str | None,
            typer.Option(help="Of an OpenAI-compatible server for the judge. Default: $OPENAI_BASE_URL, else OpenAI."),
        ],
        None,
    ),
    "judge_budget": (Annotated[float | None, typer.Option(help="Dollars the judge may cost.")], None),
    "judge_price": (Annotated[str | None, typer.Option(help="IN/OUT in dollars per million tokens.")], None),
    "judge_repeats": (Annotated[int, typer.Option(help="Verdicts a sample.", min=1, max=100)], 1),
    "judge_concurrency": (Annotated[int, typer.Option(help="Judge requests at once.", min=1, max=4096)], 16),
    "protocols": (Annotated[str, typer.Option(help="More protocols than the usual, such as official.")], ""),
}
"""Option -> how the command line shows it, and its default."""


def takes_judge(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Gives a command the judge's options, and hands them on as the one parameter `judge: JudgeOptions`."""
    own = inspect.signature(command, eval_str=True)
    parameters = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in JUDGE_OPTIONS.items()
    }
    ahead = [parameter for name, parameter in own.parameters.items() if name != JUDGE]

    @wraps(command)
    def with_judge(*arguments: Any, **given: Any) -> int | None:
        options = {name: given.pop(name, default) for name, (_, default) in JUDGE_OPTIONS.items()}
        judge = _judge_options(given.get("bench", ALL), **options)
        return command(*arguments, **given, judge=judge)

    signature = own.replace(parameters=[*ahead, *parameters.values()])
    with_judge.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
    with_judge.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    return with_judge


def _judge_options(bench: str, judge: str, protocols: str, **options: Any) -> JudgeOptions:
    names = tuple(protocol_name(name.strip()) for name in protocols.split(",") if name.strip())
    if names:
        known = sorted({name for task in (*TASKS.values(), *find_tasks(bench)) for name in task.protocols})
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise UserError(
                f"--protocols: {unknown!r}, expected some of {', '.join(known)} (kit is also called vlmevalkit)"
            )
    if not judge.strip():
        raise UserError("--judge: it is empty; expected a model's name, offline, replay[:NAME], none or auto")
    given = JudgeOptions(
        name=judge, protocols=names, **{name.removeprefix("judge_"): value for name, value in options.items()}
    )
    given.check()
    return given
