"""`aki-eval view`: the HTML report on this machine, or a run while it goes on."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.errors import UserError
from reports.cli import make_plan
from reports.sides import SidesCommand
from reports.task_option import TaskFiles
from reports.visitors import HOST, check_host, new_token


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR... [-- RUN_DIR...]", help="Run folders, arms of them, or one finished report."),
    ],
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to serve on. Any but 127.0.0.1 asks visitors for a token, which is printed.")
    ] = HOST,
    live: Annotated[
        bool, typer.Option("--live", help="One run while it goes on: progress and partial scores, refreshed by itself.")
    ] = False,
    baseline: Annotated[Path | None, typer.Option(help="Run to compare the others with. Default: the first.")] = None,
    reference: Annotated[str, typer.Option(help="The paper's row that runs are compared with.")] = "aki_4b",
    task: TaskFiles = None,
) -> None:
    """The HTML report, until Ctrl-C. Pictures come from the benchmarks' tables; nothing is copied or written."""
    from reports import serving

    check_host(host)
    token = None if host == HOST else new_token()
    with TemporaryDirectory(prefix="aki-report-") as scratch:
        answers: serving.Answers | None = None
        if live:
            if len(runs) != 1:
                raise UserError(f"--live shows one run, {len(runs)} are given")
            from ..live import LiveRun

            watched = LiveRun(runs[0])
            folder, answers = watched.write_page(Path(scratch)), watched.answer
            watched.start()
        elif len(runs) == 1 and (runs[0] / "data" / "manifest.js").is_file():
            folder = runs[0]
        else:
            from reports.pages import write_site
            from reports.pages.pictures import ServedPictures

            pictures = ServedPictures()
            folder = write_site(make_plan(runs, baseline, reference), Path(scratch) / "html", pictures=pictures).parent
            answers = pictures.answer
        with serving.make_server(folder, port, host=host, token=token, answers=answers) as server:
            ticket = f"?token={token}" if token else ""
            typer.echo(f"http://{host}:{server.server_port}/index.html{ticket} (Ctrl-C ends)")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                typer.echo("")


command.command_class = SidesCommand  # type: ignore[attr-defined]
