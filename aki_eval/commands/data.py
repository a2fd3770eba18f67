"""`aki-eval data fetch|verify|list`: the official tables on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table as Grid

from benchmarks.console import PlainConsole
from benchmarks.data.fetch import (
    HUB_REPOSITORY,
    LOCK_NAME,
    TableSource,
    check_lock,
    fetch,
    fetch_from_hub,
    md5_of,
    official_sources,
    read_lock,
    write_lock,
)
from benchmarks.data.hub import find_parquet
from benchmarks.data.load import checksum, is_present
from benchmarks.data.root import official_root
from benchmarks.errors import UserError
from benchmarks.files import folder_with_room
from benchmarks.task import DataTable, Task

from ..run.inputs import find_tasks

app = typer.Typer(no_args_is_help=True, add_completion=False)

Tasks = Annotated[
    list[str] | None, typer.Argument(metavar="[TASK]...", help="Benchmarks; all of them when none is named.")
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root", parser=folder_with_room, metavar="PATH", help="Folder of the tables. Default: $LMUData or ~/LMUData."
    ),
]


@app.command("fetch")
def fetch_tables(
    tasks: Tasks = None,
    root: Root = None,
    from_hub: Annotated[bool, typer.Option("--from-hub", help="CV-Bench from its authors' repository.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Refuse to download; only lock what is there.")] = False,
) -> int:
    """Download the official tables over verified TLS, check them and lock them. What is there is never overwritten."""
    folder = root or official_root()
    console = PlainConsole(stderr=True)
    for task in _find(tasks):
        for table in task.tables:
            if offline and not is_present(table, folder):
                raise UserError(f"{folder / table.name}.tsv is not there, and --offline forbids to download it")
        urls = {table.name: _bring(console, table, folder, from_hub) for table in task.tables}
        found = checksum(task, folder)
        check_lock(folder, found)
        for name, url in urls.items():
            write_lock(folder, name, found[name], url)
            console.print(f"{name}: {found[name]['num_rows']} rows, sha256 {found[name]['sha256'][:12]}")
    return 0


def _bring(console: Console, table: DataTable, folder: Path, from_hub: bool) -> str:
    """Makes sure that the table is there and is the published one; where it comes from."""
    if from_hub or (not (folder / f"{table.name}.tsv").exists() and is_present(table, folder)):
        fetch_from_hub(table.name, folder)
        return f"hf://datasets/{HUB_REPOSITORY}"
    source = TableSource(table.url, table.md5) if table.url else _source(table, official_sources())
    _fetch_one(console, table, source, folder)
    return source.url


def _find(tasks: Sequence[str] | None) -> list[Task]:
    return find_tasks(",".join(tasks) if tasks else "all")


def _source(table: DataTable, sources: dict[str, TableSource]) -> TableSource:
    if table.name not in sources:
        raise UserError(
            f"the installed VLMEvalKit publishes no address for {table.name}; pip install -U ms-vlmeval, or give the "
            "DataTable of a benchmark of your own its url"
        )
    return sources[table.name]


def _fetch_one(console: Console, table: DataTable, source: TableSource, folder: Path) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(table.name, total=None)
        fetch(table.name, source, folder, lambda done, total: progress.update(bar, completed=done, total=total))


@app.command("verify")
def verify_tables(tasks: Tasks = None, root: Root = None) -> int:
    """Compare the tables with the lock file and the published MD5 sums and row counts; exit code 1 when one differs."""
    folder = root or official_root()
    wrong = 0
    console = PlainConsole()
    for task in _find(tasks):
        for table, problem in _verify(task, folder):
            wrong += problem is not None
            console.print(f"{table.name}: {problem or 'ok'}", soft_wrap=True)
    return 1 if wrong else 0


def _verify(task: Task, folder: Path) -> list[tuple[DataTable, str | None]]:
    """What is wrong with each table of the task; None: nothing."""
    absent = [table for table in task.tables if not is_present(table, folder)]
    if absent:
        return [(table, f"absent; aki-eval data fetch {task.name}") for table in absent]
    try:
        found = checksum(task, folder)
    except UserError as error:
        return [(table, str(error)) for table in task.tables]
    locked = read_lock(folder)
    problems = []
    for table in task.tables:
        entry, real = locked.get(table.name), found[table.name]
        problem = None
        if entry and entry["sha256"] != real["sha256"]:
            problem = f"changed since it was locked ({entry['sha256'][:12]} then, {real['sha256'][:12]} now)"
        elif (path := folder / f"{table.name}.tsv").exists() and table.md5 and md5_of(path) != table.md5:
            problem = f"not the published table (MD5 {md5_of(path)}, published {table.md5})"
        elif table.num_rows is not None and real["num_rows"] != table.num_rows:
            problem = f"{real['num_rows']} rows, expected {table.num_rows}"
        problems.append((table, problem))
    return problems


@app.command("list")
def list_tables(tasks: Tasks = None, root: Root = None) -> int:
    """The tables, what is on this machine, and what is locked."""
    folder = root or official_root()
    locked = read_lock(folder)
    grid = Grid(title=f"{folder} (lock file {LOCK_NAME})")
    for heading in ("benchmark", "table", "megabytes", "rows", "locked", "sha256"):
        grid.add_column(heading)
    for task in _find(tasks):
        for table in task.tables:
            path = find_parquet(table.name, folder) or folder / f"{table.name}.tsv"
            entry = locked.get(table.name, {})
            size = f"{path.stat().st_size / 1e6:.1f}" if path.exists() else "absent"
            rows = str(entry.get("num_rows", table.num_rows or ""))
            grid.add_row(task.name, table.name, size, rows, entry.get("locked", ""), entry.get("sha256", "")[:12])
    PlainConsole().print(grid)
    return 0
