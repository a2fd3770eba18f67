r"""Tables as LaTeX: booktabs rules, one fragment a table to `\input`, and a document that holds them all and compiles.

A fragment names the packages that it needs in its first line: booktabs, graphicx (what is wider than the text is
scaled down to it), amssymb (marks of significant differences) and textcomp. The plain form has the numbers alone.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..styles import SCREEN, Style
from ..tables import Cell, Column, Row, Table

WIDE = 5
"""Columns from which on a table goes over both columns of a page that has two."""

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "†": r"\textdagger{}",
    "*": r"\textasteriskcentered{}",
    "±": r"$\pm$",
    "·": r"\textperiodcentered{}",
    "–": "--",
    "−": "$-$",
    "Δ": r"$\Delta$",
    "▲": r"\,$\blacktriangle$",
    "▼": r"\,$\blacktriangledown$",
}
PREAMBLE = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{amssymb,booktabs,graphicx,textcomp}
\usepackage[landscape,margin=1.5cm]{geometry}
\begin{document}
"""


NEEDS = r"% needs \usepackage[T1]{fontenc} and \usepackage{amssymb,booktabs,graphicx,textcomp}"
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Down to the width that there is; what fits keeps its size."""


def document(tables: list[Table]) -> str:
    """A document that compiles as it is, with every table's fragment in it."""
    return PREAMBLE + "\n\\clearpage\n".join(render(table) for table in tables) + "\\end{document}\n"


def render(table: Table, style: Style = SCREEN, *, plain: bool = False) -> str:
    """One table as a fragment. `plain`: the numbers alone, without intervals, marks and footnotes.

    What must be read before the numbers stands in both.
    """
    table = bare(table) if plain else table
    environment = style.wide_table if len(table.columns) > WIDE else "table"
    lines = [
        NEEDS,
        rf"\begin{{{environment}}}[htbp]",
        r"\centering" + style.table_size,
        rf"\caption{{{escape(caption(table.title))}}}\label{{tab:{table.key}}}",
        *(rf"\par\textbf{{{escape(notice)}}}\par" for notice in table.notices),
        *_grid(table),
        *_notes(table),
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def caption(title: str) -> str:
    """Without a number of its own, for LaTeX counts: `MME by subtask (the paper's Table 7)`."""
    found = re.fullmatch(r"(Table \d+)\. (.+)", title)
    return f"{found[2]} (the paper's {found[1]})" if found else title


def bare(table: Table) -> Table:
    """The same numbers of the paper and the runs, without intervals, notes, remarks, other readings and differences."""
    rows = [row for row in table.rows if row.kind in ("paper", "run")]
    places = [place for place, column in enumerate(table.columns) if column.kind in ("paper", "run")]
    return replace(
        table,
        columns=tuple(replace(table.columns[place], notes=()) for place in places),
        rows=tuple(
            replace(row, notes=(), cells=tuple(replace(row.cells[place], ci95=None, notes=()) for place in places))
            for row in rows
        ),
        remarks=(),
    )


def _grid(table: Table) -> list[str]:
    places = "".join("l" if column.text else "r" for column in table.columns)
    lines = [rf"\begin{{tabular}}{{l{places}}}", r"\toprule", *_sections(table), _heading(table)]
    lines.append(r"\midrule")
    previous: Row | None = None
    for row in table.rows:
        if row.section and (previous is None or previous.section != row.section):
            lines.append(rf"\multicolumn{{{len(table.columns) + 1}}}{{l}}{{\emph{{{escape(row.section)}}}}} \\")
        elif previous is not None and previous.kind == "paper" and row.kind != "paper":
            lines.append(r"\midrule")
        lines.append(_row(table, row))
        previous = row
    lines += [r"\bottomrule", r"\end{tabular}}"]
    return [FIT, *lines]


def _sections(table: Table) -> list[str]:
    """A line of headings over groups of columns (General, Knowledge, ...)."""
    groups: list[list[Column]] = []
    for column in table.columns:
        if groups and groups[-1][0].section == column.section:
            groups[-1].append(column)
        else:
            groups.append([column])
    if not any(group[0].section for group in groups):
        return []
    cells = [rf"\multicolumn{{{len(group)}}}{{c}}{{{escape(group[0].section)}}}" for group in groups]
    return [" & ".join(["", *cells]) + r" \\"]


def _heading(table: Table) -> str:
    labels = [_label(column.label, column.kind) + _marks(table, column.notes) for column in table.columns]
    return " & ".join([escape(table.corner), *labels]) + r" \\"


def _row(table: Table, row: Row) -> str:
    label = _label(row.label, row.kind) + _marks(table, row.notes)
    label = rf"\textbf{{{label}}}" if row.kind == "run" else label
    return " & ".join([label, *(_cell(table, cell) for cell in row.cells)]) + r" \\"


def _cell(table: Table, cell: Cell) -> str:
    interval = rf"\,{{\scriptsize {escape(cell.interval)}}}" if cell.interval else ""
    return escape(cell.number) + interval + _marks(table, cell.notes)


def _notes(table: Table) -> list[str]:
    notes = [rf"\textsuperscript{{{letter}}}\,{escape(note)}" for note, letter in table.footnotes.items()]
    lines = [*notes, *(escape(remark) for remark in table.remarks)]
    return [r"\par\medskip{\footnotesize\raggedright", *(line + r"\par" for line in lines), "}"] if lines else []


def _marks(table: Table, notes: tuple[str, ...]) -> str:
    return rf"\textsuperscript{{{table.marks(notes)}}}" if notes else ""


def _label(label: str, kind: str) -> str:
    text = escape(label)
    return text if kind != "paper" else re.sub(r"\\_(\w+)$", r"\\textsubscript{\1}", text)


def escape(text: str) -> str:
    """Text as LaTeX prints it. Characters that pdfLaTeX's fonts lack are written as their code points."""
    return "".join(_escape(character) for character in " ".join(text.split()))


def _escape(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    return character if character.isprintable() and ord(character) < 0x100 else rf"\texttt{{U+{ord(character):04X}}}"
