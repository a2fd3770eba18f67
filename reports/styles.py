"""How figures and LaTeX tables are set for a venue: its widths, its fonts, its environment for what is wide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Style:
    """Widths in inches. `scale` is what a label's size on the screen becomes in print, never under `smallest`."""

    name: str
    width: float
    """Of a figure over the whole text."""
    scale: float = 1.0
    smallest: float = 6.0
    fonts: tuple[str, ...] = ()
    """Serif faces in order of preference; none: matplotlib's own sans serif."""
    titled: bool = True
    """False: a caption says what the figure shows."""
    wide_table: str = "table"
    table_size: str = ""

    def size(self, points: float) -> float:
        """A label's size in points."""
        return max(self.smallest, points * self.scale)

    @property
    def settings(self) -> Mapping[str, Any]:
        """For matplotlib: fonts are embedded as TrueType, as venues ask for."""
        serif: dict[str, Any] = {"font.family": "serif", "font.serif": list(self.fonts)} if self.fonts else {}
        return {"pdf.fonttype": 42, "svg.fonttype": "path", **serif}


TIMES = ("Times New Roman", "Times", "Nimbus Roman", "Liberation Serif", "STIXGeneral", "DejaVu Serif")
SCREEN = Style(name="screen", width=13.0)
STYLES = {
    "screen": SCREEN,
    # neurips_2025.sty: one column, \textwidth 5.5 in, Times 10 pt.
    "neurips": Style(
        name="neurips", width=5.5, scale=0.8, smallest=5.5, fonts=TIMES, titled=False, table_size=r"\footnotesize"
    ),
    # cvpr.sty: two columns, \textwidth 6.875 in, Times 10 pt; wide floats go over both columns.
    "cvpr": Style(
        name="cvpr",
        width=6.875,
        scale=0.85,
        smallest=5.5,
        fonts=TIMES,
        titled=False,
        wide_table="table*",
        table_size=r"\footnotesize",
    ),
}
