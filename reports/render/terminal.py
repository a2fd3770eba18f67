"""Tables for the terminal, through rich."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.printable import printable

from ..tables import WRAPPED, Cell, Row, Table

STYLES = {"paper": "", "run": "bold cyan", "reading": "cyan", "difference": "dim"}


def show(table: Table, console: Console) -> None:
    """Prints one table with its notices, footnotes and remarks."""
    console.print()
    console.print(Text(printable(table.title), style="bold"))
    for notice in table.notices:
        console.print(Text(printable(notice), style="bold yellow"))
    for place, part in enumerate(_paragraphs(table) if table.as_list else _grids(table, console)):
        if place and not table.as_list:
            console.print()
        console.print(part, soft_wrap=table.as_list)
    for note, letter in table.footnotes.items():
        console.print(Text(f"{letter}  {printable(note)}", style="dim"))
    for remark in table.remarks:
        console.print(Text(printable(remark), style="dim"))


def _paragraphs(table: Table) -> Iterator[Text]:
    """A line of each row's cells with their headings, then what wraps, indented, as it is."""
    for row in table.rows:
        text = Text(printable(row.label), style="bold")
        long: list[Text] = []
        for column, cell in zip(table.columns, row.cells, strict=True):
            if column.wrap:
                long += [Text(f"    {printable(cell.number)}")] if cell.text else []
            else:
                text.append(f"  {printable(column.label)} ", style="not bold dim")
                text.append(printable(cell.number), style="not bold")
        yield text
        yield from long


def _grids(table: Table, console: Console) -> list[RichTable]:
    """The table in as few parts as its columns need to fit the terminal; a number is never broken over lines."""
    grids: list[RichTable] = []
    for num_parts in range(1, len(table.columns) + 1):
        size = -(-len(table.columns) // num_parts)
        parts = [(start, start + size) for start in range(0, len(table.columns), size)]
        if all(_fits(table, *part, console) for part in parts):
            grids = [_grid(table, *part) for part in parts]
            break
    packed = _packed(table, console)
    return grids if grids and len(grids) <= len(packed) else [_grid(table, *part) for part in packed]


def _packed(table: Table, console: Console) -> list[tuple[int, int]]:
    """As many columns a part as there is room for: (first, last exclusive) of each."""
    parts = [(0, 1)]
    for place in range(1, len(table.columns)):
        first, _ = parts[-1]
        if _fits(table, first, place + 1, console):
            parts[-1] = (first, place + 1)
        else:
            parts.append((place, place + 1))
    return parts


def _fits(table: Table, first: int, last: int, console: Console) -> bool:
    unbounded = console.options.update_width(10_000)
    narrow = _grid(table, first, last, wrapped=WRAPPED)
    return Measurement.get(console, unbounded, narrow).maximum <= console.width


def _grid(table: Table, first: int, last: int, wrapped: int | None = None) -> RichTable:
    """The columns from `first` to `last` (exclusive), behind the rows' labels; sentences in `wrapped` characters."""
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    grid.add_column(Text(printable(table.corner)), min_width=12, max_width=30)
    # A run is a column: one line a cell keeps a long table short. A run is a row: stacked lines keep a wide one narrow.
    stacked = all(column.kind == "paper" for column in table.columns)
    for column in table.columns[first:last]:
        heading = _marked(table, column.label, column.notes, STYLES[column.kind])
        grid.add_column(
            heading,
            justify="left" if column.text else "right",
            style=STYLES[column.kind],
            no_wrap=not (column.wrap or stacked),
            max_width=wrapped if column.wrap else None,
        )
    previous: Row | None = None
    for row in table.rows:
        if all(cell.text == "" for cell in row.cells[first:last]):
            continue
        if row.section and (previous is None or previous.section != row.section):
            grid.add_row(Text(printable(row.section), style="italic"))
        elif previous is not None and previous.kind == "paper" and row.kind != "paper":
            grid.add_section()
        label, *cells = _row(table, row, "\n" if stacked else "  ")
        grid.add_row(label, *cells[first:last])
        previous = row
    return grid


def _row(table: Table, row: Row, separator: str) -> list[Text]:
    style = STYLES[row.kind]
    cells = [_cell(table, cell, style, separator) for cell in row.cells]
    return [_marked(table, row.label, row.notes, style), *cells]


def _cell(table: Table, cell: Cell, style: str, separator: str) -> Text:
    text = _marked(table, cell.number, cell.notes, style)
    if cell.link:
        text.stylize(Style(link=cell.link), 0, len(cell.number))
    if cell.interval:
        text.append(f"{separator.replace('  ', ' ')}{cell.interval}", style="not bold dim")
    if cell.count is not None and cell.value is not None:
        text.append(f"{separator}n {cell.count}", style="not bold dim")
    return text


def _marked(table: Table, label: str, notes: tuple[str, ...], style: str) -> Text:
    text = Text(printable(label), style=style)
    if notes:
        text.append(f" {table.marks(notes)}", style="not bold italic yellow")
    return text
