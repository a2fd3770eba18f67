"""Options that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.command_line import takes
from benchmarks.errors import UserError
from benchmarks.files import out_folder
from benchmarks.task import protocol_name
from benchmarks.tasks import TASKS
from model.kinds import KINDS

from ..judges import JudgeOptions
from ..run.inputs import ALL, find_tasks

TableFormat = Literal["term", "md", "json"]
TablesOut = Annotated[
    Path | None,
    typer.Option(parser=out_folder, metavar="PATH", help="Folder to write md and json into. Default: print."),
]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
ImageOrder = Literal["image_first", "text_first"]
Attention = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help=f"{', '.join(KINDS)}, an installed kind, or FILE.py:NAME; default: as the checkpoint was trained.",
    ),
]
AttentionLayers = Annotated[
    str | None, typer.Option(metavar="LAYERS=KIND,..", help="Another kind in some layers: 0-9=causal.")
]

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


def _judge_options(own: Mapping[str, Any], *, judge: str, protocols: str, **options: Any) -> JudgeOptions:
    names = tuple(protocol_name(name.strip()) for name in protocols.split(",") if name.strip())
    if names:
        known = sorted(
            {name for task in (*TASKS.values(), *find_tasks(own.get("bench", ALL))) for name in task.protocols}
        )
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


takes_judge = takes(JUDGE, JUDGE_OPTIONS, _judge_options)
"""Gives a command the judge's options, and hands them on as the one parameter `judge: JudgeOptions`."""
