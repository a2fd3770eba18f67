"""Writes the lists of files into the READMEs of aki_eval, benchmarks and reports, from each module's first line.

python docs/rooms.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("aki_eval", "benchmarks", "reports")
START, END = "<!-- files: python docs/rooms.py -->\n", "<!-- end of files -->\n"


def listed(room: str) -> str:
    """A table for each folder of the room."""
    tables = []
    folders = sorted({path.parent for path in (ROOT / room).rglob("*.py")})
    for folder in folders:
        name = folder.relative_to(ROOT / room).as_posix()
        heading = "" if name == "." else f"### {name}/\n\n{_first_line(folder / '__init__.py')}\n\n"
        rows = [
            f"| `{path.name}` | {_first_line(path)} |\n"
            for path in sorted(folder.glob("*.py"))
            if path.name != "__init__.py"
        ]
        tables.append(heading + ("| file | |\n|---|---|\n" + "".join(rows) + "\n" if rows else ""))
    return "".join(tables)


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


def written(page: str, room: str) -> str:
    """The page with its list renewed."""
    before, rest = page.split(START)
    return before + START + "\n" + listed(room) + END + rest.split(END)[1]


if __name__ == "__main__":
    for room in ROOMS:
        path = ROOT / room / "README.md"
        path.write_text(written(path.read_text("utf-8"), room), "utf-8")
