"""The terminal, through rich."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from .printable import printable


class PlainConsole(Console):
    """Strings are text: `[red]` in a folder's name is no color, and no control character gets through.

    Styles come from `rich.text.Text`, whose content the caller has made printable.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text, keep="\n\t"), **{**options, "markup": False, "emoji": False})
