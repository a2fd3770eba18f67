"""Tables as GitHub markdown: one line a row, no alignment by spaces, so that two versions compare line by line."""

from __future__ import annotations

import re
from urllib.parse import quote

from benchmarks.printable import printable

from ..tables import Cell, Row, Table


def render(table: Table) -> str:
    """The table under its title, with notices before and footnotes after it."""
    lines = [f"### {_text(table.title)}", ""]
    for notice in table.notices:
        lines += [f"> **{_text(notice)}**", ""]
    columns = [_label(column.label, column.kind) + _marks(table, column.notes) for column in table.columns]
    places = [":---" if column.text else "---:" for column in table.columns]
    lines += [_line([_text(table.corner), *columns]), _line([":---", *places])]
    lines += _rows(table)
    footnotes = [f"<sup>{letter}</sup> {_text(note)}" for note, letter in table.footnotes.items()]
    for line in (*footnotes, *(_text(remark) for remark in table.remarks)):
        lines += ["", line]
    return "\n".join(lines) + "\n"


def _rows(table: Table) -> list[str]:
    lines = []
    section = ""
    for row in table.rows:
        if row.section != section and row.section:
            lines.append(_line([f"**{_text(row.section)}**", *("" for _ in table.columns)]))
        section = row.section
        lines.append(_row(table, row))
    return lines


def _row(table: Table, row: Row) -> str:
    label = _label(row.label, row.kind) + _marks(table, row.notes)
    return _line([f"**{label}**" if row.kind == "run" else label, *(_cell(table, cell) for cell in row.cells)])


def _cell(table: Table, cell: Cell) -> str:
    number = _text(cell.number)
    parts = [f"[{number}]({_address(cell.link)})" if cell.link else number, cell.interval]
    if cell.count is not None and cell.value is not None:
        parts.append(f"(n {cell.count})")
    return " ".join(part for part in parts if part) + _marks(table, cell.notes)


def _marks(table: Table, notes: tuple[str, ...]) -> str:
    return f"<sup>{table.marks(notes)}</sup>" if notes else ""


def _label(label: str, kind: str) -> str:
    text = _text(label)
    return text if kind != "paper" else re.sub(r"\\_(\w+)$", r"<sub>\1</sub>", text)


def _text(text: str) -> str:
    """Text that markdown shows as it is: model output and folder names may hold anything."""
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", printable(" ".join(text.split())))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def _address(link: str) -> str:
    """An address with nothing in it that would end it."""
    return quote(link, safe=":/#?&=%+.~-_")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
