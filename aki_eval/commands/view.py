"""`aki-eval view`: the HTML report on this machine, or a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.errors import UserError
from reports.cli import make_plan
from reports.sides import SidesCommand
from reports.task_option import TaskFiles
from reports.visitors import HOST, check_host, new_token

if TYPE_CHECKING:
    from reports.serving import Answers


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
        folder, pages, answers = _shown(runs, live, baseline, reference, Path(scratch))
        with serving.make_server(folder, port, host=host, token=token, answers=answers) as server:
            pages()  # their writing may take a minute; what is wrong with the address is said before
            ticket = f"?token={token}" if token else ""
            typer.echo(f"http://{host}:{server.server_port}/index.html{ticket} (Ctrl-C ends)")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                typer.echo("")


def _shown(
    runs: list[Path], live: bool, baseline: Path | None, reference: str, scratch: Path
) -> tuple[Path, Callable[[], object], Answers | None]:
    """The folder that is served, what writes its pages, and what answers in the stead of files."""
    if live:
        if len(runs) != 1:
            raise UserError(f"--live shows one run, {len(runs)} are given")
        from ..live import LiveRun

        watched = LiveRun(runs[0])

        def begin() -> None:
            watched.write_page(scratch)
            watched.start()

        return scratch, begin, watched.answer
    if len(runs) == 1 and (runs[0] / "data" / "manifest.js").is_file():
        return runs[0], lambda: None, None
    from reports.pages import write_site
    from reports.pages.pictures import ServedPictures

    pictures, plan = ServedPictures(), make_plan(runs, baseline, reference)
    return scratch / "html", lambda: write_site(plan, scratch / "html", pictures=pictures), pictures.answer


command.command_class = SidesCommand  # type: ignore[attr-defined]
